"""Images in a folder with one subfolder per class, like unpacked ImageNet."""
from __future__ import annotations

import errno
import functools
import logging
import os
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from openatac.data.images.class_names import check_case, in_order
from openatac.data.images.image_files import ImageFiles
from openatac.data.images.image_paths import EXTENSIONS, list_images
from openatac.errors import DataError, reason
from openatac.files.reading import opening

log = logging.getLogger('openatac')


class ImageFolder(ImageFiles):
    """The images of ``root/CLASS/NAME`` and ``root/CLASS/FOLDER/NAME``.

    Parameters
    ----------
    root : str
    classes : int, optional
        The required number of classes.
    class_names : sequence of str, optional
        The classes 0, 1, ...; by default all subfolders, sorted (numerically if all names are numbers).

    Raises
    ------
    DataError
        If the folder is missing or has no images, a class is empty, or the classes are not the required ones.
    """

    def __init__(self, root: str, classes: int | None = None,
                 class_names: Sequence[str] | None = None) -> None:
        present = class_folders(root, warn=True)
        if not present and list_images(root, levels=1)[0]:
            raise DataError(f'{root} has images but no class folders: put them into CLASS/, or list their '
                            'labels in a file (--train-labels and --val-labels of train-imagenet, LIST and '
                            '--root of pack)')
        names = present if class_names is None else tuple(class_names)
        check_same_classes(names, present, root)
        if classes is not None:
            check_class_count(root, names, classes)
        images, skipped = [], 0
        for name in names:
            of_class, others = list_images(os.path.join(root, name))
            images.append(of_class)
            skipped += others
        if not any(images):
            raise DataError(f'{root} has no images: it needs subfolders, one for each class, with files '
                            f'whose names end in {", ".join(EXTENSIONS)}')
        for name, of_class in zip(names, images):
            if not of_class:
                raise DataError(f'the class {name!r} of {root} has no images: add some, or remove its folder')
        if skipped:
            _report_skipped(root, skipped)
        # Names without class folders: checkpoints identify a data set by the fingerprint of these names.
        below = np.array([name for of_class in images for name in of_class])
        labels = np.repeat(np.arange(len(names), dtype=np.int32), [len(of_class) for of_class in images])
        super().__init__(root, below, labels, names)

    def name(self, index: int) -> str:
        """Return the path of image ``index``, relative to the root."""
        return os.path.join(self.class_names[self._labels[index]], super().name(index))


@functools.cache  # some commands read a folder twice
def _report_skipped(root: str, count: int) -> None:
    log.info('%s: skipped %d files that are not images', root, count)


def check_same_classes(names: Collection[str], present: Collection[str], root: str) -> None:
    """Raise DataError unless the classes ``present`` in the folder ``root`` are the listed ``names``."""
    if set(names) != set(present):
        check_case(present, names, root, 'the class list')
        name = min(set(names) ^ set(present))
        places = 'the class list or the other split', root
        here, there = places if name in names else places[::-1]
        raise DataError(f'the class {name!r} is in {here} but not in {there}: make the two match')


def check_class_count(root: str, names: Sequence[str], classes: int) -> None:
    """Raise DataError unless the folder ``root`` has as many classes as the network."""
    if len(names) != classes:
        raise DataError(f'{root} has {len(names)} classes (subfolders), but the network has {classes}: make '
                        'them equal, or give the number with --num-classes')


def class_folders(root: str, warn: bool = False) -> tuple[str, ...]:
    """Return the names of the subfolders, in class order.

    Hidden folders and circular symbolic links are left out; with ``warn``, the links are logged.
    """
    if os.path.isfile(root):
        raise DataError(f'{root} is a file: unpack it if it is an archive, and give a folder')
    with opening(f'the image folder {root}'), os.scandir(root) as entries:
        return in_order(entry.name for entry in entries if entry.name[0] != '.' and _is_class(entry, warn))


def _is_class(entry: os.DirEntry[str], warn: bool) -> bool:
    try:
        if not entry.is_dir():
            return False
        if entry.is_symlink():
            target, root = (os.path.realpath(path) for path in (entry.path, os.path.dirname(entry.path)))
            if Path(root).is_relative_to(target):
                raise OSError(errno.ELOOP, 'it links to a folder that contains it')
        return True
    except OSError as error:
        if warn:
            log.warning('left out %s: %s', entry.path, reason(error))
        return False
