"""Pack labelled images into a record file.

An interrupted run resumes when it is started again: it writes OUT.rec.part and, next to it,
OUT.rec.part.json, which describes the input. Each record's id is its image's position in the order, so the
next run knows where to continue. Files get their final names once everything is written, the record file
last.
"""
from __future__ import annotations

import array
import contextlib
import hashlib
import io
import json
import os
import zlib
from collections.abc import Iterable, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np

from openatac.console.streams import print_to_stderr
from openatac.data.images.bad_images import BAD_SHARE, BadImages
from openatac.data.images.decoding import decode
from openatac.data.images.image_files import ImageFiles
from openatac.data.images.source import BadImageError
from openatac.data.records.record_file import RecordFile
from openatac.data.records.recordio import IMAGE, pack_record
from openatac.data.records.sidecar_files import CHECKSUMS, CLASSES, INDEX, beside
from openatac.data.threads import map_in_order
from openatac.errors import DataError, reason
from openatac.files.locks import locked
from openatac.files.reading import read_text
from openatac.files.writing import flush, replace_file, write_text

QUALITY = 95  # of recompressed images, as in MXNet's im2rec
KEPT = b'\xff\xd8', b'\x89PNG'  # the first bytes of files that ImageRecordIter reads unchanged


class PackSettings(NamedTuple):
    """The settings that, with the images, determine the content of a record file.

    Attributes
    ----------
    resize : int, optional
        The short side of larger images after resizing, in pixels.
    quality : int, optional
        JPEG quality, 1 to 100, for recompressing all images.
    shuffle : int, optional
        Seed for a random order; by default images are sorted by class.
    """

    resize: int | None = None
    quality: int | None = None
    shuffle: int | None = None


UNCHANGED = PackSettings()  # unchanged images, sorted by class


class Packed(NamedTuple):
    """The result of packing: the numbers of images, classes, and bad images left out."""

    image_count: int
    class_count: int
    bad_count: int


def pack(images: ImageFiles, out: str, settings: PackSettings = UNCHANGED, workers: int = 1,
         max_bad_share: float = BAD_SHARE) -> Packed | None:
    """Write out.rec, out.idx, out.classes and out.crc32.

    Parameters
    ----------
    images : ImageFiles
        The images to pack, such as an `ImageFolder`.
    out : str
        The name of the files, without the extension.
    settings : PackSettings
    workers : int
        How many images to process at a time.
    max_bad_share : float
        The largest tolerated share of unreadable images.

    Returns
    -------
    Packed or None
        None if an earlier run had packed everything and was interrupted while cleaning up.

    Raises
    ------
    DataError
        If there are no images or too many bad ones, out.rec exists already, or a file cannot be written.
    """
    rec, journal = out + '.rec', out + '.rec.part.json'
    if os.path.lexists(rec):
        if not os.path.exists(journal) or os.path.exists(rec + '.part'):
            raise DataError(f'{rec} exists already: remove it, or choose another name')
        os.unlink(journal)
        return None
    for name in images.class_names:
        if '\n' in name or '\r' in name:  # the class list has one name on each line
            raise DataError(f'the name of the class folder {name!r} contains a line break: rename it')
    order = np.arange(len(images))
    if settings.shuffle is not None:
        order = np.random.RandomState(settings.shuffle).permutation(len(images))
    bad = BadImages(images, max_bad_share, named=len(images))
    try:
        with locked(rec + '.part') as part:
            packing = _Packing(images, order, settings, part)
            packing.resume_or_begin(journal, bad)
            packing.write(workers, bad)
            _finish(rec, part, images.class_names, packing.checksums)
    except BlockingIOError:
        raise DataError(f'another run is writing {rec}.part: wait for it, or choose another name') from None
    except OSError as error:
        raise DataError(f'cannot write {error.filename or rec} ({reason(error)}): fix that and repeat the '
                        'same command, which resumes from here') from error
    return Packed(len(images) - bad.count, len(images.class_names), bad.count)


def _finish(rec: str, part: BinaryIO, class_names: Sequence[str], checksums: Iterable[int]) -> None:
    """Write the other files, then rename the record file."""
    records = RecordFile(part.name)
    keys = [records.image_id(index) for index in range(len(records))]
    write_text(beside(rec, INDEX), ''.join(
        f'{key}\t{offset}\n' for key, offset in zip(keys, records.bounds)))
    write_text(beside(rec, CHECKSUMS), ''.join(
        f'{key}\t{checksum:08x}\n' for key, checksum in zip(keys, checksums)))
    if class_names:
        with replace_file(beside(rec, CLASSES)) as temporary, open(temporary, 'wb') as file:
            file.write(b''.join(os.fsencode(name) + b'\n' for name in class_names))
    flush(part.name)
    os.rename(part.name, rec)
    flush(os.path.dirname(os.path.abspath(rec)))
    os.unlink(part.name + '.json')


