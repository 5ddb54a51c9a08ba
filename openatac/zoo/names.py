"""The names of networks, in GluonCV's style, such as ``cifar_resnet20_v2_atac``.

A name is TITLE_UNIT. Titles are ``cifar_resnet{6b+2}_v2`` for b blocks per stage, ``cifar_resnet18_v1`` and
``resnet50_v1b``. Units are activations (``atac`` is ChaATAC), attention blocks with ReLU as the activation,
self-attention of ResNet-50, and combinations of these (``swish_se``). Channels other than the host's follow
an @: ``cifar_resnet8_v2_relu@17-17-35-68``.
"""
from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from openatac.errors import UsageError
from openatac.zoo.hosts import HOSTS, Host
from openatac.zoo.units import ACTIVATIONS, ATTENTIONS, SELF_ATTENTIONS


def unit_name(act_type: str, attention: str | None = None, useGlobal: bool = False,
              self_attention: str | None = None, channels: Sequence[int] | None = None) -> str:
    """Return the unit in a network's name: 'atac' for 'ChaATAC', 'se' for SE over ReLU, 'swish_se', ...

    'atac_global' is ATAC with the global gate, the paper's "SE as activation", and 'relu@17-17-35-68' is ReLU
    in a network with these ``channels`` in place of its host's.
    """
    activation = ACTIVATIONS.short_name(act_type)
    if activation == 'atac' and useGlobal:
        activation = 'atac_global'
    others = [registry.short_name(name) for registry, name in (
        (ATTENTIONS, attention), (SELF_ATTENTIONS, self_attention)) if name is not None]
    unit = '_'.join(others if others and activation == 'relu' else [activation, *others])
    return unit if channels is None else f'{unit}@{"-".join(map(str, channels))}'


def network_name(host: Host, blocks: int | None, unit: str) -> str:
    """Return the name of a host's network with ``blocks`` per stage, if that varies, and a unit."""
    return f'{host.title_of(blocks)}_{unit}'


def units_of(host: Host) -> dict[str, dict[str, Any]]:
    """Return {unit in a name: the host's settings for it}, for all units that the host accepts."""
    units: dict[str, dict[str, Any]] = {}
    for unit, settings in combinations(host):
        units.setdefault(unit, settings)
    return units


def combinations(host: Host) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (unit in a name, the host's settings for it); several settings can mean the same unit."""
    choices: dict[str, Any] = {'act_type': ACTIVATIONS, 'attention': (None, *ATTENTIONS),
                               'self_attention': (None, *SELF_ATTENTIONS), 'useGlobal': (False, True)}
    choices = {name: values for name, values in choices.items() if name in host.arguments}
    for values in itertools.product(*choices.values()):
        settings = {name: value for name, value in zip(choices, values) if value}
        yield unit_name(**settings), settings


def parse_unit(host: Host, name: str) -> dict[str, Any] | None:
    """Return the host's settings for a unit in a network's name; None if there is no such unit."""
    unit, at, channels = name.lower().partition('@')
    settings = units_of(host).get(unit)
    if settings is None or not at:
        return settings
    if 'channels' not in host.arguments or not re.fullmatch(r'\d{1,6}(-\d{1,6})*', channels):
        return None
    return {**settings, 'channels': [int(count) for count in channels.split('-')]}


def get_model_list() -> list[str]:
    """List the networks with one unit, sorted. `get_model` accepts other depths and combinations too."""
    names = []
    for host in HOSTS.values():
        names += [network_name(host, blocks, unit) for blocks in host.blocks or (None,)
                  for unit, settings in units_of(host).items() if _is_one_unit(settings)]
    return sorted(names)


def _is_one_unit(settings: Mapping[str, Any]) -> bool:
    """Return whether a network has one unit: an activation, or a block with ReLU as the activation."""
    blocks = sum(name in settings for name in ('attention', 'self_attention'))
    return blocks == 0 or (blocks == 1 and settings['act_type'] == 'relu')


def parse_network_name(name: str) -> tuple[Host, dict[str, Any]]:
    """Return a network's host, and the settings in the network's name.

    Raises
    ------
    UsageError
        If there is no such network; the message names the nearest ones.
    """
    parsed = _parse(name)
    if parsed:
        host, settings, _ = parsed
        return host, settings
    near = difflib.get_close_matches(name.lower(), get_model_list(), n=5, cutoff=0.3)
    hint = (f'the nearest names are {", ".join(near)}' if near else
            f"valid names include {', '.join(host.example for host in HOSTS.values())}; openatac models '*' "
            'lists them')
    raise UsageError(f'unknown model {name!r}; {hint}')


def _parse(name: str) -> tuple[Host, dict[str, Any], str] | None:
    """Return (host, settings, unit) for the name of a network; None for another name."""
    for host in HOSTS.values():
        settings, unit = host.parse(name) or ({}, '')
        of_unit = parse_unit(host, unit)
        if of_unit is not None:
            return host, {**settings, **of_unit}, unit
    return None


def unit_in(name: str) -> str | None:
    """Return the unit in a network's name, such as 'swish_se'; None if this is not a network's name."""
    parsed = _parse(name)
    return parsed and parsed[2]


def host_of(name: str) -> Host:
    """Return a network's host; UsageError as for `parse_network_name`."""
    return parse_network_name(name)[0]


def stage_of(name: str) -> str:
    """Return the stage number in a block's or layer's name; '' outside the stages."""
    prefixes = '|'.join(re.escape(host.stage_prefix) for host in HOSTS.values())
    match = re.search(rf'(?:{prefixes})(\d+)_', name)
    return match[1] if match else ''
