"""Files that take a network with its initial values from a machine with MXNet to one without.

    train_cifar.py --recipe cifar10_atac --seed 1 --write-initial start/atac                  (with MXNet)
    train_cifar.py --recipe cifar10_atac --seed 1 --engine torch --gpus 0 --initial start/atac  (without)

The graph is in ``PREFIX-symbol.json`` and the values in ``PREFIX-0000.params``, under structural names;
``PREFIX-flags.json``, written last, holds the options that they were made with.
"""
from __future__ import annotations

import contextlib
import json
import logging
import os
from typing import Any, NamedTuple

from openatac.errors import FlagError, OpenatacError, reason
from openatac.files.export_file_names import PARAMS_SUFFIX, SYMBOL_SUFFIX
from openatac.files.schema import read_json
from openatac.files.writing import write_text, writing
from openatac.options.command_line import ParsedFlags, flag_of
from openatac.options.declaration import from_json, option_fields, option_values, with_changes
from openatac.system.installed import require_torch
from openatac.training.config import AnyConfig, CifarConfig, ImagenetConfig, network_settings
from openatac.training.networks.build import BuiltNetwork
from openatac.zoo.units import REGISTRIES

log = logging.getLogger('openatac')
FLAGS_SUFFIX = '-flags.json'


class WrittenNetwork(NamedTuple):
    """The contents of ``PREFIX-flags.json``: the network's name, and {option: value} of its options."""

    model: str
    flags: dict[str, Any]


def read_written_network(prefix: str) -> WrittenNetwork:
    """Read ``PREFIX-flags.json``; raise OpenatacError if it is missing or damaged."""
    try:
        return read_json(prefix + FLAGS_SUFFIX, WrittenNetwork)
    except OSError as error:
        raise OpenatacError(f'--initial: {prefix + FLAGS_SUFFIX} cannot be read ({reason(error)}): write it '
                            'with the same command and --write-initial, where MXNet is installed') from None
    except ValueError as error:
        raise _damaged(prefix, error) from None


def read_initial_network(prefix: str, flags: ParsedFlags[AnyConfig]) -> BuiltNetwork[AnyConfig]:
    """Read the files that `write_initial_network` wrote under ``prefix``.

    Returns
    -------
    BuiltNetwork
        A PyTorch module with the initial values, and the config of `read_initial_config`.

    Raises
    ------
    FlagError
        If the command line gives another value for one of the network's options.
    OpenatacError
        If the files are missing or damaged.
    ModuleNotFoundError
        If PyTorch is not installed.
    """
    name, config = read_initial_config(prefix, flags)
    require_torch()
    from openatac.conversion.networks import to_torch
    return BuiltNetwork(to_torch(prefix + SYMBOL_SUFFIX), name, config)


def read_initial_config(prefix: str, flags: ParsedFlags[AnyConfig]) -> tuple[str, AnyConfig]:
    """Return (the network's name, the config of ``flags`` with its options); see `read_initial_network`."""
    config_type = type(flags.config)
    model, written = read_written_network(prefix)
    other = ImagenetConfig if config_type is CifarConfig else CifarConfig
    if set(written) & (set(option_fields(other)) - set(option_fields(config_type))):
        raise FlagError('--initial', f'the network in {prefix} was made by the other script')
    try:
        if not set(written) <= set(network_settings(flags.config)):
            raise ValueError('its options do not describe a network')
        made = option_values(from_json(config_type, written))
    except ValueError as error:
        raise _damaged(prefix, error) from None
    wanted = option_values(flags.config)
    for name in written:
        value = wanted[name]
        if flags.is_given(name) and _canonical(name, value) not in (None, _canonical(name, made[name])):
            raise FlagError('--initial', f'the network in {prefix} was made with {flag_of(name)} '
                            f'{made[name]}, but this command gives {value}')
    return model, with_changes(flags.config, **{name: made[name] for name in written})


def _canonical(option: str, value: Any) -> Any:
    """Return an option's value for comparison: a unit has several names."""
    registry = REGISTRIES.get(option)
    return value if registry is None or value is None else registry.short_name(value)


def _damaged(prefix: str, error: ValueError) -> OpenatacError:
    return OpenatacError(f'--initial: {prefix + FLAGS_SUFFIX} is damaged ({error}): write it again with '
                         '--write-initial')


def write_initial_network(built: BuiltNetwork[Any]) -> None:
    """Write a network to the prefix in the ``start`` section of its config.

    The files contain its initial values, or the values of the parameter file that the config starts from.

    Raises
    ------
    OpenatacError
        If the files cannot be written.
    """
    from openatac.graph.named_graph import export_graph
    from openatac.training.networks.initial_values import draw_on_cpu
    net, config = built.net, built.config
    prefix = config.start.write_initial
    assert prefix is not None
    draw_on_cpu(net, config)
    with writing(f'--write-initial: {prefix}'):
        os.makedirs(os.path.dirname(os.path.abspath(prefix)), exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.remove(prefix + FLAGS_SUFFIX)  # it describes files that are about to change
        export_graph(net, prefix)
        write_text(prefix + FLAGS_SUFFIX, json.dumps(
            {'model': built.name, 'flags': network_settings(config)}, indent=1) + '\n')
    log.info('the network and its initial values are in %s, %s and %s',
             prefix + SYMBOL_SUFFIX, prefix + PARAMS_SUFFIX, prefix + FLAGS_SUFFIX)
