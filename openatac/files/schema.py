"""Validate JSON against type annotations: each format is a NamedTuple or a TypedDict, near its reader.

The supported annotations are None, bool, int, float, str, Any, Union, Literal, list, dict with str keys,
tuple, NamedTuple, TypedDict and, for bounds, Annotated[int, Bounds(1, 10)]. An object for a NamedTuple must
not have other fields; an object for a TypedDict can.
"""
import contextlib
import functools
import json
import sys
import typing
from collections.abc import Callable, Mapping, Set
from typing import Any

from openatac.files.reading import PathLike, read_text


def read_json(path: PathLike, wanted: Any) -> Any:
    """Return the value in the JSON file ``path``, validated as the type ``wanted``.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not JSON, or the value is not of that type (see `validate`).
    """
    return validate(parse_json(read_text(path)), wanted)


def parse_json(text: str) -> Any:
    """Parse a JSON text; raise ValueError if it is not JSON, or nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError('it is nested too deeply') from None


def validate(value: Any, wanted: Any, name: str = 'it') -> Any:
    """Return a parsed JSON value as the type ``wanted``, converted to tuples and NamedTuples where required.

    Parameters
    ----------
    value
        A value from `parse_json`.
    wanted
        A type annotation; see the module's docstring for the supported ones.
    name : str
        The name of the value in error messages.

    Raises
    ------
    ValueError
        If a part has the wrong type or is out of bounds; the message names it.
    """
    if wanted is Any:
        return value
    origin = typing.get_origin(wanted)
    check = _CHECKS.get(origin or wanted) or (_record if hasattr(wanted, '__annotations__') else _plain)
    return check(value, wanted, name)


def _number(value: Any, wanted: Any, name: str) -> Any:
    kind, bounds = typing.get_args(wanted)
    value = validate(value, kind, name)
    _expect(bounds.hold(value), name, value,
            f'{"a whole number" if kind is int else "a number"} {bounds}')
    return value


def _choice(value: Any, wanted: Any, name: str) -> Any:
    choices = typing.get_args(wanted)
    _expect(any(value == choice and type(value) is type(choice) for choice in choices), name, value,
            f'one of {", ".join(map(str, choices))}')
    return value


def _list(value: Any, wanted: Any, name: str) -> Any:
    _expect(isinstance(value, list), name, value, 'a list')
    origin, kinds = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is list or kinds[1:] == (Ellipsis,):
        kinds = kinds[:1] * len(value)
    _expect(len(value) == len(kinds), name, value, f'a list of {len(kinds)}')
    return origin(validate(item, kind, f'{name}[{index}]')
                  for index, (item, kind) in enumerate(zip(value, kinds)))


def _dict(value: Any, wanted: Any, name: str) -> Any:
    _expect(isinstance(value, dict), name, value, 'an object')
    _, kind = typing.get_args(wanted) or (str, Any)
    return {key: validate(item, kind, _member(name, key)) for key, item in value.items()}


def _plain(value: Any, wanted: Any, name: str) -> Any:
    if wanted is float:
        _expect(type(value) in (int, float) and abs(value) <= sys.float_info.max, name, value,
                'a finite number')  # a NaN is not
    else:
        expected = {bool: 'true or false', int: 'a whole number', str: 'text', type(None): 'null'}[wanted]
        _expect(type(value) is wanted, name, value, expected)
    if wanted is str:
        try:
            value.encode('utf-8', 'surrogateescape')  # the only surrogates in file names
        except UnicodeEncodeError:
            raise ValueError(f'{name} is not text: it contains an unpaired surrogate') from None
    return value


def _union(value: Any, wanted: Any, name: str) -> Any:
    kinds = typing.get_args(wanted)
    if value is None and type(None) in kinds:
        return None
    *others, last = [kind for kind in kinds if kind is not type(None)]
    for kind in others:
        with contextlib.suppress(ValueError):
            return validate(value, kind, name)
    return validate(value, last, name)


def _record(value: Any, wanted: Any, name: str) -> Any:
    _expect(isinstance(value, dict), name, value, 'an object')
    kinds, required, closed = _fields(wanted)
    for key in required:
        if key not in value:
            raise ValueError(f'{_member(name, key)} is missing')
    if closed and not set(value) <= set(kinds):
        raise ValueError(f'{_member(name, min(set(value) - set(kinds)))} is not known')
    members = {key: validate(item, kinds[key], _member(name, key)) if key in kinds else item
               for key, item in value.items()}
    return wanted(**members) if closed else members


_CHECKS: dict[Any, Callable[[Any, Any, str], Any]] = {
    typing.Annotated: _number, typing.Union: _union, typing.Literal: _choice,
    list: _list, tuple: _list, dict: _dict}


@functools.cache
def _fields(wanted: Any) -> tuple[Mapping[str, Any], Set[str], bool]:
    """Return ({field: annotation}, required fields, whether other fields are forbidden)."""
    kinds = typing.get_type_hints(wanted, include_extras=True)
    if hasattr(wanted, '__required_keys__'):
        return kinds, wanted.__required_keys__, False
    return kinds, set(kinds) - set(wanted._field_defaults), True


def _member(name: str, key: object) -> str:
    return str(key)[:80] if name == 'it' else f'{name}.{str(key)[:80]}'


def _expect(holds: bool, name: str, value: Any, right: str) -> None:
    if not holds:
        kinds: dict[type, str] = {list: 'a list', dict: 'an object'}
        raise ValueError(f'{name} is {kinds.get(type(value)) or json.dumps(value)[:80]}, not {right}')
