"""RecordIO, the file format of MXNet's im2rec and ImageRecordIter.

A record is the magic number, 3 bits of kind and 29 bits of length, and a payload padded to 4 bytes. A payload
that contains the magic number at a multiple of 4 is written in parts, with the number between them left out
(dmlc-core, recordio.h). An image's payload is a header, the labels if there are several, and the bytes of an
image file.
"""
from __future__ import annotations

import struct

import numpy as np

from openatac.data.images.source import BadImageError
from openatac.errors import DataError
from openatac.files.reading import read_at

MAGIC = b'\x0a\x23\xd7\xce'
RECORD_HEADER = struct.Struct('<4sI')     # magic, kind << 29 | length
IMAGE = struct.Struct('<IfQQ')   # number of labels before the image or 0, label, id, second id
MAX_PART_BYTES = 2 ** 29         # parts are shorter; no image comes close

_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)


def pack_record(payload: bytes) -> bytes:
    """Return a record with the given payload, as bytes."""
    parts = []
    start = 0
    at = payload.find(MAGIC)
    while at >= 0:
        if at % 4 == 0:
            parts.append(payload[start:at])
            start = at + 4
        at = payload.find(MAGIC, at + 4 - at % 4)
    parts.append(payload[start:])
    kinds = [_FIRST, *[_MIDDLE] * (len(parts) - 2), _LAST] if len(parts) > 1 else [_WHOLE]
    return b''.join(RECORD_HEADER.pack(MAGIC, kind << 29 | len(part)) + part + bytes(-len(part) % 4)
                    for kind, part in zip(kinds, parts))


def unpack_record(data: bytes) -> bytes:
    """Return the payload of the record ``data``; raise BadImageError unless it is one whole record."""
    parts, at = [], 0
    expected: tuple[int, ...] = (_WHOLE, _FIRST)
    while expected:
        if len(data) - at < RECORD_HEADER.size:
            raise BadImageError('the record is cut off')
        magic, word = RECORD_HEADER.unpack_from(data, at)
        kind = word >> 29
        size = word & MAX_PART_BYTES - 1
        if magic != MAGIC or kind not in expected:
            raise BadImageError("the record's header is damaged")
        at += RECORD_HEADER.size
        parts.append(data[at:at + size])
        at += size + -size % 4
        expected = () if kind in (_WHOLE, _LAST) else (_MIDDLE, _LAST)
    if at != len(data):
        raise BadImageError('the record is cut off, or its length damaged')
    return MAGIC.join(parts)


def record_end(descriptor: int, offset: int, size: int) -> int | None:
    """Return where the record at ``offset`` ends in a file of ``size`` bytes: beyond it if it is cut off.

    Returns None if no record begins there.
    """
    part = _part_at(descriptor, offset)
    if part is None or part[0] not in (_WHOLE, _FIRST):
        return None
    while part[0] not in (_WHOLE, _LAST):
        if part[1] >= size:
            return part[1]
        part = _part_at(descriptor, part[1])
        if part is None or part[0] not in (_MIDDLE, _LAST):
            return None
    return part[1]


def _part_at(descriptor: int, offset: int) -> tuple[int, int] | None:
    """Return (kind, end offset) of the part at ``offset``; None if there is none."""
    head = read_at(descriptor, RECORD_HEADER.size, offset)
    if len(head) < RECORD_HEADER.size or head[:4] != MAGIC:
        return None
    word = RECORD_HEADER.unpack(head)[1]
    length = word & MAX_PART_BYTES - 1
    return word >> 29, offset + RECORD_HEADER.size + length + -length % 4


def scan(descriptor: int, size: int, path: str) -> np.ndarray:
    """Return the offsets of all records, int64 (N,), found by following their headers.

    The last record can be cut short. Raises DataError if no record begins where one should.
    """
    offsets, at = [], 0
    while at < size:
        end = record_end(descriptor, at, size)
        if end is None and size - at >= RECORD_HEADER.size:
            raise DataError(f'{path} is damaged at byte {at}, where a record should begin: give its index '
                            '(.idx), with which only the damaged record is lost, or download it again')
        offsets.append(at)
        at = size if end is None else end
    return np.array(offsets, np.int64)
