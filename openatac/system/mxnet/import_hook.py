"""The import hook, which runs our code when MXNet and GluonCV load, wherever they are installed."""
from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any

from openatac.system.installed import mxnet_missing
from openatac.system.mxnet.loading import loading_mxnet
from openatac.system.mxnet.old_numpy import PRINTING_MODULES, builtins_with_old_numpy, printer
from openatac.system.mxnet.postponed import postponing


def install() -> None:
    """Put the hook before Python's own finders, replacing any hook from before a reload."""
    sys.meta_path[:] = [finder for finder in sys.meta_path
                        if getattr(finder, '__module__', None) != __name__]
    finder: Any = _Finder()  # Python needs only find_spec, but the annotations require more
    sys.meta_path.insert(0, finder)


class _Finder:
    """Finds ``mxnet``, its submodules and ``gluoncv`` with the other finders, and wraps their loaders."""

    def __init__(self) -> None:
        self._builtins: dict[str, Any] | None = None

    def find_spec(self, fullname: str, path: Sequence[str] | None = None,
                  target: ModuleType | None = None) -> importlib.machinery.ModuleSpec | None:
        if fullname != 'gluoncv' and fullname.split('.')[0] != 'mxnet':
            return None
        spec = self._find_elsewhere(fullname, path, target)
        if spec is None and fullname == 'mxnet':
            # With None, Python would fail with its own message; raising an error here would break code that
            # only checks whether MXNet is installed.
            missing: Any = _MissingLoader()
            return importlib.machinery.ModuleSpec(fullname, missing)
        if spec is not None and fullname == 'gluoncv':
            _execute_within(_loading_gluoncv, spec.loader)
        elif spec is not None and spec.origin and spec.origin.endswith('.py'):
            _keep_docstrings(spec.loader)
            _execute_within(self._loading_module_of_mxnet, spec.loader)
        return spec

    def _find_elsewhere(self, fullname: str, path: Sequence[str] | None,
                        target: ModuleType | None) -> importlib.machinery.ModuleSpec | None:
        """Return the spec from the finders after this one."""
        finders: list[Any] = sys.meta_path
        for finder in finders[finders.index(self) + 1:]:
            if hasattr(finder, 'find_spec'):  # an old six's finder, for instance, lacks it
                spec = finder.find_spec(fullname, path, target)
                if spec is not None:
                    return spec
        return None

    @contextlib.contextmanager
    def _loading_module_of_mxnet(self, module: ModuleType) -> Iterator[None]:
        """Give the module the old NumPy; for ``mxnet`` itself, prepare the process too."""
        if self._builtins is None:
            self._builtins = builtins_with_old_numpy()
        module.__dict__['__builtins__'] = self._builtins
        if module.__name__ in PRINTING_MODULES:
            module.__dict__['str'] = printer()
        with postponing(module), loading_mxnet() if module.__name__ == 'mxnet' else contextlib.nullcontext():
            yield


def _execute_within(context: Callable[[ModuleType], AbstractContextManager[None]], loader: Any) -> None:
    """Let the loader execute its module within ``context(module)``."""
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        with context(module):
            execute(module)

    loader.exec_module = exec_module


def _keep_docstrings(loader: Any) -> None:
    """Keep docstrings under ``PYTHONOPTIMIZE=2``: MXNet's modules are built from them."""
    if sys.flags.optimize > 1:
        loader.get_code = lambda name: compile(
            loader.get_data(loader.path), loader.path, 'exec', dont_inherit=True, optimize=0)


class _MissingLoader:
    """A placeholder for an MXNet that is not installed."""

    @staticmethod
    def create_module(spec: importlib.machinery.ModuleSpec) -> ModuleType:
        raise ModuleNotFoundError(mxnet_missing(), name='mxnet')

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Part of the loader protocol; never reached."""


# ----------------------------------------------------------------------------------- GluonCV

@contextlib.contextmanager
def _loading_gluoncv(gluoncv: ModuleType) -> Iterator[None]:
    """Hide PyTorch and restore Pillow's settings while GluonCV loads.

    GluonCV refuses to load alongside PyTorch 2, and makes Pillow accept truncated images in the whole
    process.
    """
    with contextlib.suppress(ImportError):
        importlib.import_module('mxnet')  # MXNet may see PyTorch
    torch = sys.modules.pop('torch', None)
    pillow = sys.modules.get('PIL.ImageFile')
    accepts_truncated = getattr(pillow, 'LOAD_TRUNCATED_IMAGES', False)
    hiding: Any = _NoTorch
    sys.meta_path.insert(0, hiding)
    try:
        yield
    finally:
        sys.meta_path.remove(hiding)
        if torch is not None:
            sys.modules['torch'] = torch
        pillow = sys.modules.get('PIL.ImageFile')
        if pillow is not None:
            vars(pillow)['LOAD_TRUNCATED_IMAGES'] = accepts_truncated


class _NoTorch:
    """A finder that hides PyTorch."""

    @staticmethod
    def find_spec(fullname: str, path: Sequence[str] | None = None,
                  target: ModuleType | None = None) -> None:
        if fullname == 'torch':
            raise ModuleNotFoundError('torch is hidden while gluoncv loads', name='torch')
