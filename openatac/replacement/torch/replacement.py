"""Replace the activations of an existing PyTorch network."""
from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from openatac.pytorch.nn.initializers import initialize
from openatac.replacement.rules import Where, check_called, check_selected, selects
from openatac.replacement.torch.recording import Recording, record_forward

Location = tuple[nn.Module, str]  # a parent and the key of one of its children


class CallSite(NamedTuple):
    """Where an activation is called: a location, and one of the ``calls`` that ``caller`` makes there."""

    location: Location
    caller: nn.Module
    position: int
    calls: int
    name: str
    channels: frozenset[int]  # of its input feature maps


class PerCall(nn.ModuleList):
    """One activation for each call in the caller's forward, in place of one shared by all calls."""

    def __init__(self, activations: Sequence[nn.Module]) -> None:
        super().__init__(activations)
        self.calls = 0

    def restart(self, caller: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Return to the first activation when the caller begins its forward, as a forward pre-hook."""
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        if self.calls == len(self):
            raise RuntimeError(f'this activation was called {len(self)} times in a forward pass when it was '
                               'replaced, and now once more: replace it in the mode in which it is used')
        activation = self[self.calls]
        self.calls += 1
        return activation(x)


def replace(net: nn.Module, make: Callable[[int], nn.Module], where: Where, image_shape: Sequence[int],
            init: Callable[[nn.Module], Any] | None) -> list[str]:
    """Replace activations with units built by ``make(channels)``, in place; return their names.

    For the other parameters and the errors, see `openatac.replacement.activations.replace_activations`.
    """
    recording = record_forward(net, image_shape)
    names = {module: name for name, module in net.named_modules()}
    sites = [*_call_sites(recording, names)]
    order = {name: index for index, (name, _) in enumerate(net.named_modules(remove_duplicate=False))}
    sites.sort(key=lambda site: (order[_name(site.location, names)], site.position))
    shared = _called_by_several(sites, names)
    on_maps = [site for site in sites if site.location not in shared]
    stuck = [text for name, text in [*_called_inside(recording, names), *shared.values()]
             if selects(where, name)]
    chosen = [site for site in on_maps if selects(where, site.name)]
    units = {site: make(max(site.channels)) for site in chosen}
    stuck += [f'{site.name} (called with {" and ".join(map(str, sorted(site.channels)))} channels)'
              for site in chosen if len(site.channels) > 1 and units[site].state_dict()]
    check_selected(where, stuck, [site.name for site in chosen], [site.name for site in on_maps])
    _prepare(net, units.values(), init or initialize)
    _put_units(net, units, image_shape)
    return [site.name for site in chosen]


# ------------------------------------------------------------------- replaceable activations

def _name(location: Location, names: dict[nn.Module, str], *parts: str) -> str:
    """Return the structural name of a location, followed by the parts."""
    return '.'.join(filter(None, (names[location[0]], location[1], *parts)))


def _called_inside(recording: Recording, names: dict[nn.Module, str]) -> Iterator[tuple[str, str]]:
    """Yield (name, description for an error) of each module whose forward calls functional activations."""
    for module, functions in recording.functions.items():
        name = _name((module, 'forward'), names)
        yield name, f'{name} ({type(module).__name__} calls {" and ".join(functions)})'


def _called_by_several(sites: Sequence[CallSite], names: dict[nn.Module, str]
                       ) -> dict[Location, tuple[str, str]]:
    """Return {location: (name, description for an error)} for each activation that several modules call."""
    callers: dict[Location, set[nn.Module]] = defaultdict(set)
    for site in sites:
        callers[site.location].add(site.caller)
    return {location: (_name(location, names), f'{_name(location, names)} (called by {len(modules)} modules)')
            for location, modules in callers.items() if len(modules) > 1}


def _call_sites(recording: Recording, names: dict[nn.Module, str]) -> Iterator[CallSite]:
    """Yield the call sites of all activations on feature maps."""
    locations: dict[nn.Module, list[Location]] = defaultdict(list)
    for parent in names:
        for key, child in parent._modules.items():
            if child is not None:
                locations[child].append((parent, key))
    for caller, forwards in recording.forwards.items():
        for activation in dict.fromkeys(call.activation for forward in forwards for call in forward):
            yield from _sites_of(caller, activation, locations[activation], recording, names)


def _sites_of(caller: nn.Module, activation: nn.Module, locations: list[Location], recording: Recording,
              names: dict[nn.Module, str]) -> Iterator[CallSite]:
    """Yield the call sites of an activation in a module's forward."""
    forwards = [[call.channels for call in forward if call.activation is activation]
                for forward in recording.forwards[caller]]
    calls = max(map(len, forwards))
    locations = [location for location in locations if location[0] is caller] or locations
    in_sequence = len(locations) == calls  # one module in several locations of an nn.Sequential
    for position in range(calls):
        received = [forward[position] for forward in forwards if len(forward) > position]
        channels = frozenset(count for count in received if count is not None)
        location = locations[position if in_sequence else 0]
        name = _name(location, names, '' if in_sequence else str(position))
        if channels:
            yield CallSite(location, caller, 0 if in_sequence else position, 1 if in_sequence else calls,
                           name, channels)


# --------------------------------------------------------------------------------- replacement

def _prepare(net: nn.Module, units: Any, init: Callable[[nn.Module], Any]) -> None:
    """Give the units initial values, the network's device and the precision of its weights."""
    weight = next((parameter for parameter in net.parameters() if parameter.dim() > 1), torch.zeros(1))
    for unit in units:
        init(unit)
        unit.to(weight.device, weight.dtype)


def _put_units(net: nn.Module, units: dict[CallSite, nn.Module], image_shape: Sequence[int]) -> None:
    """Put in all units, or none if the network does not call every one of them."""
    locations: dict[Location, list[CallSite]] = defaultdict(list)
    for site in units:
        locations[site.location].append(site)
    with contextlib.ExitStack() as undo:
        for (parent, key), sites in locations.items():
            old: Any = parent._modules[key]
            activations = [old] * sites[0].calls
            for site in sites:
                activations[site.position] = units[site].train(old.training)
            undo.callback(parent._modules.__setitem__, key, old)
            parent._modules[key] = activations[0]
            if len(activations) > 1:
                parent._modules[key] = per_call = PerCall(activations)
                undo.callback(sites[0].caller.register_forward_pre_hook(per_call.restart).remove)
        called = record_forward(net, image_shape).called
        check_called([site.name for site, unit in units.items() if unit not in called])
        undo.pop_all()
