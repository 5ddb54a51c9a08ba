"""Read and write MXNet's .params files in NumPy, for machines without MXNet.

The whole layout of a file is checked before its numbers are read: MXNet allocates the sizes in a header
before it checks the length of the file, so one flipped byte can exhaust the machine's memory.
"""
from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from openatac.errors import ParameterFileError
from openatac.files.export_file_names import PARAMS_SUFFIX
from openatac.files.reading import open_input
from openatac.files.writing import replace_file

MAX_PARAMS_BYTES = 2 ** 34  # of a file; ResNet-50 has 10 ** 8
TYPES = {0: '<f4', 1: '<f8', 2: '<f2', 3: '|u1', 4: '<i4', 5: '|i1', 6: '<i8', 7: '|b1'}  # by type flag
TYPE_FLAGS = {np.dtype(name): flag for flag, name in TYPES.items()}
BFLOAT16 = 12
LIST, DENSE_ARRAY, CPU = 0x112, 0xF993FAC9, 1  # as MXNet 1.9.1 writes them
_WITHOUT_STORAGE_TYPE, _NUMPY_SHAPE = 0xF993FAC8, 0xF993FACA  # other versions of an array's header
_MAX_DIMENSIONS = 32


class StoredArray(NamedTuple):
    """An array in a file: mshadow's flag of its type, its shape, and the offset of its first byte."""

    type_flag: int
    shape: tuple[int, ...]
    offset: int


def read_params(path: str) -> dict[str, np.ndarray]:
    """Read the named arrays in the file ``path``; raise ParameterFileError if it is missing or damaged."""
    try:
        with open_input(path, MAX_PARAMS_BYTES) as file:
            return {name: _values(file, stored, path) for name, stored in _named(read_layout(file), path)}
    except FileNotFoundError:
        raise missing_file(path) from None
    except IsADirectoryError:
        raise ParameterFileError(f'{path} is a folder: give a file, such as its best.params') from None
    except OSError as error:
        raise ParameterFileError.unreadable(path, error) from None
    except ValueError:
        raise ParameterFileError(f'{path} is not an MXNet parameter file, or is damaged: copy or download it '
                                 'again (openatac evaluate takes exports of other kinds)') from None


def missing_file(path: str) -> ParameterFileError:
    """Return the error for a parameter file that does not exist."""
    values = path + PARAMS_SUFFIX
    hint = f'; the export of that name has {values}' if os.path.exists(values) else ''
    return ParameterFileError(f'there is no parameter file {path}{hint}')


def _named(arrays: list[tuple[bytes | None, StoredArray]], path: str) -> Iterator[tuple[str, StoredArray]]:
    for name, stored in arrays:
        if name is None:
            raise ParameterFileError(f'{path} holds arrays without names: save parameters with '
                                     'save_parameters')
        yield name.decode('utf-8', 'replace'), stored


def _values(file: BinaryIO, stored: StoredArray, path: str) -> np.ndarray:
    if stored.type_flag == BFLOAT16:
        raise ParameterFileError(f'{path} holds bfloat16 numbers: save it from a network in float32')
    file.seek(stored.offset)
    values = np.fromfile(file, TYPES[stored.type_flag], math.prod(stored.shape))
    return values.reshape(stored.shape)  # ValueError for a file that was cut short since its layout was read


def stored_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of an array in a file: the format has none without dimensions, so () becomes (1,)."""
    return tuple(shape) or (1,)


def write_params(path: str, arrays: dict[str, np.ndarray]) -> None:
    """Write named arrays to ``path`` atomically, as MXNet's ``nd.save`` formats them.

    For arrays without dimensions, see `stored_shape`.

    Raises
    ------
    OSError
        If the file cannot be written.
    ParameterFileError
        If the format does not have the type of an array.
    """
    for name, array in arrays.items():
        if array.dtype not in TYPE_FLAGS:
            raise ParameterFileError(f'{path} cannot hold {name}, an array of {array.dtype}: convert it to '
                                     f'{" or ".join(map(str, TYPE_FLAGS))}')
    with replace_file(path) as temporary, open(temporary, 'wb') as handle:
        handle.write(struct.pack('<QQQ', LIST, 0, len(arrays)))
        for array in arrays.values():
            shape = stored_shape(array.shape)
            handle.write(struct.pack(f'<Iii{len(shape)}qiii', DENSE_ARRAY, 0, len(shape), *shape, CPU, 0,
                                     TYPE_FLAGS[array.dtype]))
            handle.write(np.ascontiguousarray(array).tobytes())
        handle.write(struct.pack('<Q', len(arrays)))
        for name in arrays:
            handle.write(struct.pack('<Q', len(name.encode())) + name.encode())


def read_layout(file: BinaryIO) -> list[tuple[bytes | None, StoredArray]]:
    """List a file's arrays as [(name, or None in a file without names, `StoredArray`)]; read no numbers.

    Raises
    ------
    ValueError
        If the file is not a list of dense arrays with exactly the length given in its header.
    """
    end = os.fstat(file.fileno()).st_size
    kind, _, count = _read(file, '<QQQ')
    if kind != LIST or count > end:
        raise ValueError('not a list of arrays')
    stored_arrays = [_array(file, end) for _ in range(count)]
    named, = _read(file, '<Q')
    if named not in (0, count):
        raise ValueError(f'{named} names for {count} arrays')
    names: list[bytes | None] = [_name(file, end) for _ in range(named)]
    if file.tell() != end:
        raise ValueError('more bytes than its arrays have')
    return list(zip(names or [None] * count, stored_arrays))


def _array(file: BinaryIO, end: int) -> StoredArray:
    """Read an array's header and skip its numbers."""
    version, = _read(file, '<I')
    if version in (DENSE_ARRAY, _NUMPY_SHAPE) and _read(file, '<i') != (0,):
        raise ValueError('a sparse array')
    if version in (_WITHOUT_STORAGE_TYPE, DENSE_ARRAY, _NUMPY_SHAPE):
        (dimensions,), item = _read(file, '<i'), 'q'
    else:  # before MXNet 0.12 the number of dimensions came first
        dimensions, item = version, 'I'
    if not 0 < dimensions <= _MAX_DIMENSIONS:
        raise ValueError(f'an array of {dimensions} dimensions')
    shape = _read(file, f'<{dimensions}{item}')
    _, _, flag = _read(file, '<iii')  # device, its number, type
    if min(shape) < 0 or (flag not in TYPES and flag != BFLOAT16):
        raise ValueError(f'an array of shape {shape} and type {flag}')
    stored = StoredArray(flag, shape, file.tell())
    item_bytes = 2 if flag == BFLOAT16 else np.dtype(TYPES[flag]).itemsize
    _check_room(file, math.prod(shape) * item_bytes, end)
    file.seek(math.prod(shape) * item_bytes, os.SEEK_CUR)
    return stored


def _name(file: BinaryIO, end: int) -> bytes:
    size, = _read(file, '<Q')
    _check_room(file, size, end)
    return file.read(size)


def _read(file: BinaryIO, layout: str) -> tuple[Any, ...]:
    data = file.read(struct.calcsize(layout))
    try:
        return struct.unpack(layout, data)
    except struct.error:
        raise ValueError('cut short') from None


def _check_room(file: BinaryIO, size: int, end: int) -> None:
    if size > end - file.tell():
        raise ValueError('cut short')
