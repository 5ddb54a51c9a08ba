"""Images in a RecordIO file (``.rec``), the format of MXNet's im2rec and ImageRecordIter.

A record is the magic number, 3 bits of kind and 29 bits of length, and a payload padded to 4 bytes.
A payload that holds the magic number at a multiple of 4 is written in parts, and the number between
them left out. (dmlc-core, recordio.h.) An image's payload is a header, the labels if there are
several, and the bytes of an image file.

ImageRecordIter ends the process at a damaged record, or passes over it in silence; here it is a
`BadRecord` that names it.
"""
import os
import struct
import weakref
import zlib

import numpy as np

from openatac.errors import DataError
from openatac.files.reading import TEXT_LIMIT, open_descriptor, read_input, read_text

MAGIC = b'\x0a\x23\xd7\xce'
HEAD = struct.Struct('<4sI')     # magic, kind << 29 | length
IMAGE = struct.Struct('<IfQQ')   # number of labels in front of the image or 0, label, id, second id
LONGEST = 2 ** 29                # a part is shorter; no image is nearly as long

_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_SAMPLES = 16                    # records looked at to see whether an index belongs to a file


class BadRecord(Exception):
    """One image of a data set cannot be read; the others can."""


class RecordFile:
    """The images of a ``.rec`` file, in the order of the file.

    Parameters
    ----------
    rec : str
    idx : str, optional
        Its index, lines of key and offset. Without it the file is walked from head to head, which
        takes some seconds per million images.
    classes : int, optional
        Labels must be below it. A list of class names (``.classes``) beside the file must have as many,
        and says how many there are if this does not.

    Raises
    ------
    DataError
        If a file is missing, or no RecordIO file, or the index is not of this file. A single damaged
        record raises `BadRecord` when it is read.
    """

    def __init__(self, rec, idx=None, classes=None):
        self.path, self.class_names = rec, _class_names(rec, classes)
        self.classes = len(self.class_names) if classes is None and self.class_names else classes
        self._open()
        size = os.fstat(self._file).st_size
        if size == 0:
            raise DataError('%s is empty: get it again' % rec)
        if _part_at(self._file, 0, size) is None:
            raise DataError('%s does not begin as a RecordIO file does: name a file made by openatac pack '
                            "or MXNet's im2rec" % rec)
        offsets = _walk(self._file, size, rec) if idx is None else _read_index(idx, rec, size)
        self._bounds = np.append(offsets, size)
        if idx is not None:
            self._check_index(idx)
        self._checksums = _read_checksums(rec, len(self))

    def __len__(self):
        return len(self._bounds) - 1

    @property
    def bounds(self):
        """Where each record begins, and where the last one ends: a list of one more than the records."""
        return self._bounds.tolist()

    def fingerprint(self):
        """A text that tells this data set from others, made of where its records lie."""
        return '%d:%08x' % (len(self), zlib.crc32(self._bounds.astype('int64')))

    def name(self, index):
        """What to call image ``index`` in a message."""
        return '%s, record %d' % (self.path, index)

    def read(self, index):
        """Return (the bytes of image file ``index``, its label); of several labels the first.

        Raises BadRecord if the record is damaged, and DataError if its label is none of the classes.
        """
        payload = self.payload(index)
        if len(payload) < IMAGE.size:
            raise BadRecord('the record is too short to hold an image')
        count, label = IMAGE.unpack_from(payload)[:2]
        start = IMAGE.size + 4 * count
        if len(payload) <= start:
            raise BadRecord('the record holds no image')
        if count:
            label = struct.unpack_from('<f', payload, IMAGE.size)[0]
        return payload[start:], self._checked(label, index)

    def image_id(self, index):
        """The id that stands in the record's header, read without the image."""
        head = os.pread(self._file, HEAD.size + IMAGE.size, int(self._bounds[index]))
        if len(head) < HEAD.size + IMAGE.size:
            raise BadRecord('the record is cut off')
        return IMAGE.unpack_from(head, HEAD.size)[2]

    def payload(self, index):
        """The whole payload of record ``index``; BadRecord if it is damaged."""
        data = self.record(index)
        payload = _join_parts(data)
        if self._checksums is not None and zlib.crc32(data) != self._checksums[index]:
            raise BadRecord('the record has changed since it was packed: its checksum is wrong')
        return payload

    def record(self, index):
        """The bytes of the file from where record ``index`` begins to where the next one does."""
        start, end = self._bounds[index:index + 2].tolist()
        if end - start > LONGEST:
            raise BadRecord('the record is %d bytes long' % (end - start))
        try:
            return os.pread(self._file, end - start, start)
        except OSError as error:
            raise BadRecord(error.strerror) from error

    def is_whole(self, index):
        """Whether record ``index`` has all its parts and ends where the next one begins."""
        try:
            self.payload(index)
        except BadRecord:
            return False
        return True

    def _checked(self, label, index):
        """The label as an int; DataError if it is none of the classes."""
        if label == label // 1 and 0 <= label < (self.classes or float('inf')):
            return int(label)
        among = '%d classes (0 to %d)' % (self.classes, self.classes - 1) if self.classes else 'classes'
        raise DataError('%s has the label %g, which is none of the %s: check the number of classes, or '
                        'pack the file anew' % (self.name(index), label, among))

    def _check_index(self, idx):
        """DataError if the file has no records where the index says, judged by some of them."""
        count = len(self)
        chosen = np.unique(np.linspace(0, count - 1, min(count, _SAMPLES)).astype(int)).tolist()
        bounds = self._bounds.tolist()
        right = sum(_record_end(self._file, bounds[i], bounds[-1]) == bounds[i + 1] for i in chosen[:-1])
        if right * 2 < len(chosen) - 1:
            raise DataError('%s is not the index of %s: there are no records where it says; name the index '
                            'made together with it, or none' % (idx, self.path))
        end = _record_end(self._file, bounds[-2], bounds[-1])
        if end is not None and end < bounds[-1]:
            raise DataError('%s ends before %s does: it is truncated or of another file; name the index made '
                            'together with it, or none' % (idx, self.path))

    # An open file cannot be sent to another process, which opens it again.

    def _open(self):
        try:
            self._file = open_descriptor(self.path)
        except OSError as error:
            raise DataError('cannot open the record file %s (%s)' % (self.path, error.strerror)) from error
        weakref.finalize(self, os.close, self._file)

    def __getstate__(self):
        return {key: value for key, value in vars(self).items() if key != '_file'}

    def __setstate__(self, state):
        vars(self).update(state)
        self._open()


