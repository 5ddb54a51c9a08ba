"""Check flags against the description of a network beside its parameter file, and fill in the others.

`openatac.trained.described_network` reads the description. Then:

- the network is as described, and a flag that contradicts it is an error;
- the size of the images is that of the command line, else as described;
- with --evaluate, the labels are as described, and a flag that contradicts them is an error; the places of
  the images are all from the command line or all as described; other data options are those of the command
  line, else as described;
- with --pretrained, the classes and all other data options are those of the command line, since the network
  is fine-tuned on other images.
"""
from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Mapping
from typing import Any

from openatac.data.images.class_names import read_class_list
from openatac.errors import FlagError
from openatac.options.command_line import ParsedFlags, flag_of
from openatac.options.declaration import Role, option_fields, option_values, options_in, with_changes
from openatac.trained.described_network import described_options
from openatac.training.config import AnyConfig
from openatac.training.networks.named_options import with_named_options
from openatac.training.sections.cifar import BY_FLAGS
from openatac.zoo.weights.pretrained import resolve_parameter_file

log = logging.getLogger('openatac')
_SIZES = ('image_size', 'input_size')


def with_described_network(flags: ParsedFlags[AnyConfig]) -> ParsedFlags[AnyConfig]:
    """Return the config with the network of --evaluate or --pretrained, if a file next to it describes it.

    Raises FlagError if the command line, or its recipe, contradicts it.
    """
    start = flags.config.start
    path = start.evaluate or start.pretrained
    if start.initial or not path:
        return flags
    return _with_network_of(flags, resolve_parameter_file(path), with_data=bool(start.evaluate))


def _with_network_of(flags: ParsedFlags[AnyConfig], path: str, with_data: bool) -> ParsedFlags[AnyConfig]:
    """Return the config with the network of the parameters in ``path``, where known.

    Parameters
    ----------
    flags : ParsedFlags
        Its data options on the command line take precedence: the size, the crop, and either all places or
        none.
    path : str
    with_data : bool
        Whether to add the network's data too, to evaluate it. Otherwise, to fine-tune it on other data with
        other classes, the image size is the only data option to add.
    """
    described = described_options(path, type(flags.config))
    if described is None:
        return flags
    source, known = described
    options = option_fields(type(flags.config))
    network = [name for name in known if name in options_in(type(flags.config), 'network')
               and options[name].has(Role.NETWORK) and not options[name].has(Role.TRAINING_ONLY)]
    data = [name for name in known if name in options_in(type(flags.config), 'data')]
    if not with_data:
        wanted = option_values(flags.config)
        network = [name for name in network if name != 'num_classes']
        data = [name for name in data if name in _SIZES and options[name].option.matters(wanted)]
    if with_data and flags.is_given('class_list'):
        _check_class_list(flags, source, known.get('class_names'))
    labels = [name for name in data if name in ('dataset', 'cifar100_labels')]
    _check(flags, path, source, {name: known[name] for name in (*network, *labels)})
    log.info('%s describes the network of %s', source, path)
    return dataclasses.replace(flags, config=with_changes(
        flags.config, **{name: known[name] for name in network}, **_data_options(flags, known, data)))


def _check(flags: ParsedFlags[Any], path: str, source: str, known: Mapping[str, Any]) -> None:
    """Raise FlagError if the command line contradicts the known options."""
    wanted = option_values(with_named_options(flags.config))
    for name, value in known.items():
        origin = _origin(name, flags)
        if name != 'model' and flags.is_given(origin) and wanted[name] != value:
            other = ', or give openatac evaluate an export and other images' if name == 'dataset' else ''
            raise FlagError(flag_of(origin), f'{wanted[origin]} contradicts {source}, which '
                            f'describes {path} as a network with {name} {value}; leave it out{other}')


def _origin(name: str, flags: ParsedFlags[Any]) -> str:
    """Return the option that determines ``name``: 'model' if the network's name includes it, or itself."""
    model = getattr(flags.config.network, 'model', BY_FLAGS)
    in_name = name == 'host' or option_fields(type(flags.config))[name].has(Role.IN_NAME)
    return 'model' if model != BY_FLAGS and in_name and not flags.is_given(name) else name


def _check_class_list(flags: ParsedFlags[Any], source: str, names: list[str] | None) -> None:
    """Raise FlagError if the classes in --class-list, or their order, differ from the network's.

    With --val-labels, the list can give the classes of its numbers, in another order.
    """
    path = flags.config.data.class_list
    if not names:
        return
    listed = list(read_class_list(os.path.expanduser(path)))
    has_numbers = getattr(flags.config.data, 'val_labels', None) is not None
    if listed != names and not (has_numbers and sorted(listed) == sorted(names)):
        raise FlagError('--class-list', f'{path} has different classes, or a different order, than '
                        f'{source}; leave it out')


def _data_options(flags: ParsedFlags[Any], known: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """Return the known data options, including the places unless the command line gives one.

    CIFAR is the same everywhere, so it is taken from Gluon's folder if it is no longer in its old place.
    """
    options = option_fields(type(flags.config))
    places = [name for name in names if options[name].has(Role.LOCATES_IMAGES)]
    about = [name for name in names if name not in places and not options[name].has(Role.AFFECTS_ONLY_SPEED)]
    are_given = any(flags.is_given(place) for place in places if place != 'class_list')
    is_cifar = known.get('dataset', 'folder') != 'folder'
    is_gone = not os.path.exists(os.path.expanduser(known.get('data_dir') or ''))
    if are_given or (is_cifar and is_gone):
        places = []
    return {name: known[name] for name in (*about, *places) if not flags.is_given(name)}
