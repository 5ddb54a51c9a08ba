"""Add units and hosts from outside the package."""
from __future__ import annotations

from typing import Any

from openatac.registry import Factories, Factory, Registry
from openatac.zoo.hosts import HOSTS, Host
from openatac.zoo.names import combinations, units_of
from openatac.zoo.units import ACTIVATIONS, ATTENTIONS, REGISTRIES


def register_activation(name: str, factory: Factory | None, alias: str | None = None,
                        torch_factory: Factory | None = None) -> None:
    """Add an activation; all networks can then be built with it.

    Parameters
    ----------
    name : str
        Its name, for ``act_type`` and ``--act-type`` and in names of networks.
    factory : callable or None
        ``factory(channels)`` returns a HybridBlock that maps (B, channels, H, W) to the same shape. If it
        also takes ``r``, ``useReLU`` or ``useGlobal``, it gets the network's settings.
    alias : str, optional
        A second name, which network names then use.
    torch_factory : callable, optional
        PyTorch's factory, with the same arguments; it returns a torch.nn.Module.

    Raises
    ------
    ValueError
        If a name is taken.

    Examples
    --------
    >>> openatac.register_activation('softsign', lambda channels: gluon.nn.Activation('softsign'))
    >>> openatac.get_model('cifar_resnet20_v2_softsign')
    """
    _register(ACTIVATIONS, name, Factories(name, factory, torch_factory), alias)


def register_attention(name: str, factory: Factory | None, alias: str | None = None,
                       torch_factory: Factory | None = None) -> None:
    """Add an attention block, which ends the main path of each block of a network.

    For the arguments, see `register_activation`. The name is for ``attention`` and ``--attention``, and the
    factory gets the network's ``reduction`` if it accepts one.
    """
    _register(ATTENTIONS, name, Factories(name, factory, torch_factory), alias)


def register_host(name: str, factory: Factory | None, **description: Any) -> Host:
    """Add a host; its networks, with any activation and any attention it accepts, can then be built by name.

    Parameters
    ----------
    name, factory
        See `Host`.
    **description
        The other fields of `Host`: ``torch_factory``, ``input_shape``, ``data``, ``title``, ``stages``,
        ``blocks``, ``stage_prefix`` and ``output``.

    Raises
    ------
    ValueError
        If the name is taken, or the factory does not take ``classes`` and ``act_type``.
    """
    host = Host(name, factory, **description)
    HOSTS.register(name, host)
    return host


def _register(registry: Registry[Factories], name: str, factories: Factories, alias: str | None) -> None:
    """Add a unit; raise ValueError if its name, or a combination with it, already names another unit."""
    taken = {unit for host in HOSTS.values() for unit in units_of(host)}
    for new in (name, alias):
        if new is not None and new.lower() in taken:
            raise ValueError(f'{new!r} is already the name of another unit: choose another')
    registry.register(name, factories, alias)
    for host in HOSTS.values():
        units = units_of(host)
        for unit, settings in combinations(host):
            if any(units[unit].get(part) != settings.get(part) for part in REGISTRIES):
                registry.unregister(name)
                raise ValueError(f'{name!r} cannot be registered, since {unit!r} would name two units: '
                                 'choose another name')
