"""Build the network that a config describes, in Gluon or PyTorch."""
from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Generic

from openatac.errors import ArgumentError, FlagError
from openatac.image_size import Size, sides
from openatac.library import PYTORCH, ImageSizeError, Library, installed_library, library_of
from openatac.options.command_line import flag_of, naming
from openatac.system.installed import has_torch
from openatac.training.config import AnyConfig, Config, ImagenetConfig
from openatac.training.networks.named_options import is_registered_for, with_named_options
from openatac.zoo.names import network_name, unit_name
from openatac.zoo.units import SELF_ATTENTIONS


@dataclass(frozen=True)
class BuiltNetwork(Generic[AnyConfig]):
    """A network and what it was built from.

    Attributes
    ----------
    net : HybridBlock or Module
    name : str
    config : CifarConfig or ImagenetConfig
        With the options that the network's name determines.
    """

    net: Any
    name: str
    config: AnyConfig


def build_network(config: AnyConfig, library: Library | None = None) -> BuiltNetwork[AnyConfig]:
    """Build the network of a config.

    Parameters
    ----------
    config : CifarConfig or ImagenetConfig
    library : Library, optional
        By default, see `library_for`.

    Raises
    ------
    UsageError
        For options that do not describe a network.
    """
    config = with_named_options(config)
    network, host, shape = config.network, config.host, config.image_shape
    library = library or library_for(config)
    assert network.act_type is not None
    settings = {name: getattr(network, name) for name in host.arguments if hasattr(network, name)}
    if network.channels is None:
        settings.pop('channels', None)  # the host's own
    if network.blocks is not None:
        settings.update(host.layers(network.blocks))
    if isinstance(config, ImagenetConfig):
        _check_side(network.self_attention, config.data.input_size)
        settings.update(_normalisation(config, library))
    settings['classes'] = config.classes
    unit = unit_name(network.act_type, network.attention, settings.get('useGlobal', False),
                     network.self_attention, network.channels)
    name = network_name(host, network.blocks, unit)
    try:
        with _naming_flags(settings):
            return BuiltNetwork(library.build(host, settings, shape, config.training.seed), name, config)
    except ImageSizeError as error:
        raise FlagError(config.data.side_flag, f'{name} does not take images of {shape[1]} x '
                        f'{shape[2]} pixels ({error}); choose another size or network') from None


def library_for(config: Config) -> Library:
    """Return Gluon, or PyTorch if MXNet is missing, or one of the network's parts is missing in Gluon.

    Raises ModuleNotFoundError if neither library is installed.
    """
    return PYTORCH if has_torch() and not is_registered_for('gluon', config) else installed_library()


@contextlib.contextmanager
def _naming_flags(settings: Collection[str]) -> Iterator[None]:
    """Prefix an error about one of the ``settings`` with its flag."""
    try:
        yield
    except ArgumentError as error:
        if error.argument in settings:
            raise FlagError(flag_of(error.argument), str(error)) from None
        raise


def _check_side(self_attention: str | None, size: Size) -> None:
    multiple = SELF_ATTENTIONS.find(self_attention).multiple if self_attention else 1
    if any(side % multiple for side in sides(size)):
        raise FlagError('--self-attention', f'{self_attention} takes images whose sides are '
                        f'multiples of {multiple}, but --input-size is {size}')


def _normalisation(config: ImagenetConfig, library: Library) -> dict[str, Any]:
    # In PyTorch, the learner shares the statistics of ordinary BatchNorms.
    if config.compute.syncbn and config.compute.library == 'gluon':
        from mxnet.gluon.contrib.nn import SyncBatchNorm
        return {'norm_layer': SyncBatchNorm, 'norm_kwargs': {'num_devices': config.training.num_gpus}}
    return library.normalisation(config.network.use_gn)


def set_up_fine_tuning(net: Any, config: Config) -> None:
    """Exclude the parameters of --freeze from training, and scale the last layer's rate by --head-lr-mult.

    Raises
    ------
    UsageError
        If the flags do not fit the network.
    """
    training = config.training
    if training.freeze is None and training.head_lr_mult is None:
        return
    library = library_of(net)
    if training.freeze is not None:
        with naming('--freeze'):
            library.freeze(net, training.freeze)
    if training.head_lr_mult is not None:
        with naming('--head-lr-mult'):
            library.scale_head_rate(net, config.host.output, training.head_lr_mult)
