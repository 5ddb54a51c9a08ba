"""Build the network of a training run, from its options or from the files of --initial."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openatac.errors import FlagError
from openatac.options.command_line import COMMAND_LINE, ParsedFlags, flag_of
from openatac.system.installed import has_mxnet, require_mxnet, require_torch
from openatac.training.config import AnyConfig, Config

if TYPE_CHECKING:
    from openatac.training.networks.build import BuiltNetwork


def only_makes_network(config: Config) -> bool:
    """Return whether the command only prints or writes the network."""
    return bool(config.network.summary or config.start.write_initial)


def check_libraries(config: Config) -> None:
    """Raise ModuleNotFoundError, with a message, if the config needs MXNet or PyTorch and it is missing."""
    if config.compute.library == 'gluon':
        require_mxnet()
    for flag, value in (('--export', config.output.export), ('--write-initial', config.start.write_initial)):
        if value and not has_mxnet():
            raise ModuleNotFoundError(f'{flag} writes files of MXNet, which is not installed here: leave it '
                                      'out', name='mxnet')
    if not config.start.initial and _builds_in_torch(config):  # the errors of --initial come first
        require_torch()


def _builds_in_torch(config: Config) -> bool:
    """Return whether PyTorch builds the network; where MXNet is installed, MXNet prints and writes it."""
    return config.compute.library == 'torch' and not (only_makes_network(config) and has_mxnet())


def network_from_flags(flags: ParsedFlags[AnyConfig]) -> BuiltNetwork[AnyConfig]:
    """Build the network of the options or of the files of --initial.

    Raises FlagError for options that do not describe a network or contradict the files, OpenatacError if the
    files cannot be read, and ModuleNotFoundError if the network needs PyTorch and it is missing.
    """
    config = flags.config
    if config.start.initial:
        from openatac.training.networks.initial_files import read_initial_network
        return read_initial_network(config.start.initial, flags)
    from openatac.library import GLUON, PYTORCH
    from openatac.training.networks.build import build_network, set_up_fine_tuning
    from openatac.training.networks.named_options import ignored_options, is_registered_for
    # With MXNet, a unit that is not registered for PyTorch is converted.
    in_torch = _builds_in_torch(config) and (is_registered_for('torch', config) or not has_mxnet())
    built = build_network(config, PYTORCH if in_torch else GLUON)
    set_up_fine_tuning(built.net, built.config)
    if config.output.export and in_torch and not is_registered_for('gluon', config):
        raise FlagError('--export', f'it writes a network in Gluon, and {built.name} is only in PyTorch; '
                        'leave it out')
    for option in ignored_options(built.config):
        if flags.origins[option] == COMMAND_LINE:
            raise FlagError(flag_of(option), f'the host of {built.name} has no such setting; leave it out')
    return built


def print_or_write_network(built: BuiltNetwork[Any]) -> None:
    """Print the network for --summary, or write it for --write-initial."""
    from openatac.library import library_of
    from openatac.training.networks.initial_files import write_initial_network
    if built.config.start.write_initial:
        write_initial_network(built)
    else:
        library_of(built.net).print_layers(built.net, built.config.image_shape)
