"""JSON held against type annotations: each format is a NamedTuple or a TypedDict beside what writes it.

Understood are None, bool, int, float, str, Any, Union, Literal, List, Dict with str keys, Tuple, NamedTuple,
TypedDict and, for bounds, Annotated[int, Range(1, 10)]. An object for a NamedTuple has its fields and no
others; one for a TypedDict may have more.
"""
import contextlib
import functools
import json
import sys
import typing
from typing import Any, NamedTuple

from openatac.files.reading import read_text


class Range(NamedTuple):
    """What a number may be, both ends included."""

    low: float
    high: float


def read_json(path, wanted):
    """The JSON file ``path`` as the annotation ``wanted`` has it; OSError, and ValueError as `fit`."""
    return fit(parse(read_text(path)), wanted)


def parse(text):
    """The value of a JSON text; ValueError for what is not JSON, or nested beyond all reason."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError('it is nested too deep') from None


def fit(value, wanted, name='it'):
    """``value``, of parsed JSON, as the annotation ``wanted`` has it, with tuples in the place of lists.

    Raises ValueError, which names the part that is of another type or out of bounds.
    """
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if wanted is Any:
        return value
    if origin is typing.Annotated:
        return _in_range(fit(value, arguments[0], name), *arguments, name)
    if origin is typing.Union:
        return _one_of(value, arguments, name)
    if origin is typing.Literal:
        _expect(any(value == choice and type(value) is type(choice) for choice in arguments), name, value,
                'one of %s' % ', '.join(map(str, arguments)))
        return value
    if origin is list:
        _expect(isinstance(value, list), name, value, 'a list')
        return [fit(item, arguments[0], '%s[%d]' % (name, index)) for index, item in enumerate(value)]
    if origin is tuple:
        return _tuple(value, arguments, name)
    if dict in (origin, wanted):
        _expect(isinstance(value, dict), name, value, 'an object')
        kind = arguments[1] if arguments else Any
        return {key: fit(item, kind, _member(name, key)) for key, item in value.items()}
    if hasattr(wanted, '__annotations__'):
        return _object(value, wanted, name)
    return _plain(value, wanted, name)


def _plain(value, wanted, name):
    if wanted is float:
        _expect(type(value) in (int, float) and abs(value) <= sys.float_info.max, name, value,
                'a finite number')  # which a NaN is not
    else:
        words = {bool: 'true or false', int: 'a whole number', str: 'text', type(None): 'null'}[wanted]
        _expect(type(value) is wanted, name, value, words)
    if wanted is str:
        try:
            value.encode('utf-8', 'surrogateescape')  # so may a name of the file system be written, no other
        except UnicodeEncodeError:
            raise ValueError('%s is not text: it has half a character' % name) from None
    return value


def _in_range(value, wanted, bounds, name):
    kind = 'a whole number' if wanted is int else 'a number'
    _expect(bounds.low <= value <= bounds.high, name, value, '%s from %g to %g' % (kind, *bounds))
    return value


def _one_of(value, kinds, name):
    if value is None and type(None) in kinds:
        return None
    *others, last = [kind for kind in kinds if kind is not type(None)]
    for kind in others:
        with contextlib.suppress(ValueError):
            return fit(value, kind, name)
    return fit(value, last, name)


def _tuple(value, kinds, name):
    _expect(isinstance(value, list), name, value, 'a list')
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = kinds[:1] * len(value)
    _expect(len(value) == len(kinds), name, value, 'a list of %d' % len(kinds))
    return tuple(fit(item, kind, '%s[%d]' % (name, index))
                 for index, (item, kind) in enumerate(zip(value, kinds)))


def _object(value, wanted, name):
    _expect(isinstance(value, dict), name, value, 'an object')
    kinds, needed, closed = _fields(wanted)
    for key in needed:
        if key not in value:
            raise ValueError('%s is missing' % _member(name, key))
    if closed and not set(value) <= set(kinds):
        raise ValueError('%s is not known' % _member(name, min(set(value) - set(kinds))))
    fitted = {key: fit(item, kinds[key], _member(name, key)) if key in kinds else item
              for key, item in value.items()}
    return wanted(**fitted) if closed else fitted


@functools.lru_cache(maxsize=None)
def _fields(wanted):
    """({field: annotation}, those that must be there, whether there may be no others)."""
    kinds = typing.get_type_hints(wanted, include_extras=True)
    if hasattr(wanted, '__required_keys__'):
        return kinds, wanted.__required_keys__, False
    return kinds, set(kinds) - set(wanted._field_defaults), True


def _member(name, key):
    return str(key)[:80] if name == 'it' else '%s.%s' % (name, str(key)[:80])


def _expect(holds, name, value, right):
    if not holds:
        kind = {list: 'a list', dict: 'an object'}.get(type(value))
        raise ValueError('%s is %s, not %s' % (name, kind or json.dumps(value)[:80], right))
