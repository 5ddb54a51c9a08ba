"""Postpone libraries that MXNet imports but hardly uses, to halve its loading time."""
from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple


class _Library(NamedTuple):
    """A library that an MXNet module can do without, and its name in that module if it is used at all."""

    name: str
    alias: str | None = None

    def is_imported_by(self, name: str, members: Any) -> bool:
        """Return whether ``import name`` or ``from name import members`` imports it."""
        return f'{name}.'.startswith(f'{self.name}.') or any(
            f'{name}.{member}' == self.name for member in members or ())


_POSTPONED = {
    'mxnet.model': _Library('sklearn'),  # the base class of the legacy FeedForward
    'mxnet.contrib.quantization': _Library('scipy.stats', 'stats'),  # for entropy calibration
    'mxnet.test_utils': _Library('scipy.stats', 'ss'),  # for tests of random numbers
}


@contextlib.contextmanager
def postponing(module: ModuleType) -> Iterator[None]:
    """Hide a slow library from ``module`` while it loads, and import it on first use.

    Only the module's own imports are changed, so other threads can import the library meanwhile.
    """
    library = _POSTPONED.get(module.__name__)
    if library is None or library.name in sys.modules:
        yield
        return
    hidden = True
    variables = vars(module)
    import_ = variables['__builtins__']['__import__']

    def hiding_import(name: str, globals_: Any = None, locals_: Any = None, members: Any = (), level: int = 0
                      ) -> Any:
        if hidden and library.is_imported_by(name, members):
            raise ImportError(f'{library.name} is imported when it is used', name=library.name)
        return import_(name, globals_, locals_, members, level)

    # The module's functions keep these builtins after it has loaded.
    variables['__builtins__'] = {**variables['__builtins__'], '__import__': hiding_import}
    yield
    hidden = False
    if library.alias:
        with contextlib.suppress(ImportError):  # if it is missing, MXNet's own fallback is right
            importlib.import_module(library.name.split('.')[0])
            variables[library.alias] = _Postponed(library.name)


class _Postponed:
    """A placeholder for a module, imported on the first attribute access."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)
