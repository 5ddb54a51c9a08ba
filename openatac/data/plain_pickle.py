"""Read the Python files of CIFAR without unpickling them.

A pickle is a program, and unpickling runs it, whatever it does. The published files need very
little of that language: dictionaries, lists, strings, integers, and the few calls by which NumPy
describes an array. This interpreter knows that little and no more. It imports nothing and calls
nothing that a file names, and its memory stays within a fixed multiple of the file's size.
"""
import math
import pickletools

import numpy as np

from openatac.errors import DataError

_NUMBERS = {'b1', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'f2', 'f4', 'f8'}
_ORDERS = {'<', '>', '|', '='}

# A tuple is no key: hashing tuples nested in each other by reference can take for ever.
_KEYS = {str, bytes, int, bool, type(None)}


def read_plain_pickle(data, source='the pickle'):
    """Return the value that a pickle of protocol 2 to 5 describes.

    Parameters
    ----------
    data : bytes
        The pickle: dict, list, tuple, str, bytes, int, bool and None, and NumPy arrays of
        numbers, as Python 2 or 3 and NumPy 1 or 2 write them.
    source : str
        What error messages call it, for instance the file's path.

    Returns
    -------
    object
        The value. Byte strings of Python 2 become bytes; arrays may be read-only.

    Raises
    ------
    DataError
        If the stream is malformed or asks for anything else. Nothing has run then either.
    """
    try:
        return _Machine(len(data)).run(data)
    except ValueError as error:
        reason = str(error)
    except (IndexError, KeyError, TypeError, OverflowError):
        reason = 'its operations do not fit together'
    raise DataError(f'{source} is not a pickle of plain values and arrays: {reason}')


class _Name(str):
    """'module name' of a global: the name alone, never what it stands for."""


class _Machine:
    """Python's pickle machine with nothing but data in it."""

    def __init__(self, size):
        self.stack, self.outer_stacks, self.memo = [], [], {}
        # Every text is decoded and every array filled once at most; only a file made to burst
        # asks for the same bytes again and again.
        self.copies_left = 2 * size

    def run(self, data):
        for opcode, argument, position in pickletools.genops(data):
            if opcode.name == 'STOP':
                return self.pop(1)[0]
            if opcode.name not in _OPERATIONS:
                raise ValueError(f'operation {opcode.name} at byte {position} is not allowed')
            _OPERATIONS[opcode.name](self, argument)

    def push(self, value):
        self.stack.append(value)

    def pop(self, count):
        if count > len(self.stack):
            raise IndexError
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def mark(self):
        self.outer_stacks.append(self.stack)
        self.stack = []

    def pop_to_mark(self):
        values, self.stack = self.stack, self.outer_stacks.pop()
        return values

    def remember(self, key):
        self.memo[key] = self.stack[-1]

    def extend_list(self, values):
        _expect(type(self.stack[-1]) is list, 'items are appended to no list')
        self.stack[-1].extend(values)

    def update_dict(self, values):
        keys, values = values[::2], values[1::2]
        _expect(type(self.stack[-1]) is dict and len(keys) == len(values), 'items are set in no dict')
        _expect(all(type(key) in _KEYS for key in keys), 'a key is no string or number')
        self.stack[-1].update(zip(keys, values))

    def push_name(self, name):
        name = name.replace('numpy._core.', 'numpy.core.')      # NumPy 2 renamed the package
        _expect(name in _CALLS or name == 'numpy ndarray',
                f'it names {name[:80]!r}, and may only name arrays')
        self.push(_Name(name))

    def call(self):
        name, arguments = self.pop(2)
        _expect(type(name) is _Name and name in _CALLS, 'it calls what is no function')
        self.push(_CALLS[name](self, *arguments))

    def spend(self, count):
        self.copies_left -= count
        _expect(self.copies_left >= 0, 'it asks for more memory than its size can need')

    # The five calls that a file may ask for.

    def encode(self, text, codec):
        """Bytes, as Python 3 writes them below protocol 3."""
        _expect(type(text) is str and codec == 'latin1', 'it encodes in another way than latin1')
        self.spend(len(text))
        return text.encode('latin-1')

    def no_bytes(self):
        return b''

    def dtype(self, code, align, copy):
        code = _text(code)
        _expect(code in _NUMBERS, f'it holds an array of {code[:20]!r}, and may only hold numbers')
        return np.dtype(code, copy=True)    # a copy, since `build` sets its byte order

    def blank_array(self, kind, shape, code):
        _expect(kind == 'numpy ndarray', 'it holds another kind of array')
        return np.empty(0, np.uint8)        # `build` gives it shape, type and content

    def buffer_array(self, buffer, dtype, shape, order):
        _expect(order in ('C', 'F'), 'an array is in no order')
        _check_size(shape, dtype, buffer)
        return np.ndarray(shape, dtype, buffer, order=order)

    def build(self):
        """Complete the data type or the array on the stack by a state that NumPy wrote."""
        state = self.pop(1)[0]
        target = self.stack[-1]
        _expect(type(state) is tuple, 'it sets a state in an unknown form')
        if isinstance(target, np.dtype):
            order = _text(state[1])
            _expect(order in _ORDERS and state[2:] == (None, None, None, -1, -1, 0),
                    'a data type is not that of plain numbers')
            target.__setstate__((3, order, *state[2:]))
        else:
            _expect(isinstance(target, np.ndarray), 'it sets the state of what is no array')
            _, shape, dtype, by_columns, content = state
            _check_size(shape, dtype, content)
            self.spend(len(content))
            target.__setstate__((1, shape, dtype, by_columns is True, bytes(content)))


def _expect(condition, otherwise):
    if not condition:
        raise ValueError(otherwise)


def _text(value):
    """A short word of an array's description, which Python 2 wrote as bytes."""
    value = value.decode('ascii') if type(value) is bytes else value
    _expect(type(value) is str, 'an array is described by what is no word')
    return value


def _check_size(shape, dtype, content):
    """An array's shape and type must account for each byte of its content, before it is made."""
    _expect(isinstance(dtype, np.dtype), 'an array has no type')
    _expect(type(content) in (bytes, bytearray), 'an array has no content')
    _expect(type(shape) is tuple and all(type(length) is int and length >= 0 for length in shape),
            'the shape of an array is no tuple of lengths')
    size = math.prod(shape) * dtype.itemsize
    _expect(size == len(content), f'an array of {size} bytes is given {len(content)}')


_CALLS = {'_codecs encode': _Machine.encode,
          '__builtin__ bytes': _Machine.no_bytes,
          'numpy dtype': _Machine.dtype,
          'numpy.core.multiarray _reconstruct': _Machine.blank_array,
          'numpy.core.numeric _frombuffer': _Machine.buffer_array}

# All of the language that is understood: operation -> what it does to a machine.
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
