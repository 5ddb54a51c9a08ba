"""A folder of images packed into a record file, and record files checked.

    openatac pack FOLDER OUT              makes OUT.rec and, beside it, OUT.idx, OUT.classes and OUT.crc32
    openatac pack --check OUT.rec [IDX]   reads and decodes every record, and reports what is wrong

OUT.idx is the index, OUT.classes lists the classes and OUT.crc32 has a checksum of each record (CRC-32), by
which training and --check find any record that has changed since.

FOLDER has a subfolder per class; sorted by name they are the labels 0, 1, ... The bytes of JPEG and PNG
files are kept unless they are to be resized or compressed anew. A run that was stopped goes on where it
was when the same command is given again, and the files come out the same.
"""
import argparse
import array
import collections
import contextlib
import functools
import hashlib
import io
import json
import os
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from openatac.arguments import number
from openatac.console.text import for_terminal
from openatac.data.photos.bad_images import MAX_BAD_SHARE, BadImages
from openatac.data.photos.codec import decode
from openatac.data.photos.folder import ImageFolder
from openatac.data.photos.records import (
    IMAGE,
    BadRecord,
    RecordFile,
    checksum_list,
    class_list,
    index_beside,
    pack_record,
)
from openatac.errors import DataError
from openatac.files.locks import locked
from openatac.files.reading import read_text
from openatac.files.writing import check_prefix, flush, replace_file, write_text

QUALITY = 95  # of what must be compressed anew, as in MXNet's im2rec
KEPT = b'\xff\xd8', b'\x89PNG'  # how the files begin that ImageRecordIter reads as they are


