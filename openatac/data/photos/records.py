"""Images in a RecordIO file (``.rec``), the format of MXNet's im2rec and ImageRecordIter.

A record is the magic number, 3 bits of kind and 29 bits of length, and a payload padded to 4 bytes. A payload
that contains the magic number at a multiple of 4 is written in parts, with the number between them left out
(dmlc-core, recordio.h). An image's payload is a header, the labels if there are several, and the bytes of an
image file.

At a damaged record ImageRecordIter ends the process, or skips it silently; here it raises a `BadImage`.
"""
import os
import struct
import weakref
import zlib
from typing import Any, Optional

import numpy as np

from openatac.data.photos.bad_images import BadImage
from openatac.errors import DataError
from openatac.files.reading import (
    BYTE_ORDER_MARK,
    TEXT_LIMIT,
    open_descriptor,
    opening,
    read_input,
    read_text,
)

MAGIC = b'\x0a\x23\xd7\xce'
HEAD = struct.Struct('<4sI')     # magic, kind << 29 | length
IMAGE = struct.Struct('<IfQQ')   # number of labels before the image or 0, label, id, second id
LONGEST = 2 ** 29                # a part is shorter; no image is nearly as long

_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_SAMPLES = 16                    # records that are checked to see whether an index belongs to a file


class RecordFile:
    """The images of a ``.rec`` file, in the order of the file.

    Parameters
    ----------
    rec : str
    idx : str, optional
        Its index, lines of key and offset. Without it the file is scanned from record to record, which takes
        a few seconds per million images.
    classes : int, optional
        The number of classes; labels must be below it. A list of class names (``.classes``) next to the file
        must have as many, and gives the number if it is not set here.

    Attributes
    ----------
    path : str
    class_names : tuple of str or None
    classes : int or None

    Raises
    ------
    DataError
        If a file is missing or not a RecordIO file, or the index belongs to another file. A single damaged
        record raises `BadImage` when it is read.
    """

    def __init__(self, rec: str, idx: Optional[str] = None, classes: Optional[int] = None) -> None:
        self.path, self.class_names = rec, read_class_names(rec, classes)
        self.classes = len(self.class_names) if classes is None and self.class_names else classes
        self._open()
        size = os.fstat(self._file).st_size
        if size == 0:
            raise DataError(f'{rec} is empty: get it again')
        if _part_at(self._file, 0) is None:
            raise DataError(f'{rec} does not begin as a RecordIO file does: name a file that openatac pack '
                            "or MXNet's im2rec has written")
        offsets = _scan(self._file, size, rec) if idx is None else _read_index(idx, rec, size)
        self._bounds = np.append(offsets, size)
        if idx is not None:
            self._check_index(idx)
        self._checksums = _read_checksums(rec, len(self))

    def __len__(self) -> int:
        return len(self._bounds) - 1

    @property
    def bounds(self) -> list[int]:
        """The offset of each record, and that of the end of the last one."""
        return self._bounds.tolist()

    def fingerprint(self) -> str:
        """Return a text that identifies this data set, computed from the offsets of its records."""
        return f'{len(self)}:{zlib.crc32(self._bounds.astype("int64").data):08x}'

    def name(self, index: int) -> str:
        """Return the name of image ``index`` in messages."""
        return f'{self.path}, record {index}'

    def read(self, index: int) -> tuple[bytes, int]:
        """Return (the bytes of image file ``index``, its label, or the first of several).

        Raises
        ------
        BadImage
            If the record is damaged.
        DataError
            If the label is not one of the classes.
        """
        payload = self.payload(index)
        if len(payload) < IMAGE.size:
            raise BadImage('the record is too short to hold an image')
        count, label = IMAGE.unpack_from(payload)[:2]
        start = IMAGE.size + 4 * count
        if len(payload) <= start:
            raise BadImage('the record has no image')
        if count:
            label = struct.unpack_from('<f', payload, IMAGE.size)[0]
        return payload[start:], self._checked(label, index)

    def image_id(self, index: int) -> int:
        """Return the id in the header of record ``index``, read without the image."""
        head = os.pread(self._file, HEAD.size + IMAGE.size, int(self._bounds[index]))
        if len(head) < HEAD.size + IMAGE.size:
            raise BadImage('the record is cut off')
        return IMAGE.unpack_from(head, HEAD.size)[2]

    def payload(self, index: int) -> bytes:
        """Return the whole payload of record ``index``; raise BadImage if it is damaged."""
        data = self.record(index)
        payload = _join_parts(data)
        if self._checksums is not None and zlib.crc32(data) != self._checksums[index]:
            raise BadImage('the record has changed since it was packed: its checksum is wrong')
        return payload

    def record(self, index: int) -> bytes:
        """Return the bytes of the file from the offset of record ``index`` to that of the next."""
        start, end = self._bounds[index:index + 2].tolist()
        if end - start > LONGEST:
            raise BadImage(f'the record is {end - start} bytes long')
        try:
            return os.pread(self._file, end - start, start)
        except OSError as error:
            raise BadImage(error.strerror) from error

    def _checked(self, label: float, index: int) -> int:
        """Return the label as an int; raise DataError if it is not one of the classes."""
        if label == label // 1 and 0 <= label < (self.classes or float('inf')):
            return int(label)
        among = f'{self.classes} classes (0 to {self.classes - 1})' if self.classes else 'classes'
        raise DataError(f'{self.name(index)} has the label {label:g}, which is not one of the {among}: check '
                        'the number of classes, or pack the file again')

    def _check_index(self, idx: str) -> None:
        """Raise DataError if the file has no records at the index's offsets, judging by a sample of them."""
        count = len(self)
        chosen = np.unique(np.linspace(0, count - 1, min(count, _SAMPLES)).astype(int)).tolist()
        bounds = self._bounds.tolist()
        right = sum(_record_end(self._file, bounds[i], bounds[-1]) == bounds[i + 1] for i in chosen[:-1])
        if right * 2 < len(chosen) - 1:
            raise DataError(f'{idx} is not the index of {self.path}: there are no records at its offsets; '
                            'name the index that was written together with it, or none')
        end = _record_end(self._file, bounds[-2], bounds[-1])
        if end is not None and end < bounds[-1]:
            raise DataError(f'{idx} ends before {self.path} does: it is truncated or of another file; name '
                            'the index that was written together with it, or none')

    # An open file cannot be sent to another process, which opens it again.

    def _open(self) -> None:
        with opening(f'the record file {self.path}'):
            self._file = open_descriptor(self.path)
        weakref.finalize(self, os.close, self._file)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != '_file'}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()


