"""The layout of MXNet's .params files, checked without reading the numbers in them.

MXNet allocates what a file's header asks for before it checks that the file is that long: one flipped byte
can exhaust the machine's memory. So this check comes first.
"""
from __future__ import annotations

import os
import struct
from typing import Any, BinaryIO, NamedTuple

from openatac.files.reading import open_input

LARGEST_FILE = 2 ** 34  # bytes; ResNet-50 has 10 ** 8
_LIST, _SHAPES_OF_64_BITS = 0x112, (0xF993FAC8, 0xF993FAC9, 0xF993FACA)
_MAX_DIMENSIONS = 32
_ITEM_BYTES = {0: 4, 1: 8, 2: 2, 3: 1, 4: 4, 5: 1, 6: 8, 7: 1, 12: 2}  # by mshadow's type flag


class Array(NamedTuple):
    """Where an array is in a file: mshadow's type flag, its shape, and the offset of its first byte."""

    type_flag: int
    shape: tuple[int, ...]
    offset: int


def check_layout(path: str) -> list[tuple[bytes | None, Array]]:
    """The arrays of a file as [(name, or None in a file without names, `Array`)].

    Raises
    ------
    ValueError
        If the file is not a list of dense arrays of exactly the length that its header says.
    """
    with open_input(path, LARGEST_FILE) as handle:
        end = os.fstat(handle.fileno()).st_size
        kind, _, arrays = _read(handle, '<QQQ')
        if kind != _LIST or arrays > end:
            raise ValueError('not a list of arrays')
        places = [_array(handle, end) for _ in range(arrays)]
        count, = _read(handle, '<Q')
        if count not in (0, arrays):
            raise ValueError(f'{count} names for {arrays} arrays')
        labels = [_name(handle, end) for _ in range(count)]
        if handle.tell() != end:
            raise ValueError('more bytes than its arrays have')
    names: list[bytes | None] = [*labels] if labels else [None] * arrays
    return list(zip(names, places))


def _array(handle: BinaryIO, end: int) -> Array:
    """Read an array's header and skip its numbers."""
    version, = _read(handle, '<I')
    if version not in _SHAPES_OF_64_BITS:  # before MXNet 0.12 the number of dimensions came first
        return _numbers(handle, version, 'I', end)
    if version != _SHAPES_OF_64_BITS[0] and _read(handle, '<i') != (0,):
        raise ValueError('a sparse array')
    return _numbers(handle, _read(handle, '<i')[0], 'q', end)


def _numbers(handle: BinaryIO, dimensions: int, item: str, end: int) -> Array:
    if not 0 < dimensions <= _MAX_DIMENSIONS:
        raise ValueError(f'an array of {dimensions} dimensions')
    shape = _read(handle, f'<{dimensions}{item}')
    _, _, flag = _read(handle, '<iii')  # device, its number, type
    if min(shape) < 0 or flag not in _ITEM_BYTES:
        raise ValueError(f'an array of shape {shape} and type {flag}')
    size = _ITEM_BYTES[flag]
    for length in shape:
        size *= length
    place = Array(flag, shape, handle.tell())
    _skip(handle, size, end)
    return place


def _name(handle: BinaryIO, end: int) -> bytes:
    size, = _read(handle, '<Q')
    _skip(handle, size, end)
    handle.seek(-size, os.SEEK_CUR)
    return handle.read(size)


def _read(handle: BinaryIO, form: str) -> tuple[Any, ...]:
    data = handle.read(struct.calcsize(form))
    try:
        return struct.unpack(form, data)
    except struct.error:
        raise ValueError('cut short') from None


def _skip(handle: BinaryIO, size: int, end: int) -> None:
    if size > end - handle.tell():
        raise ValueError('cut short')
    handle.seek(size, os.SEEK_CUR)
