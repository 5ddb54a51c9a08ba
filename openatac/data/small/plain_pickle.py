"""Read the Python files of CIFAR without unpickling them.

A pickle is a program, and unpickling runs it, no matter what it does. The published files need very little of
that language: dictionaries, lists, strings, integers, and the few calls with which NumPy describes an array.
This interpreter supports only that. It never imports or calls anything that a file names, and its memory
stays within a fixed multiple of the file's size.
"""
import math
import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np

from openatac.errors import DataError

_NUMBERS = {'b1', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'f2', 'f4', 'f8'}
_ORDERS = {'<', '>', '|', '='}

# Tuples cannot be keys: hashing tuples that are nested by reference can take forever.
_KEYS = {str, bytes, int, bool, type(None)}


def read_plain_pickle(data: bytes, source: str = 'the pickle') -> Any:
    """Return the value that a pickle of protocol 2 to 5 describes.

    Parameters
    ----------
    data : bytes
        The pickle of dict, list, tuple, str, bytes, int, bool and None, and NumPy arrays of numbers, as
        Python 2 or 3 and NumPy 1 or 2 write them.
    source : str
        Its name in error messages, for instance the file's path.

    Returns
    -------
    object
        The value. Byte strings of Python 2 become bytes; arrays may be read-only.

    Raises
    ------
    DataError
        If the pickle is malformed or contains anything else. Even then, none of it has run.
    """
    try:
        return _Machine(len(data)).run(data)
    except ValueError as error:
        reason = str(error)
    except (IndexError, KeyError, TypeError, OverflowError):
        reason = 'its operations do not fit together'
    raise DataError(f'{source} is not a pickle of plain values and arrays: {reason}')


class _Name(str):
    """The 'module name' of a global: only the name, never the object."""


