"""The network that a config describes, of Gluon or PyTorch."""
from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from openatac.errors import SettingError, last_line
from openatac.flags import flag_of
from openatac.graph.nodes import INPUT
from openatac.limits import Size, sides
from openatac.models.hosts import Host
from openatac.models.weights.checks import Pretrained
from openatac.models.weights.pretrained import weights_file
from openatac.models.zoo import (
    PUBLISHED_CIFAR_HOST,
    PUBLISHED_IMAGENET_HOST,
    find_host,
    find_model,
    unit_name,
)
from openatac.options import changed, section_fields
from openatac.registry import Factories
from openatac.training.config import CifarConfig, Config, ImagenetConfig
from openatac.training.sections.shared import ATAC
from openatac.units import REGISTRIES, SELF_ATTENTIONS


def resolve(config: Config) -> Config:
    """Return the config with registered unit names, and with the options that a network's name determines.

    Raises
    ------
    ValueError
        For an unknown name, or for options that contradict the name of a network.
    """
    units: dict[str, Any] = {name: registry.name_of(typed, f'argument {flag_of(name)}: it')
                             for name, registry in REGISTRIES.items()
                             if (typed := getattr(config.network, name, None)) is not None}
    if isinstance(config, CifarConfig):
        return changed(config, **_resolve_cifar(config, units))
    return changed(config, num_classes=config.network.classes, **units)


def _resolve_cifar(config: CifarConfig, units: dict[str, Any]) -> dict[str, Any]:
    network = config.network
    host, named = _parse_model(network.model)
    resolved: dict[str, Any] = {'host': None if host.name == PUBLISHED_CIFAR_HOST else host.name,
                                'useGlobal': network.useGlobal or named.get('useGlobal', False)}
    for name, default in (('blocks', 3), ('channels', None), ('act_type', ATAC), ('attention', None)):
        value = units[name] if name in units else getattr(network, name)
        if name in named and value not in (None, named[name]):
            raise ValueError(f'argument {flag_of(name)}: --model {network.model} is built with '
                             f'{named[name]}; leave out one of the two')
        resolved[name] = named.get(name, default) if value is None else value
    return resolved


def _parse_model(model: str) -> tuple[Host, dict[str, Any]]:
    """Return (host, options) for the name of a network; 'atac' leaves the options open."""
    if model == 'atac':
        return find_host(PUBLISHED_CIFAR_HOST), {}
    try:
        host, settings = find_model(model)
    except ValueError as error:
        raise ValueError(f'argument --model: {error}') from None
    if host.data != 'cifar':
        raise ValueError(f'argument --model: {model} is for ImageNet; choose a cifar_resnet network')
    layers = settings.pop('layers', None)
    return host, {'attention': None, **settings, **({'blocks': layers[0]} if layers else {})}


def _host(config: Config) -> Host:
    if isinstance(config, ImagenetConfig):
        return find_host(PUBLISHED_IMAGENET_HOST)
    return find_host(config.network.host or PUBLISHED_CIFAR_HOST)


def is_module(net: Any) -> bool:
    """Return whether a network is of PyTorch, not of Gluon."""
    return hasattr(net, 'state_dict')


def is_for_pytorch(config: Config) -> bool:
    """Return whether the host and the units of a config are registered, and for PyTorch."""
    names = {name: getattr(config.network, name, None) for name in REGISTRIES}
    try:
        parts = [_host(config), *(REGISTRIES[name].find(unit) for name, unit in names.items() if unit)]
    except ValueError:
        return False
    return all(part.torch_factory for part in parts if isinstance(part, Factories))


def build_network(config: Config, in_torch: bool = False) -> tuple[Any, str]:
    """Build the network of a config from `resolve`.

    Parameters
    ----------
    config : CifarConfig or ImagenetConfig
    in_torch : bool
        Whether to build it as a plain module, without MXNet.

    Returns
    -------
    net : HybridBlock or torch.nn.Module
        Gluon's is not initialised. PyTorch's has values that it drew from the config's seed; its BatchNorms
        keep running statistics as MXNet does.
    name : str

    Raises
    ------
    ValueError
        For options that do not describe a network.
    """
    network, host, blocks, channels, self_attention = config.network, _host(config), None, None, None
    assert network.act_type is not None
    settings = {name: getattr(network, name) for name in host.settings if hasattr(network, name)}
    if isinstance(config, CifarConfig):
        blocks, channels = config.network.blocks, config.network.channels
        assert blocks is not None
        if channels is None:
            settings.pop('channels', None)  # the host's own
        settings.update(host.layers(blocks), classes=config.data.classes)
    else:
        self_attention = config.network.self_attention
        _check_side(self_attention, config.data.input_size)
        settings.update(_normalisation(config, in_torch), classes=config.network.classes)
    unit = unit_name(network.act_type, network.attention, settings.get('useGlobal', False), self_attention,
                     channels)
    name = f'{host.title_of(blocks)}_{unit}'
    with _naming_flags(settings):
        net = (_build_module if in_torch else _build_gluon)(config, name, settings)
    return net, name


def _build_gluon(config: Config, name: str, settings: dict[str, Any]) -> Any:
    net = _host(config).build(**settings)
    if isinstance(config, CifarConfig) and config.data.image_size:
        import mxnet as mx
        try:
            net(mx.sym.var(INPUT)).infer_shape(**{INPUT: (1, *image_shape(config))})
        except mx.MXNetError as error:
            raise _wrong_image_size(config, name, error) from None
    return net


