"""Pack a folder of images into a record file, and check record files.

An interrupted packing resumes when it is started again: it writes OUT.rec.part and, next to it,
OUT.rec.part.json, which describes what is being packed. Each record's id is its image's position in the
order, so the next run knows where to continue. Files get their names without .part once everything is
written, the record file last.
"""
import array
import collections
import contextlib
import functools
import hashlib
import io
import itertools
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO, NamedTuple, Optional, TypeVar

import numpy as np

from openatac.console.streams import print_to_stderr
from openatac.console.text import for_terminal
from openatac.data.photos.bad_images import MAX_BAD_SHARE, BadImage, BadImages
from openatac.data.photos.codec import decode
from openatac.data.photos.folder import ImageFiles
from openatac.data.photos.records import (
    IMAGE,
    RecordFile,
    beside,
    index_beside,
    pack_record,
)
from openatac.errors import DataError
from openatac.files.locks import locked
from openatac.files.reading import read_text
from openatac.files.writing import flush, replace_file, write_text

QUALITY = 95  # of images that must be recompressed, as in MXNet's im2rec
KEPT = b'\xff\xd8', b'\x89PNG'  # the first bytes of files that ImageRecordIter reads unchanged

Item = TypeVar('Item')
Result = TypeVar('Result')


class PackSettings(NamedTuple):
    """The settings that, with the images, determine the content of a record file.

    Attributes
    ----------
    resize : int, optional
        Pixels of the short side, if it is longer.
    quality : int, optional
        JPEG quality, 1 to 100, at which all images are recompressed.
    shuffle : int, optional
        Seed of the order; without it images are sorted by class.
    """

    resize: Optional[int] = None
    quality: Optional[int] = None
    shuffle: Optional[int] = None


UNCHANGED = PackSettings()  # unchanged images, sorted by class


class Packed(NamedTuple):
    """The result of a packing: images, their classes, and how many bad images it left out."""

    images: int
    classes: int
    bad: int


def pack(images: ImageFiles, out: str, settings: PackSettings = UNCHANGED, workers: int = 1,
         max_bad_share: float = MAX_BAD_SHARE) -> Optional[Packed]:
    """Write out.rec, out.idx, out.classes and out.crc32.

    Parameters
    ----------
    images : ImageFiles
        Such as an `ImageFolder`.
    out : str
        The name of the files, without the extension.
    settings : PackSettings
    workers : int
        How many images are processed at a time.
    max_bad_share : float
        A larger share of images that cannot be read is an error.

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
            raise DataError(f'the name of the class folder {name!r} has a line break in it: rename it')
    order = np.arange(len(images))
    if settings.shuffle is not None:
        order = np.random.RandomState(settings.shuffle).permutation(len(images))
    bad = BadImages(images, max_bad_share, named=len(images))
    try:
        with locked(rec + '.part') as part:
            packing = _Packing(images, order, settings, part)
            _resume_or_begin(packing, journal, bad)
            packing.write(workers, bad)
            _finish(out, part, images.class_names, packing.checksums)
    except BlockingIOError:
        raise DataError(f'another run is writing {rec}.part: wait for it, or choose another name') from None
    except OSError as error:
        raise DataError(f'cannot write {error.filename or rec} ({error.strerror}): fix that and give the '
                        'same command again, which resumes from here') from error
    return Packed(len(images) - bad.count, len(images.class_names), bad.count)


def _resume_or_begin(packing: '_Packing', journal: str, bad: BadImages) -> None:
    """Continue an earlier run's file if it packed the same, or else begin with an empty file."""
    description = json.dumps(packing.description(), indent=1)
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if read_text(journal) == description and packing.resume(bad):
            print_to_stderr(f'resuming after {packing.position} images')
            return
    packing.begin()
    write_text(journal, description)


def _finish(out: str, part: BinaryIO, class_names: Sequence[str], checksums: Iterable[int]) -> None:
    """Write the other files, and give the record file its name."""
    rec, records = out + '.rec', RecordFile(part.name)
    keys = [records.image_id(index) for index in range(len(records))]
    write_text(out + '.idx', ''.join(f'{key}\t{offset}\n' for key, offset in zip(keys, records.bounds)))
    write_text(beside(rec, '.crc32'), ''.join(
        f'{key}\t{checksum:08x}\n' for key, checksum in zip(keys, checksums)))
    if class_names:
        with replace_file(beside(rec, '.classes')) as temporary, open(temporary, 'wb') as file:
            file.write(b''.join(os.fsencode(name) + b'\n' for name in class_names))
    flush(part.name)
    os.rename(part.name, rec)
    flush(os.path.dirname(os.path.abspath(rec)))
    os.unlink(part.name + '.json')


