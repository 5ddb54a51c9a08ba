"""Pack a folder of images into a record file, or check a record file.

The command writes OUT.rec and, next to it, OUT.idx (the index), OUT.classes (the names of the classes) and
OUT.crc32: a CRC-32 checksum of each record, which lets training and --check detect records that have changed
since. --check reads and decodes every record of OUT.rec, and reports any problems.

FOLDER has a subfolder for each class. Sorted by name, or as numbers if all names are numbers, the classes get
the labels 0, 1, ... FOLDER can also be Tiny ImageNet's val/, which contains val_annotations.txt.

LIST (.lst, .csv or .txt) has a file and its label on each line; a .lst file has the format of MXNet's im2rec.
ILSVRC's ground truth, a number on each line, needs the devkit's meta.mat next to it or --class-list.

JPEG and PNG files are copied unchanged, and other formats become PNG files with the same pixels, unless
--resize or --quality makes them JPEG files. If a run is interrupted, the same command resumes it and produces
the same files.
"""
from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from openatac.commands.shared.catalogue import command_parser
from openatac.console.log import log_to
from openatac.console.program import INTERRUPTED
from openatac.data.archives import is_archive_name
from openatac.data.images.bad_images import BAD_SHARE
from openatac.data.images.class_names import read_class_list
from openatac.data.images.folder import ImageFolder
from openatac.data.images.image_files import ImageFiles
from openatac.data.images.listed import ImageList, list_in
from openatac.data.records.check import check_records
from openatac.data.records.pack import PackSettings, pack
from openatac.errors import FlagError, UsageError
from openatac.files.writing import check_prefix
from openatac.limits import MAX_NUMPY_SEED, MAX_PACKED_SIDE, MAX_WORKERS
from openatac.options.command_line import flag_of, naming
from openatac.options.flag_types import number
from openatac.system.cores import allowed_processors


def main(argv: Sequence[str]) -> int:
    """Run ``openatac pack``; see the module."""
    args = _parse(argv)
    if args.check:
        checked = check_records(args.source, args.out, args.workers)
        print(f'{args.source}: {checked.records} records, {checked.labels} labels'
              f'{_of_classes(checked.classes)}, {checked.bad} bad')
        return 1 if checked.bad else 0
    log_to()  # reports skipped files
    settings = PackSettings(args.resize, args.quality, args.shuffle)
    try:
        packed = pack(_images(args), args.out, settings, args.workers, args.max_bad_share)
    except KeyboardInterrupt:
        print('interrupted: the same command resumes from here', file=sys.stderr)
        return INTERRUPTED
    if packed:
        print(f'{args.out}.rec: {packed.image_count} images{_of_classes(packed.class_count)}, '
              f'{packed.bad_count} left out')
    return 0


def _of_classes(count: int | None) -> str:
    return f' of {count} classes' if count else ''  # a list without class names has none


def _images(args: argparse.Namespace) -> ImageFiles:
    names = read_class_list(args.class_list) if args.class_list else None
    root, labels = (args.root, args.source) if args.root else (args.source, list_in(args.source))
    if labels:
        return ImageList(root, labels, class_names=names, numbered=names)
    return ImageFolder(root, class_names=names)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    p = command_parser('pack', __doc__, usage=(
        '%(prog)s [options] FOLDER OUT\n'
        '       %(prog)s [options] LIST OUT --root FOLDER\n'
        '       %(prog)s --check [-j N] OUT.rec [OUT.idx]'))
    p.add_argument('source', metavar='FOLDER',
                   help='a folder with a subfolder for each class, or a list of images')
    p.add_argument('out', metavar='OUT', nargs='?', help='the name of the files to write, without .rec')
    p.add_argument('--root', metavar='FOLDER', help='the folder of the images that LIST names')
    p.add_argument('--class-list', metavar='FILE',
                   help='names of the classes in the order of the labels (default: sorted)')
    p.add_argument('--resize', type=number(int, low=1, high=MAX_PACKED_SIDE), metavar='N',
                   help='shrink the short side to N pixels if it is longer')
    p.add_argument('--quality', type=number(int, low=1, high=100), metavar='Q',
                   help='recompress all images as JPEG of this quality (1 to 100)')
    p.add_argument('--shuffle', type=number(int, low=0, high=MAX_NUMPY_SEED), metavar='SEED',
                   help='shuffle the images with this seed (default: sorted by class)')
    # Unlike in training, 1 is allowed: it packs whatever can be read.
    p.add_argument('--max-bad-share', type=number(float, low=0, high=1), default=BAD_SHARE, metavar='S',
                   help='fail if more than this share of the images, and more than one, cannot be read '
                        '(default: %(default)s)')
    p.add_argument('-j', type=number(int, low=1, high=MAX_WORKERS), default=len(allowed_processors()),
                   metavar='N', dest='workers',
                   help='number of images to process at a time (default: one per processor)')
    p.add_argument('--check', action='store_true', help='check a record file instead')
    args = p.parse_args(argv)
    for flag in ('root', 'class_list', 'resize', 'quality', 'shuffle') if args.check else ():
        if getattr(args, flag) is not None:
            raise FlagError(flag_of(flag), 'it is for packing; leave it out')
    if not args.check:
        if not args.out:
            raise UsageError('give the folder of images and the file to write')
        if is_archive_name(args.source):
            raise FlagError('FOLDER', f'{args.source} is an archive; unpack it and give the folder')
        if os.path.isfile(args.source) and not args.root:
            raise FlagError('--root', f'it must name the folder of the images that {args.source} lists')
        with naming('OUT'):
            check_prefix(args.out)
    return args
