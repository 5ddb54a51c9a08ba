"""Fill in the options of a config that a network's name determines, and the registered names of its units."""
from __future__ import annotations

from typing import Any

from openatac.errors import FlagError, UsageError
from openatac.options.command_line import flag_of, naming
from openatac.options.declaration import Role, section_fields, with_changes
from openatac.registry import Factories, LibraryName
from openatac.training.config import AnyConfig, CifarConfig, Config, ImagenetConfig
from openatac.training.sections.cifar import BY_FLAGS
from openatac.zoo.hosts import HOSTS, PUBLISHED_CIFAR_HOST, Host
from openatac.zoo.names import parse_network_name
from openatac.zoo.units import ATAC, REGISTRIES


def with_named_options(config: AnyConfig) -> AnyConfig:
    """Return the config with registered unit names, and with the options that a network's name determines.

    Raises
    ------
    UsageError
        For an unknown name, or for options that contradict the name of a network.
    """
    units: dict[str, Any] = {}
    for name, typed in _units(config).items():
        with naming(flag_of(name)):
            units[name] = REGISTRIES[name].name_of(typed, 'it')
    if isinstance(config, CifarConfig):
        return with_changes(config, **_named_cifar_options(config, units))
    return with_changes(config, num_classes=config.network.classes, **units)


def _units(config: Config) -> dict[str, str]:
    """Return {option: name} of the units that a config names."""
    return {name: unit for name in REGISTRIES
            if hasattr(config.network, name) and (unit := getattr(config.network, name)) is not None}


def _named_cifar_options(config: CifarConfig, units: dict[str, Any]) -> dict[str, Any]:
    network = config.network
    host, named = _parse_model(network.model)
    options: dict[str, Any] = {'host': None if host.name == PUBLISHED_CIFAR_HOST else host.name,
                               'useGlobal': network.useGlobal or named.get('useGlobal', False)}
    for name, default in (('blocks', 3), ('channels', None), ('act_type', ATAC), ('attention', None)):
        value = units[name] if name in units else getattr(network, name)
        if name in named and value not in (None, named[name]):
            raise FlagError(flag_of(name), f'--model {network.model} is built with '
                            f'{named[name]}; leave out one of the two')
        options[name] = named.get(name, default) if value is None else value
    return options


def _parse_model(model: str) -> tuple[Host, dict[str, Any]]:
    """Return (host, options) for the name of a network; `BY_FLAGS` leaves the options open."""
    if model == BY_FLAGS:
        return HOSTS.find(PUBLISHED_CIFAR_HOST), {}
    with naming('--model'):
        host, settings = parse_network_name(model)
    if host.data != 'cifar':
        raise FlagError('--model', f'{model} is for ImageNet; choose a cifar_resnet network')
    layers = settings.pop('layers', None)
    return host, {'attention': None, **settings, **({'blocks': layers[0]} if layers else {})}


def is_registered_for(library: LibraryName, config: Config) -> bool:
    """Return whether the host and the units of a config are registered for the library."""
    try:
        config = with_named_options(config)
        parts = [config.host, *(REGISTRIES[name].find(unit) for name, unit in _units(config).items())]
    except UsageError:
        return False
    return all(part.has(library) for part in parts if isinstance(part, Factories))


def ignored_options(config: Config) -> list[str]:
    """Return the network options that the config's host does not accept; `build_network` ignores them."""
    if isinstance(config, ImagenetConfig):
        return []
    host = config.host
    known = {*host.arguments, 'model', 'host', *(['blocks'] if host.blocks else [])}
    return [name for name, field in section_fields(type(config.network)).items()
            if field.has(Role.NETWORK) and name not in known]
