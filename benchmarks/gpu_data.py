"""CIFAR-10 in one file of under 60 MB, to take to another machine, and out of it again.

    python benchmarks/gpu_data.py pack SOURCE FOLDER

SOURCE is what train_cifar.py's --data-dir reads, whose images become JPEG files of quality 75, or an
existing cifar10_jpeg.npz, whose JPEG files are kept. For each split, that file holds the concatenated JPEG
files, their offsets and the labels. `unpack FOLDER TARGET` writes the data set's own binary files.
"""
import argparse
import io
import os
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # nothing needs to be installed

from openatac.data.images.decoding import decode
from openatac.data.small.cifar import load_cifar
from openatac.data.small.cifar_layouts import CIFAR_DATASETS, class_names
from openatac.errors import OpenatacError

ARCHIVE, QUALITY = 'cifar10_jpeg.npz', 75
FILES = CIFAR_DATASETS['cifar10'].binary


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('what', choices=('pack', 'unpack'))
    p.add_argument('source', metavar='SOURCE')
    p.add_argument('folder', metavar='FOLDER')
    p.add_argument('--images', type=int, help='unpack this many of each split (default: all)')
    args = p.parse_args()
    os.makedirs(args.folder, exist_ok=True)
    try:
        if args.what == 'pack':
            pack(args.source, args.folder)
        else:
            unpack(args.source, args.folder, args.images)
    except (OSError, ValueError, KeyError, OpenatacError) as error:
        sys.exit(f'error: {args.source} cannot be {args.what}ed: {error}')


def pack(source, folder):
    """Write the archive to ``folder``."""
    path = os.path.join(folder, ARCHIVE)
    arrays = read(source) if source.endswith('.npz') else encoded(source)
    np.savez(path, **arrays)
    print(f'{path}: {len(arrays["train_label"])} training and {len(arrays["test_label"])} test images, '
          f'{os.path.getsize(path) / 1e6:.1f} MB')


def encoded(source):
    """Return {name: array} of the archive for the images that --data-dir would read."""
    arrays = {'classes': np.array(class_names('cifar10'))}
    for split, train in (('train', True), ('test', False)):
        images = load_cifar('cifar10', source, train=train)
        files = [jpeg(image.transpose(1, 2, 0)) for image in images.images]
        arrays.update({split + '_jpeg': np.frombuffer(b''.join(files), np.uint8),
                       split + '_offset': np.cumsum([0, *map(len, files)]), split + '_label': images.labels})
    return arrays


def jpeg(pixels):
    from PIL import Image
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'JPEG', quality=QUALITY)
    return file.getvalue()


def unpack(folder, target, count=None):
    """Write the first ``count`` images of each split as CIFAR-10's binary files."""
    arrays = read(os.path.join(folder, ARCHIVE))
    for split, names in (('train', FILES.train), ('test', FILES.test)):
        offsets = arrays[split + '_offset']
        files = [arrays[split + '_jpeg'][start:stop].tobytes()
                 for start, stop in zip(offsets[:-1][:count], offsets[1:])]
        pixels = np.stack([decode(file).transpose(2, 0, 1).reshape(-1) for file in files])
        labels = arrays[split + '_label'][:count, None].astype(np.uint8)
        for name, records in zip(names, np.array_split(np.concatenate([labels, pixels], axis=1), len(names))):
            records.tofile(os.path.join(target, name))


def read(path):
    """Return {name: array} of an archive; KeyError or ValueError if it is another file."""
    with np.load(path) as archive:
        arrays = dict(archive)
    for split in ('train', 'test'):
        labels, offsets = arrays[split + '_label'], arrays[split + '_offset']
        if len(offsets) != len(labels) + 1 or offsets[-1] != arrays[split + '_jpeg'].size:
            raise ValueError(f'its {split}ing images and labels do not fit')
    return arrays


if __name__ == '__main__':
    main()