# ---------------------------------------------------------------------------------- records

def pack_record(payload: bytes) -> bytes:
    """Return the bytes of a record with that payload."""
    parts, start, found = [], 0, payload.find(MAGIC)
    while found >= 0:
        if found % 4 == 0:
            parts.append(payload[start:found])
            start = found + 4
        found = payload.find(MAGIC, found + 4 - found % 4)
    parts.append(payload[start:])
    kinds = [_FIRST, *[_MIDDLE] * (len(parts) - 2), _LAST] if len(parts) > 1 else [_WHOLE]
    return b''.join(HEAD.pack(MAGIC, kind << 29 | len(part)) + part + bytes(-len(part) % 4)
                    for kind, part in zip(kinds, parts))


def _join_parts(data: bytes) -> bytes:
    """Return the payload of the one record that ``data`` should be."""
    parts, at = [], 0
    wanted: tuple[int, ...] = (_WHOLE, _FIRST)
    while wanted:
        if len(data) - at < HEAD.size:
            raise BadImage('the record is cut off')
        magic, word = HEAD.unpack_from(data, at)
        kind, size = word >> 29, word & LONGEST - 1
        if magic != MAGIC or kind not in wanted:
            raise BadImage("the record's head is damaged")
        at += HEAD.size
        parts.append(data[at:at + size])
        at += size + -size % 4
        wanted = () if kind in (_WHOLE, _LAST) else (_MIDDLE, _LAST)
    if at != len(data):
        raise BadImage('the record is cut off, or its length damaged')
    return MAGIC.join(parts)


def _part_at(file: int, offset: int) -> Optional[tuple[int, int]]:
    """Return (kind, end offset) of the part at ``offset``; None if there is none."""
    head = os.pread(file, HEAD.size, offset)
    if len(head) < HEAD.size or head[:4] != MAGIC:
        return None
    word = HEAD.unpack(head)[1]
    length = word & LONGEST - 1
    return word >> 29, offset + HEAD.size + length + -length % 4


