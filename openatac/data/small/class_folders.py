"""Read images of any size from class folders into memory, all at one size."""
from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from openatac.data.archives import File, list_briefly, open_files
from openatac.data.images.archived import ArchivedFolder
from openatac.data.images.bad_images import BAD_SHARE, BadImages
from openatac.data.images.decoding import decode
from openatac.data.images.folder import ImageFolder
from openatac.data.images.image_files import ImageFiles
from openatac.data.images.image_paths import EXTENSIONS
from openatac.data.images.resizing import resize_exactly
from openatac.data.images.source import BadImageError, ImageSource
from openatac.data.small.image_set import ImageSet
from openatac.data.threads import map_in_order
from openatac.errors import DataError
from openatac.system.cores import allowed_processors

TRAINING_FOLDERS, TEST_FOLDERS = ('train',), ('test', 'val')  # the names they may have


@contextlib.contextmanager
def open_split(path: str, class_names: Sequence[str] | None = None, *, train: bool) -> Iterator[ImageFiles]:
    """Open the training or test images of ``path/train/CLASS/*`` and ``path/test/CLASS/*``.

    Parameters
    ----------
    path : str
        A folder, or an archive of one.
    class_names : sequence of str, optional
        The classes 0, 1, ...; by default all class folders, sorted (numerically if all names are numbers).
    train : bool

    Raises
    ------
    DataError
        If there are no such images, or the classes are not ``class_names``.
    """
    if os.path.isdir(path):
        yield find_split(path, {}, class_names, train=train)
    else:
        with open_files(path, ()) as files:
            yield find_split(path, files, class_names, train=train)


def find_split(path: str, files: Mapping[str, File], class_names: Sequence[str] | None = None, *, train: bool
               ) -> ImageFiles:
    """Return the images of `open_split`; ``files`` are the open files of an archive."""
    names = TRAINING_FOLDERS if train else TEST_FOLDERS
    if not os.path.isdir(path):
        inside = find_in_archive(files, names)
        if inside is None:
            raise _not_understood(path, names, {name.split('/')[0] for name in files})
        return ArchivedFolder(files, inside, class_names)
    for name in names:
        if os.path.isdir(os.path.join(path, name)):
            return ImageFolder(os.path.join(path, name), class_names=class_names)
    raise _not_understood(path, names, os.listdir(path))


def find_in_archive(paths: Iterable[str], names: Iterable[str]) -> str | None:
    """Return the folder with the first of these names in an archive, at its top or one folder below."""
    folders: set[str] = set()
    for path in paths:
        *enclosing, _ = path.split('/')
        folders.update('/'.join(enclosing[:depth]) for depth in (1, 2) if depth <= len(enclosing))
    shortest_first = sorted(folders, key=lambda folder: (len(folder), folder))
    return next((folder for name in names for folder in shortest_first if folder.split('/')[-1] == name),
                None)


def _not_understood(path: str, names: Iterable[str], found: Iterable[str]) -> DataError:
    return DataError(
        f'{path} has no folder {" or ".join(names)}, but {list_briefly(found)}: it needs train/CLASS/'
        f' and test/CLASS/ (or val) with images whose names end in {", ".join(EXTENSIONS)}, or an archive '
        '(tar, tar.gz, zip) of these')


def load_class_folders(path: str, side: int, class_names: Sequence[str] | None = None,
                       max_bad_share: float = BAD_SHARE, *, train: bool) -> ImageSet:
    """Return the training or test images of `open_split`, resized to (side, side)."""
    with open_split(path, class_names, train=train) as source:
        return read_images(source, side, source.class_names, max_bad_share)


def read_images(source: ImageSource, side: int, class_names: Sequence[str],
                max_bad_share: float = BAD_SHARE) -> ImageSet:
    """Read and decode all images of a source, and resize them to (side, side).

    Unreadable images are named in the log and left out. Raises DataError if there are too many.
    """
    bad = BadImages(source, max_bad_share)
    order = source.reading_order
    pixels = np.empty((len(source), 3, side, side), np.uint8)
    labels = np.full(len(source), -1, np.int32)

    def prepare(index: int) -> str:
        try:
            data, label = source.read(index)
            pixels[index] = resize_exactly(decode(data), side, side).transpose(2, 0, 1)
        except BadImageError as error:
            return str(error)
        labels[index] = label
        return ''

    workers = len(allowed_processors()) if order is None else 1
    for index, reason in map_in_order(prepare, order or range(len(source)), workers):
        if reason:
            bad.add([(index, reason)])
    names = tuple(source.name(index) for index in np.flatnonzero(labels >= 0))
    if bad.count:
        pixels, labels = pixels[labels >= 0], labels[labels >= 0]
    return ImageSet(pixels, labels, tuple(class_names), names=names, left_out=bad.count)
