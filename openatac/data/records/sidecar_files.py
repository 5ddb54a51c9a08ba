"""The files next to a record file: its index, its checksums and the names of its classes.

``.idx`` has a line of key and offset for each record, ``.crc32`` a line of key and CRC-32 for each record in
order, and ``.classes`` a class name on each line.
"""
from __future__ import annotations

import os

import numpy as np

from openatac.errors import DataError
from openatac.files.reading import BYTE_ORDER_MARK, MAX_TEXT_BYTES, opening, read_input, read_text

INDEX, CHECKSUMS, CLASSES = '.idx', '.crc32', '.classes'


def beside(rec: str, ending: str) -> str:
    """Return the path of the file with this ``ending`` next to a record file."""
    return os.path.splitext(rec)[0] + ending


def index_beside(rec: str) -> str | None:
    """Return the path of the index next to a record file, or None."""
    path = beside(rec, INDEX)
    return path if os.path.lexists(path) else None


def read_index(idx: str, rec: str, size: int) -> np.ndarray:
    """Return the sorted offsets, int64 (N,), in an index of ``rec``, which has ``size`` bytes.

    Raises DataError if ``idx`` is not an index, or its offsets do not fit the record file.
    """
    with opening(f'the index {idx}'):
        text = read_input(idx, 2 * size + MAX_TEXT_BYTES)  # a line is shorter than two records
    fields = text.split()
    if not fields:
        raise DataError(f'the index {idx} is empty: give another, or leave it out')
    try:
        offsets = np.sort(np.array(fields[1::2]).astype(np.int64))
    except (ValueError, OverflowError):
        offsets = None
    if offsets is None or len(fields) != 2 * sum(1 for line in text.splitlines() if line.strip()):
        raise DataError(f'{idx} is not the index of a record file, which has lines of a key and an offset')
    if offsets[-1] >= size:
        raise DataError(f'{idx} lists a record at byte {offsets[-1]}, but {rec} has only {size}: that file '
                        'is truncated, or this is not its index')
    if offsets[0] != 0 or (np.diff(offsets) <= 0).any():
        problem = 'does not begin at byte 0' if offsets[0] else 'lists a record twice'
        raise DataError(f'{idx} is not the index of {rec}: it {problem}; give the index that was written '
                        'together with it, or none')
    return offsets


def read_checksums(rec: str, count: int) -> np.ndarray | None:
    """Return the CRC-32 of each of ``count`` records, int64 (N,); None if no list is next to the file.

    Raises DataError for a damaged list, or one with a different number of records.
    """
    path = beside(rec, CHECKSUMS)
    if not os.path.lexists(path):
        return None
    with opening(f'the checksums {path}'):
        fields = read_input(path, MAX_TEXT_BYTES + 64 * count).split()
    try:
        checksums = np.array([int(field, 16) for field in fields[1::2]], np.int64)
        if ((checksums < 0) | (checksums >= 2 ** 32)).any():
            raise ValueError('more than 32 bits')
    except (ValueError, OverflowError):
        raise DataError(f'{path} is not a list of checksums: pack the file again, or remove it') from None
    if len(checksums) != count:
        raise DataError(f'{path} has checksums of {len(checksums)} records, but {rec} has {count}: one of '
                        'them is truncated, or belongs to another file')
    return checksums


def read_class_names(rec: str, classes: int | None) -> tuple[str, ...] | None:
    """Return the class names listed next to the file, or None; raise DataError for a wrong number."""
    path = beside(rec, CLASSES)
    if not os.path.lexists(path):
        return None
    with opening(f'the class list {path}'):
        text = read_text(path, errors='surrogateescape').removeprefix(BYTE_ORDER_MARK)
    names = tuple(line.removesuffix('\r') for line in text.removesuffix('\n').split('\n')) if text else ()
    if classes is not None and len(names) != classes:
        raise DataError(f'{rec} has {len(names)} classes in its class list {path}, but the network has '
                        f'{classes}: make them equal')
    return names