def _record_end(file: int, offset: int, size: int) -> Optional[int]:
    """Return where the record at ``offset`` ends, possibly beyond ``size``; None if there is none."""
    part = _part_at(file, offset)
    if part is None or part[0] not in (_WHOLE, _FIRST):
        return None
    while part[0] not in (_WHOLE, _LAST):
        if part[1] >= size:
            return part[1]
        part = _part_at(file, part[1])
        if part is None or part[0] not in (_MIDDLE, _LAST):
            return None
    return part[1]


# ------------------------------------------------------------------------------------ index

def _scan(file: int, size: int, rec: str) -> np.ndarray:
    """Return the offsets of all records, found by following the heads; the last record may be cut short."""
    offsets, at = [], 0
    while at < size:
        end = _record_end(file, at, size)
        if end is None and size - at >= HEAD.size:
            raise DataError(f'{rec} is damaged at byte {at}, where a record should begin: name its index '
                            '(.idx), with which only the damaged record is lost, or get it again')
        offsets.append(at)
        at = size if end is None else end
    return np.array(offsets, np.int64)


def _read_index(idx: str, rec: str, size: int) -> np.ndarray:
    """Return the offsets that an index lists, sorted."""
    with opening(f'the index {idx}'):
        lines = read_input(idx, 2 * size + TEXT_LIMIT)  # a line is shorter than two records
    fields = lines.split()
    if not fields:
        raise DataError(f'the index {idx} is empty: name another one, or none')
    try:
        offsets = np.sort(np.array(fields[1::2]).astype(np.int64))
    except (ValueError, OverflowError):
        offsets = None
    if offsets is None or len(fields) != 2 * sum(1 for line in lines.splitlines() if line.strip()):
        raise DataError(f'{idx} is not the index of a record file, which has lines of a key and an offset')
    if offsets[-1] >= size:
        raise DataError(f'{idx} lists a record at byte {offsets[-1]}, but {rec} has only {size}: that file '
                        'is truncated, or this is not its index')
    if offsets[0] != 0 or (np.diff(offsets) <= 0).any():
        problem = 'does not begin at byte 0' if offsets[0] else 'lists a record twice'
        raise DataError(f'{idx} is not the index of {rec}: it {problem}; name the index that was written '
                        'together with it, or none')
    return offsets


def beside(rec: str, ending: str) -> str:
    """Return the path of a file next to a record file.

    ``.idx`` is its index, ``.crc32`` has a line of key and CRC-32 for each record in order, and ``.classes``
    one class name per line.
    """
    return os.path.splitext(rec)[0] + ending


def index_beside(rec: str) -> Optional[str]:
    """Return the path of the index next to a record file, or None if there is none."""
    path = beside(rec, '.idx')
    return path if os.path.lexists(path) else None


# -------------------------------------------------------------------------------- checksums

def _read_checksums(rec: str, count: int) -> Optional[np.ndarray]:
    """Return the CRC-32 of each of ``count`` records; None if there is no list of them next to the file."""
    path = beside(rec, '.crc32')
    if not os.path.lexists(path):
        return None
    with opening(f'the checksums {path}'):
        fields = read_input(path, TEXT_LIMIT + 64 * count).split()
    try:
        checksums = np.array([int(field, 16) for field in fields[1::2]], np.int64)
        if ((checksums < 0) | (checksums >= 2 ** 32)).any():
            raise ValueError('more than 32 bits')
    except (ValueError, OverflowError):
        raise DataError(f'{path} is not a list of checksums: pack the file again, or remove it') from None
    if len(checksums) != count:
        raise DataError(f'{path} has checksums of {len(checksums)} records, and {rec} has {count}: one of '
                        'them is truncated, or of another file')
    return checksums


# ---------------------------------------------------------------------------------- classes

def read_class_names(rec: str, classes: Optional[int]) -> Optional[tuple[str, ...]]:
    """Return the class names listed next to the file, or None; raise DataError for a wrong number."""
    path = beside(rec, '.classes')
    if not os.path.lexists(path):
        return None
    with opening(f'the class list {path}'):
        text = read_text(path, errors='surrogateescape').removeprefix(BYTE_ORDER_MARK)
    names = tuple(line.removesuffix('\r') for line in text.removesuffix('\n').split('\n')) if text else ()
    if classes is not None and len(names) != classes:
        raise DataError(f'{rec} has {len(names)} classes by its class list {path}, and the network has '
                        f'{classes}: make them equal')
    return names