class _Machine:
    """Python's pickle machine, restricted to plain data."""

    def __init__(self, size: int) -> None:
        self.stack: list[Any] = []
        self.outer_stacks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        # An honest file decodes every text and fills every array at most once; a malicious one copies the
        # same bytes again and again.
        self.copies_left = 2 * size

    def run(self, data: bytes) -> Any:
        for opcode, argument, position in pickletools.genops(data):
            if opcode.name == 'STOP':
                return self.pop(1)[0]
            if opcode.name not in _OPERATIONS:
                raise ValueError(f'operation {opcode.name} at byte {position} is not allowed')
            _OPERATIONS[opcode.name](self, argument)

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise IndexError
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def mark(self) -> None:
        self.outer_stacks.append(self.stack)
        self.stack = []

    def pop_to_mark(self) -> list[Any]:
        values, self.stack = self.stack, self.outer_stacks.pop()
        return values

    def remember(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def extend_list(self, values: list[Any]) -> None:
        _expect(type(self.stack[-1]) is list, 'items are appended to something that is not a list')
        self.stack[-1].extend(values)

    def update_dict(self, values: list[Any]) -> None:
        keys, values = values[::2], values[1::2]
        _expect(type(self.stack[-1]) is dict and len(keys) == len(values),
                'items are set in something that is not a dict')
        _expect(all(type(key) in _KEYS for key in keys), 'a key is not a string or number')
        self.stack[-1].update(zip(keys, values))

    def push_name(self, name: str) -> None:
        name = name.replace('numpy._core.', 'numpy.core.')  # NumPy 2 renamed the package
        _expect(name in _CALLS or name == 'numpy ndarray',
                f'it names {name[:80]!r}, but may only name arrays')
        self.push(_Name(name))

    def call(self) -> None:
        name, arguments = self.pop(2)
        _expect(type(name) is _Name and name in _CALLS, 'it calls something that is not a function')
        self.push(_CALLS[name](self, *arguments))

    def spend(self, count: int) -> None:
        self.copies_left -= count
        _expect(self.copies_left >= 0, 'it asks for more memory than a file of its size can need')

    # The five calls that a file may contain.

    def encode(self, text: Any, codec: Any) -> bytes:
        """Return bytes, as Python 3 writes them below protocol 3."""
        _expect(type(text) is str and codec == 'latin1', 'it uses an encoding other than latin1')
        self.spend(len(text))
        return text.encode('latin-1')

    def no_bytes(self) -> bytes:
        return b''

    def dtype(self, code: Any, align: Any, copy: Any) -> np.dtype:
        code = _text(code)
        _expect(code in _NUMBERS, f'it has an array of {code[:20]!r}, but may only have numbers')
        return np.dtype(code, copy=True)  # a copy, since `build` sets its byte order

    def blank_array(self, kind: Any, shape: Any, code: Any) -> np.ndarray:
        _expect(kind == 'numpy ndarray', 'it has another kind of array')
        return np.empty(0, np.uint8)  # `build` gives it shape, type and content

    def buffer_array(self, buffer: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
        _expect(order in ('C', 'F'), 'an array has an unknown order')
        _check_size(shape, dtype, buffer)
        return np.ndarray(shape, dtype, buffer, order=order)

    def build(self) -> None:
        """Complete the data type or the array on the stack with a state that NumPy wrote."""
        state = self.pop(1)[0]
        target = self.stack[-1]
        _expect(type(state) is tuple, 'it sets a state of an unknown form')
        if isinstance(target, np.dtype):
            order = _text(state[1])
            _expect(order in _ORDERS and state[2:] == (None, None, None, -1, -1, 0),
                    'a data type is not that of plain numbers')
            self.stack[-1].__setstate__((3, order, *state[2:]))
        else:
            _expect(isinstance(target, np.ndarray), 'it sets the state of something that is not an array')
            _, shape, dtype, by_columns, content = state
            _check_size(shape, dtype, content)
            self.spend(len(content))
            target.__setstate__((1, shape, dtype, by_columns is True, bytes(content)))


def _expect(condition: bool, problem: str) -> None:
    if not condition:
        raise ValueError(problem)


def _text(value: Any) -> str:
    """Return a word in an array's description, which Python 2 wrote as bytes."""
    value = value.decode('ascii') if type(value) is bytes else value
    _expect(type(value) is str, 'an array is described by something other than text')
    return value


def _check_size(shape: Any, dtype: Any, content: Any) -> None:
    """Check, before an array is created, that its shape and type account for each byte of its content."""
    _expect(isinstance(dtype, np.dtype), 'an array has no type')
    _expect(type(content) in (bytes, bytearray), 'an array has no content')
    _expect(type(shape) is tuple and all(type(length) is int and length >= 0 for length in shape),
            'the shape of an array is not a tuple of lengths')
    size = math.prod(shape) * dtype.itemsize
    _expect(size == len(content), f'an array of {size} bytes has a content of {len(content)}')


_CALLS: dict[str, Callable[..., Any]] = {
    '_codecs encode': _Machine.encode,
    '__builtin__ bytes': _Machine.no_bytes,
    'numpy dtype': _Machine.dtype,
    'numpy.core.multiarray _reconstruct': _Machine.blank_array,
    'numpy.core.numeric _frombuffer': _Machine.buffer_array,
}

# All supported operations, and what they do to a machine.
_OPERATIONS = {
    'PROTO': lambda machine, _: None,
    'FRAME': lambda machine, _: None,
    'NONE': lambda machine, _: machine.push(None),
    'NEWTRUE': lambda machine, _: machine.push(True),
    'NEWFALSE': lambda machine, _: machine.push(False),
    **dict.fromkeys(('BININT', 'BININT1', 'BININT2', 'LONG1', 'LONG4'), _Machine.push),
    **dict.fromkeys(('SHORT_BINUNICODE', 'BINUNICODE', 'BINUNICODE8'), _Machine.push),
    **dict.fromkeys(('SHORT_BINBYTES', 'BINBYTES', 'BINBYTES8', 'BYTEARRAY8'), _Machine.push),
    **dict.fromkeys(('SHORT_BINSTRING', 'BINSTRING'),
                    lambda machine, string: machine.push(string.encode('latin-1'))),
    'EMPTY_TUPLE': lambda machine, _: machine.push(()),
    'TUPLE1': lambda machine, _: machine.push(tuple(machine.pop(1))),
    'TUPLE2': lambda machine, _: machine.push(tuple(machine.pop(2))),
    'TUPLE3': lambda machine, _: machine.push(tuple(machine.pop(3))),
    'TUPLE': lambda machine, _: machine.push(tuple(machine.pop_to_mark())),
    'EMPTY_LIST': lambda machine, _: machine.push([]),
    'APPEND': lambda machine, _: machine.extend_list(machine.pop(1)),
    'APPENDS': lambda machine, _: machine.extend_list(machine.pop_to_mark()),
    'EMPTY_DICT': lambda machine, _: machine.push({}),
    'SETITEM': lambda machine, _: machine.update_dict(machine.pop(2)),
    'SETITEMS': lambda machine, _: machine.update_dict(machine.pop_to_mark()),
    'MARK': lambda machine, _: machine.mark(),
    **dict.fromkeys(('BINPUT', 'LONG_BINPUT'), _Machine.remember),
    'MEMOIZE': lambda machine, _: machine.remember(len(machine.memo)),
    **dict.fromkeys(('BINGET', 'LONG_BINGET'), lambda machine, key: machine.push(machine.memo[key])),
    'GLOBAL': _Machine.push_name,
    'STACK_GLOBAL': lambda machine, _: machine.push_name(' '.join(machine.pop(2))),
    'REDUCE': lambda machine, _: machine.call(),
    'BUILD': lambda machine, _: machine.build(),
}