# ---------------------------------------------------------------------------------- records

def pack_record(payload):
    """The bytes of a record that holds ``payload``."""
    parts, start = [], 0
    for found in _aligned_magic(payload):
        parts.append(payload[start:found])
        start = found + 4
    parts.append(payload[start:])
    if len(parts) == 1:
        return _pack_part(_WHOLE, payload)
    kinds = [_FIRST] + [_MIDDLE] * (len(parts) - 2) + [_LAST]
    return b''.join(_pack_part(kind, part) for kind, part in zip(kinds, parts))


def _aligned_magic(payload):
    """Where the magic number stands in it at a multiple of 4."""
    found = payload.find(MAGIC)
    while found >= 0:
        if found % 4 == 0:
            yield found
        found = payload.find(MAGIC, found + 4 - found % 4)


def _pack_part(kind, part):
    return HEAD.pack(MAGIC, kind << 29 | len(part)) + part + bytes(-len(part) % 4)


def _join_parts(data):
    """The payload of the one record that ``data`` should be."""
    parts, at, wanted = [], 0, (_WHOLE, _FIRST)
    while wanted:
        if len(data) - at < HEAD.size:
            raise BadRecord('the record is cut off')
        magic, word = HEAD.unpack_from(data, at)
        kind, size = word >> 29, word & LONGEST - 1
        if magic != MAGIC or kind not in wanted:
            raise BadRecord("the record's head is damaged")
        at += HEAD.size
        parts.append(data[at:at + size])
        at += size + -size % 4
        wanted = () if kind in (_WHOLE, _LAST) else (_MIDDLE, _LAST)
    if at != len(data):
        raise BadRecord('the record is cut off, or its length damaged')
    return MAGIC.join(parts)


def _part_at(file, offset, size):
    """(kind, where the part ends) of the part at ``offset``; None if there is none."""
    head = os.pread(file, HEAD.size, offset)
    if len(head) < HEAD.size or head[:4] != MAGIC:
        return None
    word = HEAD.unpack(head)[1]
    length = word & LONGEST - 1
    return word >> 29, offset + HEAD.size + length + -length % 4


