"""Read images from a record file (``.rec``), as written by MXNet's im2rec and ``openatac pack``.

ImageRecordIter ends the process at a damaged record, or skips it silently; this code raises `BadImageError`.
"""
from __future__ import annotations

import os
import struct
import weakref
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from openatac.data.images.class_names import match_classes
from openatac.data.images.source import BadImageError
from openatac.data.images.subset import ImageSubset
from openatac.data.records.recordio import (
    IMAGE,
    MAGIC,
    MAX_PART_BYTES,
    RECORD_HEADER,
    record_end,
    scan,
    unpack_record,
)
from openatac.data.records.sidecar_files import read_checksums, read_class_names, read_index
from openatac.errors import DataError, reason
from openatac.files.reading import open_descriptor, opening, read_at

_SAMPLES = 16  # records checked to decide whether an index belongs to a file


class RecordFile:
    """The images of a ``.rec`` file, in the order of the file.

    Parameters
    ----------
    rec : str
    idx : str, optional
        Its index, with lines of key and offset. Without it, the file is scanned record by record, which takes
        a few seconds per million images.
    classes : int, optional
        The number of classes; labels must be below it. A list of class names (``.classes``) next to the file
        must have the same length, which is also the default.
    names : sequence of str, optional
        The classes 0, 1, ..., with which those next to the file are matched (see `match_classes`).

    Attributes
    ----------
    path : str
    class_names : tuple of str
        Empty if they are unknown.
    classes : int or None

    Raises
    ------
    DataError
        If a file is missing or not a RecordIO file, or the index belongs to another file. A single damaged
        record raises `BadImageError` when it is read.
    """

    reading_order = None

    def __init__(self, rec: str, idx: str | None = None, classes: int | None = None,
                 names: Sequence[str] | None = None) -> None:
        self.path = rec
        self.class_names = read_class_names(rec, classes) or ()
        self.classes = len(self.class_names) if classes is None and self.class_names else classes
        self._class_of_label: Sequence[int] | None = None
        if self.class_names and names:
            self._class_of_label = match_classes(self.class_names, names, rec, 'the training images')
            self.class_names = tuple(names)
        self._open()
        size = os.fstat(self._descriptor).st_size
        if size == 0:
            raise DataError(f'{rec} is empty: download it again')
        if size < RECORD_HEADER.size or read_at(self._descriptor, len(MAGIC), 0) != MAGIC:
            raise DataError(f'{rec} does not begin like a RecordIO file: give a file written by openatac '
                            "pack or MXNet's im2rec")
        offsets = scan(self._descriptor, size, rec) if idx is None else read_index(idx, rec, size)
        self._bounds = np.append(offsets, size)
        if idx is not None:
            self._check_index(idx)
        self._checksums = read_checksums(rec, len(self))

    def __len__(self) -> int:
        return len(self._bounds) - 1

    @property
    def bounds(self) -> list[int]:
        """The offset of each record, and the end of the last one."""
        return self._bounds.tolist()

    def fingerprint(self) -> str:
        """Return a string that identifies this data set, computed from the offsets of its records."""
        return f'{len(self)}:{zlib.crc32(self._bounds.astype("int64").data):08x}'

    def name(self, index: int) -> str:
        """Return the name of image ``index`` in messages."""
        return f'{self.path}, record {index}'

    def read(self, index: int) -> tuple[bytes, int]:
        """Return (the bytes of image file ``index``, its label, or the first of several).

        Raises
        ------
        BadImageError
            If the record is damaged.
        DataError
            If the label is not one of the classes.
        """
        payload = self.payload(index)
        if len(payload) < IMAGE.size:
            raise BadImageError('the record is too short to hold an image')
        count, label = IMAGE.unpack_from(payload)[:2]
        start = IMAGE.size + 4 * count
        if len(payload) <= start:
            raise BadImageError('the record has no image')
        if count:
            label = struct.unpack_from('<f', payload, IMAGE.size)[0]
        return payload[start:], self._checked(label, index)

    @property
    def labels(self) -> np.ndarray:
        """The labels, int32 (N,), read on each access without the images; -1 for a damaged record."""
        return np.array([self._label(index) for index in range(len(self))], np.int32)

    def _label(self, index: int) -> int:
        head = read_at(self._descriptor, RECORD_HEADER.size + IMAGE.size + 4, int(self._bounds[index]))
        if len(head) < RECORD_HEADER.size + IMAGE.size + 4 or not head.startswith(MAGIC):
            return -1
        count, label = IMAGE.unpack_from(head, RECORD_HEADER.size)[:2]
        if count:
            label = struct.unpack_from('<f', head, RECORD_HEADER.size + IMAGE.size)[0]
        try:
            return self._checked(label, index)
        except DataError:  # raised again when the image is read
            return -1

    def select(self, indices: np.ndarray) -> ImageSubset:
        """Return the images at these indices."""
        return ImageSubset(self, indices)

    def image_id(self, index: int) -> int:
        """Return the id in the header of record ``index``, read without the image."""
        head = read_at(self._descriptor, RECORD_HEADER.size + IMAGE.size, int(self._bounds[index]))
        if len(head) < RECORD_HEADER.size + IMAGE.size:
            raise BadImageError('the record is cut off')
        return IMAGE.unpack_from(head, RECORD_HEADER.size)[2]

    def payload(self, index: int) -> bytes:
        """Return the whole payload of record ``index``; raise BadImageError if it is damaged."""
        data = self.record(index)
        payload = unpack_record(data)
        if self._checksums is not None and zlib.crc32(data) != self._checksums[index]:
            raise BadImageError('the record has changed since it was packed: its checksum is wrong')
        return payload

    def record(self, index: int) -> bytes:
        """Return the bytes of the file from the offset of record ``index`` to that of the next."""
        start, end = self._bounds[index:index + 2].tolist()
        if end - start > MAX_PART_BYTES:
            raise BadImageError(f'the record is {end - start} bytes long')
        try:
            return read_at(self._descriptor, end - start, start)
        except OSError as error:
            raise BadImageError(reason(error)) from error

    def _checked(self, label: float, index: int) -> int:
        """Return the class of a label; raise DataError if there is no such class."""
        is_whole = label == label // 1
        end = self.classes or float('inf')
        if is_whole and 0 <= label < end:
            return int(label) if self._class_of_label is None else self._class_of_label[int(label)]
        among = f'{self.classes} classes (0 to {self.classes - 1})' if self.classes else 'classes'
        raise DataError(f'{self.name(index)} has the label {label:g}, which is not one of the {among}: check '
                        'the number of classes, or pack the file again')

    def _check_index(self, idx: str) -> None:
        """Raise DataError if the file has no records at the index's offsets, judged by a sample."""
        count = len(self)
        bounds = self.bounds
        sample = np.unique(np.linspace(0, count - 1, min(count, _SAMPLES)).astype(int)).tolist()
        right = sum(record_end(self._descriptor, bounds[i], bounds[-1]) == bounds[i + 1] for i in sample[:-1])
        if right * 2 < len(sample) - 1:
            raise DataError(f'{idx} is not the index of {self.path}: there are no records at its offsets; '
                            'give the index that was written with it, or leave it out')
        end = record_end(self._descriptor, bounds[-2], bounds[-1])
        if end is not None and end < bounds[-1]:
            raise DataError(f'{idx} ends before {self.path} does: it is truncated or belongs to another '
                            'file; give the index that was written with it, or leave it out')

    # An open file cannot be sent to another process, so that process reopens it.

    def _open(self) -> None:
        with opening(f'the record file {self.path}'):
            self._descriptor = open_descriptor(self.path)
        weakref.finalize(self, os.close, self._descriptor)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != '_descriptor'}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()
