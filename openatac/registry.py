"""A registry of named values (units, hosts, export forms, runtimes, backends), and factories for them."""
from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Literal, TypeVar

from openatac.errors import UsageError

T = TypeVar('T')
Factory = Callable[..., Any]  # returns a Gluon HybridBlock or a PyTorch Module
LibraryName = Literal['gluon', 'torch']


class Registry(Generic[T]):
    """Values by name; code outside the package can add its own.

    Names are case-insensitive. Iteration yields them in order of registration.

    Parameters
    ----------
    argument : str
        The argument that takes these names, for error messages, such as 'act_type'.
    hyphens : bool
        Whether names may contain hyphens; parts of network names may not.
    """

    def __init__(self, argument: str, hyphens: bool = False) -> None:
        self._argument = argument
        self._hyphens = hyphens
        self._values: dict[str, T] = {}
        self._names: dict[str, str] = {}  # lower-case name or alias -> name
        self._aliases: dict[str, str] = {}  # name -> lower-case alias

    def register(self, name: str, value: T, alias: str | None = None) -> None:
        """Add ``value`` under ``name`` and, if given, under an ``alias`` too.

        Raises
        ------
        ValueError
            If a name is taken, or contains characters other than letters, digits and underscores.
        """
        keys = [key.lower() for key in (name, alias) if key is not None]
        for key in keys:
            if not (key.replace('-', '_') if self._hyphens else key).isidentifier():
                hyphens = ', hyphens' if self._hyphens else ''
                raise ValueError(f'{self._argument} {key!r}: a name must consist of letters, digits{hyphens} '
                                 'and underscores, and not begin with a digit')
            if key in self._names:
                raise ValueError(f'{self._argument} {key!r} is already registered: choose another name')
        self._values[name] = value
        self._names.update(dict.fromkeys(keys, name))
        if alias is not None:
            self._aliases[name] = alias.lower()

    def unregister(self, name: str) -> None:
        """Remove the entry called ``name``."""
        name = self.name_of(name)
        del self._values[name]
        self._aliases.pop(name, None)
        self._names = {key: value for key, value in self._names.items() if value != name}

    def name_of(self, name: str, argument: str | None = None) -> str:
        """Return the name as registered, for example 'ChaATAC' for 'atac'.

        Parameters
        ----------
        name : str
            A name or alias in any letter case.
        argument : str, optional
            The argument's name in an error, if not the registry's.

        Raises
        ------
        UsageError
            If there is no such name; the message lists the valid ones.
        """
        key = name.lower() if isinstance(name, str) else ''
        if key not in self._names:
            near = difflib.get_close_matches(key, self._names, n=1)
            hint = f'; did you mean {near[0]}?' if near else ''
            raise UsageError(f'{argument or self._argument} must be one of {", ".join(self)}, not {name!r}'
                             + hint)
        return self._names[key]

    def short_name(self, name: str) -> str:
        """Return the lower-case name used in network names: the alias if there is one.

        A name that is not registered, such as one in an old run's record, is returned in lower case.
        """
        name = self._names.get(name.lower(), name)
        return self._aliases.get(name, name.lower())

    def find(self, name: str, argument: str | None = None) -> T:
        """Return the value of ``name``; see `name_of` for arguments and errors."""
        return self._values[self.name_of(name, argument)]

    def values(self) -> tuple[T, ...]:
        """Return all values, in order of registration."""
        return tuple(self._values.values())

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)


@dataclass(frozen=True)
class Factories:
    """The factories that build a unit or a host in Gluon and in PyTorch.

    Parameters
    ----------
    name : str
        The name of the unit or host, for error messages.
    factory, torch_factory : callable or str, optional
        The factories for Gluon and PyTorch, or their import paths, 'module:name'. Paths are imported on first
        use, so names can be listed without either library.
    """

    name: str
    factory: Factory | str | None = None
    torch_factory: Factory | str | None = None

    @property
    def gluon(self) -> Factory:
        """Gluon's factory; UsageError if there is none."""
        return self.of('gluon')

    @property
    def torch(self) -> Factory:
        """PyTorch's factory; UsageError if there is none."""
        return self.of('torch')

    def has(self, library: LibraryName) -> bool:
        """Return whether there is a factory for the library."""
        return (self.factory if library == 'gluon' else self.torch_factory) is not None

    def of(self, library: LibraryName) -> Factory:
        """Return the factory for the library; UsageError if there is none."""
        factory, argument, name = ((self.factory, 'factory', 'Gluon') if library == 'gluon' else
                                   (self.torch_factory, 'torch_factory', 'PyTorch'))
        if factory is None:
            raise UsageError(f'{self.name!r} is not registered for {name}: also give {argument} when '
                             'registering it')
        return import_factory(factory)


def import_factory(factory: Factory | str) -> Factory:
    """Return a factory; import it if it is given as 'module:name'."""
    if not isinstance(factory, str):
        return factory
    module, name = factory.split(':')
    found: Factory = getattr(importlib.import_module(module), name)
    return found


def arguments_of(factory: Factory) -> tuple[str, ...]:
    """Return the names of a factory's arguments, without ``*args`` and ``**kwargs``."""
    variadic = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    return tuple(name for name, parameter in inspect.signature(factory).parameters.items()
                 if parameter.kind not in variadic)


def bind_accepted(factory: Factory, **settings: Any) -> Factory:
    """Bind the ``settings`` that the factory accepts, and drop the rest."""
    takes = arguments_of(factory)
    return partial(factory, **{name: value for name, value in settings.items() if name in takes})
