"""NumPy as MXNet 1.9.1 expects it: with the names that NumPy has dropped, and the old number formatting."""
import builtins
import types
from collections.abc import Callable
from typing import Any

# Names that MXNet still uses: some with their old value ...
_REMOVED = {
    'bool': bool, 'int': int, 'float': float, 'complex': complex, 'object': object, 'str': str,
    'PZERO': 0.0, 'NZERO': -0.0, 'NINF': float('-inf'),
    'compat': types.SimpleNamespace(basestring=str),
}
# ... others under a new name ...
_RENAMED = {
    'NaN': 'nan', 'NAN': 'nan', 'Inf': 'inf', 'Infinity': 'inf', 'infty': 'inf', 'PINF': 'inf',
    'float_': 'float64', 'unicode_': 'str_', 'alltrue': 'all', 'sometrue': 'any', 'round_': 'round',
    'product': 'prod', 'cumproduct': 'cumprod', 'trapz': 'trapezoid',
}
# ... and functions that MXNet re-exports (mx.np.irr) but never calls.
_GONE = {'in1d', 'mirr', 'msort', 'irr', 'npv', 'pmt', 'ppmt', 'ipmt', 'fv', 'pv', 'nper', 'rate'}


class _OldNumPy(types.ModuleType):
    """NumPy with the names that it has dropped; only MXNet's own modules import it."""

    def __init__(self, numpy: Any) -> None:
        super().__init__('numpy')
        self.__dict__.update(vars(numpy))  # plain attributes are faster than __getattr__
        self.__dict__.pop('__getattr__', None)
        self._numpy = numpy

    def __getattr__(self, name: str) -> Any:
        if name in _REMOVED:
            return _REMOVED[name]
        if name in _RENAMED:
            return getattr(self._numpy, _RENAMED[name])
        if name in _GONE:
            return _gone_function(name)
        return getattr(self._numpy, name)


def _gone_function(name: str) -> Callable[..., Any]:
    def gone(*_: Any, **__: Any) -> Any:
        raise NotImplementedError(f'numpy.{name} was removed from NumPy')
    gone.__name__ = gone.__qualname__ = name
    gone.__doc__ = 'Removed from NumPy.'
    return gone


def builtins_with_old_numpy() -> dict[str, Any]:
    """Return builtins for MXNet's modules that make ``import numpy`` import the old NumPy."""
    import numpy
    old_numpy = _OldNumPy(numpy)

    def import_(*args: Any, **kwargs: Any) -> Any:
        module = builtins.__import__(*args, **kwargs)
        return old_numpy if module is numpy else module

    return dict(vars(builtins), __import__=import_)


# ------------------------------------------------------------------------- printed numbers

# The modules in which MXNet formats the parameters of operators, variables and iterators.
PRINTING_MODULES = frozenset(
    'mxnet.' + name for name in ('_ctypes.ndarray', '_ctypes.symbol', 'symbol.symbol', 'io.io'))


def printer() -> Callable[[object], str]:
    """Return the function that `PRINTING_MODULES` must use instead of `str`.

    Within a tuple, NumPy 2 prints a number as ``np.int64(32)``, which MXNet's library cannot read; this
    prints ``32``, as NumPy 1 does.
    """
    import numpy
    if numpy.lib.NumpyVersion(numpy.__version__) < '2.0.0':
        return str

    def plain(value: Any) -> Any:
        if isinstance(value, numpy.generic):
            return _Bare(value)
        if isinstance(value, (tuple, list)):
            return (tuple if isinstance(value, tuple) else list)(map(plain, value))
        return value

    return lambda value: str(plain(value) if isinstance(value, (tuple, list)) else value)


class _Bare(str):
    """Text that a tuple prints without quotes."""

    __repr__ = str.__str__