def _record_end(file, offset, size):
    """Where the record at ``offset`` ends by its heads, maybe beyond ``size``; None if there is none."""
    part = _part_at(file, offset, size)
    if part is None or part[0] not in (_WHOLE, _FIRST):
        return None
    while part[0] not in (_WHOLE, _LAST):
        if part[1] >= size:
            return part[1]
        part = _part_at(file, part[1], size)
        if part is None or part[0] not in (_MIDDLE, _LAST):
            return None
    return part[1]


# ------------------------------------------------------------------------------------ index

def _walk(file, size, rec):
    """The offsets of all records, from head to head; the last record may be cut short."""
    offsets, at = [], 0
    while at < size:
        end = _record_end(file, at, size)
        if end is None and size - at >= HEAD.size:
            raise DataError('%s is damaged at byte %d, where a record should begin: name its index (.idx), '
                            'with which only the damaged record is lost, or get it again' % (rec, at))
        offsets.append(at)
        at = size if end is None else end
    return np.array(offsets, np.int64)


def _read_index(idx, rec, size):
    """The offsets that an index lists, in the order of the file."""
    try:
        lines = read_input(idx, 2 * size + TEXT_LIMIT)  # a line is shorter than two records
    except OSError as error:
        raise DataError('cannot open the index %s (%s)' % (idx, error.strerror)) from error
    fields = lines.split()
    if not fields:
        raise DataError('the index %s is empty: name another one, or none' % idx)
    try:
        offsets = np.sort(np.array(fields[1::2]).astype(np.int64))
    except (ValueError, OverflowError):
        offsets = None
    if offsets is None or len(fields) != 2 * sum(1 for line in lines.splitlines() if line.strip()):
        raise DataError('%s is no index of a record file, which has lines of a key and an offset' % idx)
    if offsets[-1] >= size:
        raise DataError('%s lists a record at byte %d, but %s has only %d: it is truncated, or this is not '
                        'its index' % (idx, offsets[-1], rec, size))
    if offsets[0] != 0 or (np.diff(offsets) <= 0).any():
        raise DataError('%s is not the index of %s: it %s; name the index made together with it, or none' % (
            idx, rec, 'does not begin at byte 0' if offsets[0] else 'lists a record twice'))
    return offsets


def index_beside(rec):
    """The path of the index that lies beside a record file, or None."""
    path = os.path.splitext(rec)[0] + '.idx'
    return path if os.path.lexists(path) else None


# -------------------------------------------------------------------------------- checksums

def checksum_list(rec):
    """Where the checksums of a record file are: a line of key and CRC-32 for each record, in its order."""
    return os.path.splitext(rec)[0] + '.crc32'


def _read_checksums(rec, count):
    """The CRC-32 of each of ``count`` records; None if there is no such list beside the file."""
    path = checksum_list(rec)
    try:
        fields = read_input(path, TEXT_LIMIT + 64 * count).split()
        checksums = np.array([int(field, 16) for field in fields[1::2]], np.int64)
        if ((checksums < 0) | (checksums >= 2 ** 32)).any():
            raise ValueError('more than 32 bits')
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError('cannot read the checksums %s (%s)' % (path, error.strerror)) from error
    except (ValueError, OverflowError):
        raise DataError(f'{path} is not a list of checksums: pack the file again, or remove it') from None
    if len(checksums) != count:
        raise DataError(f'{path} has checksums of {len(checksums)} records, and {rec} has {count}: one of '
                        'them was cut off, or is of another file')
    return checksums


# ---------------------------------------------------------------------------------- classes

def class_list(rec):
    """Where the names of the classes of a record file are, one a line."""
    return os.path.splitext(rec)[0] + '.classes'


def _class_names(rec, classes):
    """The names of the classes if they lie beside the file; DataError if they are not ``classes`` many."""
    path = class_list(rec)
    try:
        text = read_text(path, errors='surrogateescape')
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError('cannot read the class list %s (%s)' % (path, error.strerror)) from error
    names = tuple(line.removesuffix('\r') for line in text.removesuffix('\n').split('\n')) if text else ()
    if classes is not None and len(names) != classes:
        raise DataError('%s has %d classes by its class list %s, and the network has %d: make them equal'
                        % (rec, len(names), path, classes))
    return names