class _Packing:
    """A record file in progress; the first ``position`` images of the order are done."""

    def __init__(self, images: ImageFiles, order: np.ndarray, settings: PackSettings,
                 part: BinaryIO) -> None:
        self.images = images
        self.order = order
        self.settings = settings
        self.part = part
        self.position = 0
        self.checksums = array.array('I')

    def resume_or_begin(self, journal: str, bad: BadImages) -> None:
        """Continue the file of an earlier run with the same input, or else begin with an empty file."""
        description = self._description()
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if read_text(journal) == description and self._resume(bad):
                print_to_stderr(f'resuming after {self.position} images')
                return
        self.part.truncate(0)
        self.position = 0
        self.checksums = array.array('I')
        write_text(journal, description)

    def _description(self) -> str:
        """Return a fingerprint of the input, as JSON; a run resumes another only if the two are equal."""
        import PIL
        images = hashlib.sha256()
        for index in self.order.tolist():
            images.update(b'%s\0%d\0' % (os.fsencode(self.images.name(index)), self.images.labels[index]))
        return json.dumps({'settings': self.settings._asdict(), 'classes': [*self.images.class_names],
                           'images': images.hexdigest(), 'pillow': PIL.__version__}, indent=1)

    def _resume(self, bad: BadImages) -> bool:
        """Continue after the last whole record; return False if an image left out earlier is now readable."""
        positions, end, self.checksums = self._written()
        self.part.truncate(end)
        self.position = positions[-1] + 1 if positions else 0
        for position in sorted(set(range(self.position)) - set(positions)):
            record, problem = self._record(position)
            if record is not None:
                return False
            bad.add([(int(self.order[position]), problem)])
        return True

    def _written(self) -> tuple[list[int], int, array.array[int]]:
        """Return the positions of the complete records in the file, where they end, and their checksums."""
        try:
            records = RecordFile(self.part.name)
            whole = len(records)
            try:
                records.payload(whole - 1)
            except BadImageError:  # cut off
                whole -= 1
            return ([records.image_id(index) for index in range(whole)], records.bounds[whole],
                    array.array('I', (zlib.crc32(records.record(index)) for index in range(whole))))
        except DataError:  # not even one whole record
            return [], 0, array.array('I')

    def write(self, workers: int, bad: BadImages) -> None:
        """Append the records of all remaining images."""
        from tqdm import tqdm
        remaining = range(self.position, len(self.order))
        with tqdm(total=len(self.order), initial=self.position, unit='images', disable=None) as bar:
            for position, (record, problem) in map_in_order(self._record, remaining, workers):
                if record is None:
                    bad.add([(int(self.order[position]), problem)])
                else:
                    self.part.write(record)
                    self.checksums.append(zlib.crc32(record))
                bar.update()
        self.part.flush()

    def _record(self, position: int) -> tuple[bytes | None, str]:
        """Return (the record of the image at a position in the order, ''), or (None, the reason)."""
        try:
            data, label = self.images.read(int(self.order[position]))
            image = decode(data)
        except BadImageError as error:
            return None, str(error)
        header = IMAGE.pack(0, label, position, 0)
        return pack_record(header + _recode(data, image, self.settings)), ''


def _recode(data: bytes, image: np.ndarray, settings: PackSettings) -> bytes:
    """Return the file to pack for the image file ``data``, whose pixels are ``image`` (H, W, 3)."""
    side = min(image.shape[:2])
    resize = settings.resize is not None and side > settings.resize
    lossless = settings.quality is None and not resize
    if lossless and data.startswith(KEPT):
        return data
    from PIL import Image
    pixels = Image.fromarray(image)
    if settings.resize is not None and resize:
        scale = settings.resize / side
        pixels = pixels.resize((round(pixels.width * scale), round(pixels.height * scale)),
                               Image.Resampling.BICUBIC)
    file = io.BytesIO()
    if lossless:  # a format that ImageRecordIter does not read
        pixels.save(file, 'PNG')
    else:
        pixels.save(file, 'JPEG', quality=settings.quality or QUALITY)
    return file.getvalue()