class _Packing:
    """A record file that is being written; the first ``position`` images of the order are done."""

    def __init__(self, images: ImageFiles, order: np.ndarray, settings: PackSettings,
                 part: BinaryIO) -> None:
        self.images, self.order, self.settings, self.part = images, order, settings, part
        self.position, self.checksums = 0, array.array('I')

    def description(self) -> dict[str, Any]:
        """Return what another run must have in common with this one to continue its file."""
        import PIL
        names = hashlib.sha256()
        for index in self.order.tolist():
            names.update(os.fsencode(self.images.name(index)) + b'\0')
        return {'settings': self.settings._asdict(), 'classes': len(self.images.class_names),
                'images': names.hexdigest(), 'pillow': PIL.__version__}

    def begin(self) -> None:
        """Begin with an empty file."""
        self.part.truncate(0)
        self.position, self.checksums = 0, array.array('I')

    def resume(self, bad: BadImages) -> bool:
        """Continue after the last whole record; return False if an image left out then can be read now."""
        places, end, self.checksums = self._written()
        self.part.truncate(end)
        self.position = places[-1] + 1 if places else 0
        for place in sorted(set(range(self.position)) - set(places)):
            record, reason = self.record(place)
            if record is not None:
                return False
            bad.add([(int(self.order[place]), reason)])
        return True

    def _written(self) -> tuple[list[int], int, 'array.array[int]']:
        """Return the places of the complete records in the file, where they end, and their checksums."""
        try:
            records = RecordFile(self.part.name)
            whole = len(records)
            try:
                records.payload(whole - 1)
            except BadImage:  # cut off
                whole -= 1
            return ([records.image_id(index) for index in range(whole)], records.bounds[whole],
                    array.array('I', (zlib.crc32(records.record(index)) for index in range(whole))))
        except DataError:  # not even one
            return [], 0, array.array('I')

    def write(self, workers: int, bad: BadImages) -> None:
        """Append the records of all remaining images."""
        from tqdm import tqdm
        remaining = range(self.position, len(self.order))
        with tqdm(total=len(self.order), initial=self.position, unit='images', disable=None) as bar:
            for place, (record, reason) in _map_in_order(self.record, remaining, workers):
                if record is None:
                    bad.add([(int(self.order[place]), reason)])
                else:
                    self.part.write(record)
                    self.checksums.append(zlib.crc32(record))
                bar.update()
        self.part.flush()

    def record(self, place: int) -> tuple[Optional[bytes], str]:
        """Return (the record of the image at a place in the order, ''), or (None, why there is none)."""
        try:
            data, label = self.images.read(int(self.order[place]))
            image = decode(data)
        except BadImage as error:
            return None, str(error)
        header = IMAGE.pack(0, label, place, 0)
        return pack_record(header + _recode(data, image, self.settings)), ''


def _recode(data: bytes, image: np.ndarray, settings: PackSettings) -> bytes:
    """Return the file to pack for the image file ``data``, which decodes to ``image`` (H, W, 3)."""
    height, width = image.shape[:2]
    smaller = settings.resize is not None and min(height, width) > settings.resize
    if data.startswith(KEPT) and settings.quality is None and not smaller:
        return data
    from PIL import Image
    picture = Image.fromarray(image)
    if settings.resize is not None and smaller:
        scale = settings.resize / min(height, width)
        picture = picture.resize((round(width * scale), round(height * scale)), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    picture.save(file, 'JPEG', quality=settings.quality or QUALITY)
    return file.getvalue()


# -------------------------------------------------------------------------------- checking

class Checked(NamedTuple):
    """The result of a check: records, labels in use, the expected classes, and bad records."""

    records: int
    labels: int
    classes: Optional[int]
    bad: int


def check_records(rec: str, idx: Optional[str] = None, workers: int = 1) -> Checked:
    """Read and decode all records of a file, and print a line for each that is bad.

    Parameters
    ----------
    rec : str
    idx : str, optional
        Its index; by default the one next to the file, if there is one.
    workers : int
        How many records are checked at a time.

    Raises
    ------
    DataError
        If it is not a record file, or the index belongs to another file.
    """
    from tqdm import tqdm
    if os.path.isdir(rec):
        raise DataError(f'{rec} is a folder: --check reads the record file that was packed from one')
    records = RecordFile(rec, idx or index_beside(rec))
    labels, bad = set(), 0
    check = functools.partial(_check_record, records)
    with tqdm(total=len(records), unit='images', disable=None) as bar:
        for index, (label, problem) in _map_in_order(check, range(len(records)), workers):
            labels.add(label)
            if problem:
                bad += 1
                bar.write(for_terminal(f'{records.name(index)}: {problem}'))
            bar.update()
    return Checked(len(records), len(labels - {None}), records.classes, bad)


def _check_record(records: RecordFile, index: int) -> tuple[Optional[int], Optional[str]]:
    """Return (the label of a record or None, what is wrong with it or None)."""
    try:
        data, label = records.read(index)
    except (BadImage, DataError) as error:
        return None, str(error)
    try:
        decode(data)
    except BadImage as error:
        return label, str(error)
    return label, None


def _map_in_order(function: Callable[[Item], Result], items: Iterable[Item],
                  workers: int) -> Iterator[tuple[Item, Result]]:
    """Yield (item, function(item)) for each item in order, computed a little ahead by threads.

    Threads are enough, as decoding and compressing release Python's lock.
    """
    ahead: collections.deque[tuple[Item, Any]] = collections.deque()
    remaining = iter(items)
    with ThreadPoolExecutor(workers) as threads:
        try:
            while True:
                for item in itertools.islice(remaining, 4 * workers + 1 - len(ahead)):
                    ahead.append((item, threads.submit(function, item)))
                if not ahead:
                    return
                item, future = ahead.popleft()
                yield item, future.result()
        finally:
            threads.shutdown(cancel_futures=True)
