"""The backends by name; nothing here loads their libraries."""
from __future__ import annotations

from typing import Any, Callable, NamedTuple

from openatac.registry import Registry


class BackendEntry(NamedTuple):
    """What is known about a backend before its library is imported.

    Attributes
    ----------
    factory : callable or str
        Returns a `Backend`; or the place of one that does, 'module:name'.
    check : callable
        ``check(config)`` raises ValueError, with a user-facing message, for options that the backend lacks.
    """

    factory: Any
    check: Callable[[Any], None]


BACKENDS: Registry[BackendEntry] = Registry('backend', hyphens=True)


def register_backend(name: str, factory: Callable[..., Any],
                     check: Callable[[Any], None] = lambda config: None) -> None:
    """Add a backend that both scripts use if given ``--engine name``.

    Parameters
    ----------
    name : str
    factory : callable
        A subclass of `openatac.backends.base.Backend`, or a function that returns one; its parameters are
        those of `openatac.backends.base.open_backend` but for the last, in their order.
    check : callable
        ``check(config)``, with the `CifarConfig` or `ImagenetConfig` of a run, raises ValueError, with a
        sentence, for options that the backend does not have. By default it accepts all. It is called
        before anything is loaded.

    Raises
    ------
    ValueError
        If the name is taken.
    """
    BACKENDS.register(name, BackendEntry(factory, check))