def main(argv):
    """``openatac pack``; see the module."""
    p = argparse.ArgumentParser(prog='openatac pack', description=__doc__, usage=(
        '%(prog)s [options] FOLDER OUT\n       %(prog)s --check [-j N] OUT.rec [OUT.idx]'),
        formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('source', metavar='FOLDER', help='the folder of class folders')
    p.add_argument('out', metavar='OUT', nargs='?', help='what the files are called, without .rec')
    p.add_argument('--resize', type=number(int, low=1, high=2 ** 14), metavar='N',
                   help='make the short side N pixels where it is longer')
    p.add_argument('--quality', type=number(int, low=1, high=100), metavar='Q',
                   help='compress all images anew, as JPEG of this quality (1 to 100)')
    p.add_argument('--shuffle', type=number(int, low=0, high=2 ** 32 - 1), metavar='SEED',
                   help='mix the order of the images by this seed (default: by class)')
    p.add_argument('--max-bad-share', type=number(float, low=0, high=1), default=MAX_BAD_SHARE, metavar='S',
                   help='fail if more than this share of the images cannot be read (default: %(default)s)')
    p.add_argument('-j', type=number(int, low=1, high=1024), default=len(os.sched_getaffinity(0)),
                   metavar='N', dest='workers',
                   help='images to work on at a time (default: one per processor)')
    p.add_argument('--check', action='store_true', help='check a record file instead')
    args = p.parse_args(argv)
    if args.check:
        return check(args.source, args.out, args.workers)
    if not args.out:
        p.error('name the folder of images and the file to make')
    try:
        check_prefix(args.out)
    except ValueError as error:
        p.error(f'OUT: {error}')
    try:
        pack(args.source, args.out, Settings(args.resize, args.quality, args.shuffle), args.workers,
             args.max_bad_share)
    except KeyboardInterrupt:
        print('interrupted: the same command goes on from here', file=sys.stderr)
        return 130
    return 0


class Settings(collections.namedtuple('Settings', 'resize quality shuffle', defaults=(None, None, None))):
    """What the content of the record file depends on, besides the images; see the flags."""


# --------------------------------------------------------------------------------- packing

def pack(folder, out, settings=Settings(), workers=1, max_bad_share=MAX_BAD_SHARE):
    """Make out.rec, out.idx and out.classes.

    It writes out.rec.part, and beside it out.rec.part.json, which says what is being packed. Each record
    has its place in the order of images as its id, from which the next run knows where to go on. The
    names without .part appear when everything is written, that of the record file as the last.

    Raises DataError if there are no images, too many bad ones, or an out.rec already.
    """
    rec = out + '.rec'
    if os.path.lexists(rec) and not _stopped_at_the_end(rec):
        raise DataError('%s exists already: remove it, or choose another name' % rec)
    if os.path.lexists(rec):
        os.unlink(rec + '.part.json')
        return
    images = ImageFolder(folder)
    _check_names(images.class_names)
    order = np.arange(len(images))
    if settings.shuffle is not None:
        order = np.random.RandomState(settings.shuffle).permutation(len(images))
    bad = BadImages(images, max_bad_share, named=len(images))
    try:
        with _locked(rec + '.part') as part:
            work = _Packing(images, order, settings, part)
            _go_on_or_begin(work, rec + '.part.json', bad)
            work.write(workers, bad)
            _finish(out, part, images.class_names, work.checksums)
    except OSError as error:
        raise DataError('cannot write %s (%s): mend that and give the same command again, which goes on from '
                        'here' % (error.filename or rec, error.strerror)) from error
    print('%s: %d images of %d classes, %d left out' % (rec, len(images) - bad.count, len(images.class_names),
                                                        bad.count))


def _check_names(class_names):
    """DataError for a name that the list of the classes cannot hold, which has one on each line."""
    for name in class_names:
        if '\n' in name or '\r' in name:
            raise DataError('the name of the class folder %r has a line break in it: rename it' % name)


def _stopped_at_the_end(rec):
    """Whether an earlier run had only to tidy up."""
    return os.path.exists(rec + '.part.json') and not os.path.exists(rec + '.part')


@contextlib.contextmanager
def _locked(path):
    """The file, opened to read and append, for no one else."""
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(locked(path))
        except BlockingIOError:
            raise DataError('another run is making %s: wait for it, or choose another name' % path) from None
        yield file


def _go_on_or_begin(work, journal, bad):
    """Take up what an earlier run has left, if it was the same, or else begin with an empty file."""
    description = json.dumps(work.description(), indent=1)
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if read_text(journal) == description and work.take_up(bad):
            print('going on after %d images' % work.position, file=sys.stderr)
            return
    work.begin()
    write_text(journal, description)


def _finish(out, part, class_names, checksums):
    """Give the finished files their names."""
    rec, records = out + '.rec', RecordFile(part.name)
    keys = [records.image_id(index) for index in range(len(records))]
    write_text(out + '.idx', ''.join('%d\t%d\n' % pair for pair in zip(keys, records.bounds)))
    write_text(checksum_list(rec), ''.join('%d\t%08x\n' % pair for pair in zip(keys, checksums)))
    with replace_file(class_list(rec)) as temporary, open(temporary, 'wb') as handle:
        handle.write(b''.join(os.fsencode(name) + b'\n' for name in class_names))
    flush(part.name)
    os.rename(part.name, rec)
    flush(os.path.dirname(os.path.abspath(rec)))
    os.unlink(part.name + '.json')


class _Packing:
    """One record file in the making; ``position`` images of the order are dealt with."""

    def __init__(self, images, order, settings, part):
        self.images, self.order, self.settings, self.part = images, order, settings, part
        self.position, self.checksums = 0, array.array('I')

    def description(self):
        """What another run must have in common with this one to go on with its file."""
        import PIL
        names = hashlib.sha256()
        for index in self.order.tolist():
            names.update(os.fsencode(self.images.name(index)) + b'\0')
        return {'settings': self.settings._asdict(), 'classes': len(self.images.class_names),
                'images': names.hexdigest(), 'pillow': PIL.__version__}

    def begin(self):
        """Begin with an empty file."""
        self.part.truncate(0)
        self.position, self.checksums = 0, array.array('I')

    def take_up(self, bad):
        """Go on after the last whole record, if the images left out so far are still bad; else False."""
        places, end, self.checksums = self._written()
        self.part.truncate(end)
        self.position = places[-1] + 1 if places else 0
        for place in sorted(set(range(self.position)) - set(places)):
            record, reason = self.record(place)
            if record is not None:
                return False
            bad.add([(int(self.order[place]), reason)])
        return True

    def _written(self):
        """The places of the whole records in the file, where they end, and their checksums."""
        try:
            records = RecordFile(self.part.name)
            whole = len(records) - (not records.is_whole(len(records) - 1))
            return ([records.image_id(index) for index in range(whole)], records.bounds[whole],
                    array.array('I', (zlib.crc32(records.record(index)) for index in range(whole))))
        except DataError:  # not even one
            return [], 0, array.array('I')

    def write(self, workers, bad):
        """Append the records of all images that are left."""
        from tqdm import tqdm
        left = range(self.position, len(self.order))
        with tqdm(total=len(self.order), initial=self.position, unit='images', disable=None) as bar:
            for place, (record, reason) in _in_order(self.record, left, workers):
                if record is None:
                    bad.add([(int(self.order[place]), reason)])
                else:
                    self.part.write(record)
                    self.checksums.append(zlib.crc32(record))
                bar.update()
        self.part.flush()

    def record(self, place):
        """(the record of the image at a place of the order, None), or (None, why there is none)."""
        try:
            data, label = self.images.read(int(self.order[place]))
            image = decode(data)
        except BadRecord as error:
            return None, str(error)
        header = IMAGE.pack(0, label, place, 0)
        return pack_record(header + _recoded(data, image, self.settings)), None


def _recoded(data, image, settings):
    """The image file as it is to be packed; ``image`` is what it shows, (H, W, 3)."""
    height, width = image.shape[:2]
    smaller = settings.resize is not None and min(height, width) > settings.resize
    if data.startswith(KEPT) and settings.quality is None and not smaller:
        return data
    from PIL import Image
    picture = Image.fromarray(image)
    if smaller:
        scale = settings.resize / min(height, width)
        picture = picture.resize((round(width * scale), round(height * scale)), Image.BICUBIC)
    file = io.BytesIO()
    picture.save(file, 'JPEG', quality=settings.quality or QUALITY)
    return file.getvalue()


# -------------------------------------------------------------------------------- checking

def check(rec, idx=None, workers=1):
    """Read and decode all records, print what is wrong; 0 if nothing is, else 1.

    Without ``idx`` the index beside the file is used, if there is one. Raises DataError for a file
    that is no record file, and an index of another file.
    """
    from tqdm import tqdm
    if os.path.isdir(rec):
        raise DataError(f'{rec} is a folder: --check reads the record file that was made of one')
    records = RecordFile(rec, idx or index_beside(rec))
    labels, bad = set(), 0
    with tqdm(total=len(records), unit='images', disable=None) as bar:
        for index, (label, problem) in _in_order(functools.partial(_look_at, records), range(len(records)),
                                                 workers):
            labels.add(label)
            if problem:
                bad += 1
                bar.write(for_terminal('%s: %s' % (records.name(index), problem)))
            bar.update()
    labels.discard(None)
    print('%s: %d records, %d labels%s, %d bad' % (
        rec, len(records), len(labels), ' of %d classes' % records.classes if records.classes else '', bad))
    return 1 if bad else 0


def _look_at(records, index):
    """(the label of a record or None, what is wrong with it or None)."""
    try:
        data, label = records.read(index)
    except (BadRecord, DataError) as error:
        return None, str(error)
    try:
        decode(data)
    except BadRecord as error:
        return label, str(error)
    return label, None


def _in_order(function, items, workers):
    """Yield (item, function(item)) for each item in order; threads work a little ahead.

    Threads do, as decoding and compressing leave Python's lock to the others.
    """
    ahead = collections.deque()
    with ThreadPoolExecutor(workers) as threads:
        try:
            for item in items:
                ahead.append((item, threads.submit(function, item)))
                if len(ahead) > 4 * workers:
                    item, made = ahead.popleft()
                    yield item, made.result()
            while ahead:
                item, made = ahead.popleft()
                yield item, made.result()
        finally:
            for _, made in ahead:
                made.cancel()