def _build_module(config: Config, name: str, settings: dict[str, Any]) -> Any:
    import torch

    from openatac.pytorch.nn.normalisation import use_biased_variance
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(config.training.seed)
        net = use_biased_variance(_host(config).torch(**settings))
        try:
            net.eval()(torch.zeros(1, *image_shape(config)))  # some units have weights as large as the image
        except (RuntimeError, ValueError) as error:
            raise _wrong_image_size(config, name, error) from None
    return net.train()


def _wrong_image_size(config: Config, name: str, error: Exception) -> ValueError:
    _, height, width = image_shape(config)
    flag = '--image-size' if isinstance(config, CifarConfig) else '--input-size'
    return ValueError(f'argument {flag}: {name} does not take images of {height} x {width} pixels '
                      f'({last_line(error)}); choose another size or network')


@contextlib.contextmanager
def _naming_flags(settings: Collection[str]) -> Iterator[None]:
    """Begin an error about one of the ``settings`` with its flag."""
    try:
        yield
    except SettingError as error:
        if error.setting in settings:
            raise ValueError(f'argument {flag_of(error.setting)}: {error}') from None
        raise


def _check_side(self_attention: str | None, size: Size) -> None:
    multiple = SELF_ATTENTIONS.find(self_attention).multiple if self_attention else 1
    if any(side % multiple for side in sides(size)):
        raise ValueError(f'argument --self-attention: {self_attention} takes images whose sides are '
                         f'multiples of {multiple}, but --input-size is {size}')


def _normalisation(config: ImagenetConfig, in_torch: bool) -> dict[str, Any]:
    network, gpus = config.network, config.training.num_gpus
    if config.compute.syncbn and network.use_gn:
        raise ValueError('argument --syncbn: --use-gn leaves it no BatchNorm; choose one of the two')
    if config.compute.syncbn and config.compute.engine != 'torch':
        if gpus < 2:  # MXNet's waits forever on a CPU
            raise ValueError(f'argument --syncbn: it is for two or more GPUs, but --num-gpus is {gpus}; '
                             'leave it out')
        from mxnet.gluon.contrib.nn import SyncBatchNorm
        return {'norm_layer': SyncBatchNorm, 'norm_kwargs': {'num_devices': gpus}}
    if not network.use_gn:
        return {}  # the host's own, BatchNorm
    if in_torch:
        from openatac.pytorch.nn.normalisation import GroupNorm as TorchGroupNorm
        return {'norm_layer': TorchGroupNorm}
    from openatac.nn.group_norm import GroupNorm
    return {'norm_layer': GroupNorm}


def set_up_fine_tuning(net: Any, config: Config) -> None:
    """Have training leave the parameters of --freeze alone, and scale the rate of --head-lr-mult.

    Raises
    ------
    ValueError
        If they do not fit the network.
    """
    training = config.training
    if training.freeze is None and training.head_lr_mult is None:
        return
    freeze, scale_head_rate = _fine_tuning_of(net)
    if training.freeze is not None:
        with _naming('--freeze'):
            freeze(net, training.freeze)
    if training.head_lr_mult is not None:
        with _naming('--head-lr-mult'):
            scale_head_rate(net, _host(config).output, training.head_lr_mult)


def _fine_tuning_of(net: Any) -> tuple[Any, Any]:
    """Return (freeze, scale_head_rate) of the network's library."""
    if is_module(net):
        from openatac.pytorch import fine_tuning as of_pytorch
        return of_pytorch.freeze, of_pytorch.scale_head_rate
    from openatac.models import fine_tuning as of_gluon
    return of_gluon.freeze, of_gluon.scale_head_rate


@contextlib.contextmanager
def _naming(flag: str) -> Iterator[None]:
    """Begin an error with the flag."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f'argument {flag}: {error}') from None


def initial_parameters(config: Config) -> str | Pretrained | None:
    """Return what the network starts from, as `Backend.initialize` takes it."""
    if config.start.pretrained is None:
        return config.start.params
    return Pretrained(weights_file(config.start.pretrained), _host(config).output)


def drawn_by_mxnet(config: Config) -> dict[str, np.ndarray]:
    """Return {structural name: array} of all values with which MXNet's network of a config would start."""
    import mxnet as mx

    from openatac.models.weights.parameters import draw_deferred_values, initialize_parameters, values_of
    net, _ = build_network(config)
    initialize_parameters(net, config.training.seed, [mx.cpu()], initial_parameters(config))
    draw_deferred_values(net, image_shape(config))
    return {name: value.asnumpy() for name, value in values_of(net).items()}


def ignored_options(config: Config) -> list[str]:
    """Return the network options that its host does not have; `build_network` leaves them out."""
    if isinstance(config, ImagenetConfig):
        return []
    host = _host(config)
    known = {*host.settings, 'model', 'host', *(['blocks'] if host.blocks else [])}
    return [name for name, field in section_fields(type(config.network)).items()
            if field.option.network and name not in known]


def image_shape(config: Config) -> tuple[int, int, int]:
    """Return (C, H, W) of the network's images."""
    if isinstance(config, CifarConfig):
        return (3, config.data.side, config.data.side)
    return (3, *sides(config.data.input_size))


def print_layers(net: Any, shape: tuple[int, int, int]) -> None:
    """Print Gluon's table of layers, output shapes and parameters, or PyTorch's list of modules."""
    if is_module(net):
        print(net)
        return
    import mxnet as mx
    net.initialize()
    net.summary(mx.nd.zeros((1, *shape)))
