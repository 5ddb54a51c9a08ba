"""The registry of backends; importing it does not load their libraries."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, get_args

from openatac.errors import UsageError
from openatac.registry import LibraryName, Registry


class BackendEntry(NamedTuple):
    """A registered backend, described without importing its library.

    Attributes
    ----------
    factory : callable or str
        Returns a `Backend`; can be given by its import path, 'module:name'.
    check : callable
        See `register_backend`; called by `check_backend`.
    library : 'gluon' or 'torch'
        See `register_backend`.
    """

    factory: Any
    check: Callable[[Any], None]
    library: LibraryName = 'gluon'


BACKENDS: Registry[BackendEntry] = Registry('backend', hyphens=True)


def register_backend(name: str, factory: Callable[..., Any],
                     check: Callable[[Any], None] = lambda config: None,
                     library: LibraryName = 'gluon') -> None:
    """Add a backend, which the training commands select with ``--engine name``.

    Parameters
    ----------
    name : str
    factory : callable
        A subclass of `openatac.backends.base.Backend`, or a function that returns an instance of one. It
        takes the parameters of `openatac.backends.base.open_backend`, in the same order.
    check : callable
        ``check(config)`` takes the `CifarConfig` or `ImagenetConfig` of a run and raises ValueError, with a
        one-sentence message, for options that the backend does not support. It is called before anything is
        loaded. Default: accept all options.
    library : 'gluon' or 'torch'
        The library whose networks the backend trains. It must be installed, and determines how several
        processes start: with Gluon through MXNet's key-value store and ``openatac launch``, with PyTorch
        through torchrun, one for each GPU. A backend for PyTorch gets a Module, or a HybridBlock to convert
        if the network exists only in Gluon.

    Raises
    ------
    ValueError
        If the name is taken, or there is no such library.
    """
    if library not in get_args(LibraryName):
        raise ValueError(f"library must be 'gluon' or 'torch', not {library!r}")
    BACKENDS.register(name, BackendEntry(factory, check, library))


def check_backend(config: Any) -> None:
    """Raise UsageError if the backend of a `CifarConfig` or `ImagenetConfig` does not support its options."""
    try:
        BACKENDS.find(config.compute.engine).check(config)
    except ValueError as error:
        raise UsageError(str(error)) from None
