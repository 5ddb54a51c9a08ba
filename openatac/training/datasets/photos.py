"""The photographs of a run of train_imagenet.py: class folders, lists or record files."""
from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Sequence

import numpy as np

from openatac.data.images.class_names import check_case, read_class_list, warn_if_sorted_as_text
from openatac.data.images.codec import decode
from openatac.data.images.folder import ImageFolder, class_folders
from openatac.data.images.listed import TINY_IMAGENET, ImageList
from openatac.data.images.source import BadImage, PhotoSet, PhotoSource
from openatac.data.records.record_file import RecordFile
from openatac.data.records.sidecar_files import index_beside, read_class_names
from openatac.errors import DataError
from openatac.options import changed
from openatac.training.config import ImagenetConfig
from openatac.training.sections.imagenet import ImagenetData

log = logging.getLogger('openatac')


def open_photos(data: ImagenetData, split: str, classes: int | None) -> PhotoSet:
    """Open the photographs of 'train' or 'val'; DataError if they are missing."""
    if data.use_rec:
        rec, index = _record_file(data, split), getattr(data, f'rec_{split}_idx')
        records = RecordFile(rec, index_beside(rec) if index is None else os.path.expanduser(index), classes)
        warn_if_sorted_as_text(records.class_names or (), rec)
        return records
    if os.path.isfile(os.path.expanduser(data.data_dir)):
        raise DataError(f'--data-dir {data.data_dir} is a file: unpack it, and give the folder that then has '
                        'train/ and val/')
    folder, labels = _folder(data, split), _label_list(data, split)
    names = listed = read_class_list(os.path.expanduser(data.class_list)) if data.class_list else None
    if not labels:
        images = ImageFolder(folder, classes, names)
        if names is None and split == 'val':
            _warn_of_number_order(images)
        return images
    if names is None and data.train_labels is None:  # the training images have a folder for each class
        names = class_folders(_folder(data, 'train'))
    return ImageList(folder, labels, classes, names, listed)


def _warn_of_number_order(images: ImageFolder) -> None:
    """Warn if the order of the classes depends on whether their names are taken as numbers or as text."""
    names = images.class_names
    if names != tuple(sorted(names)):
        log.warning('%s: the class folders are sorted as numbers (%s, ...); for a network that was trained '
                    'with them sorted as text (%s, ...), give that order with --class-list',
                    images.root, ', '.join(names[:3]), ', '.join(sorted(names)[:3]))


def _record_file(data: ImagenetData, split: str) -> str:
    return os.path.expanduser(getattr(data, 'rec_' + split))


def _folder(data: ImagenetData, split: str) -> str:
    return os.path.join(os.path.expanduser(data.data_dir), split)


def _label_list(data: ImagenetData, split: str) -> str | None:
    """Return the list of the images' labels; None if they are in class folders."""
    given = getattr(data, split + '_labels')
    if given is not None:
        return os.path.expanduser(given)
    default = os.path.join(_folder(data, split), TINY_IMAGENET)
    return default if os.path.isfile(default) else None


def with_classes(config: ImagenetConfig) -> ImagenetConfig:
    """Return the config with --num-classes, which is by default what the images have."""
    if config.network.num_classes is not None:
        return config
    split = 'val' if config.start.evaluate else 'train'
    return changed(config, num_classes=count_classes(config.data, split))


def count_classes(data: ImagenetData, split: str) -> int | None:
    """Return how many classes the images of 'train' or 'val' have; None if their files do not say it.

    It does not look for the images, which takes long for ImageNet and is done when they are needed.
    """
    names: Sequence[str] | None
    try:
        if data.use_rec:
            names = read_class_names(_record_file(data, split), None)
        elif _label_list(data, split):
            names = open_photos(data, split, None).class_names
        else:
            names = class_folders(_folder(data, split))
    except DataError:  # raised again when the images are needed, after the other checks
        return None
    return len(names) if names else None


def first_readable(source: PhotoSource) -> np.ndarray:
    """Return the pixels, uint8 (H, W, 3), of the first photograph that can be read; DataError if none can."""
    for index in range(len(source)):
        with contextlib.suppress(BadImage):
            return decode(source.read(index)[0])
    raise DataError('none of the photographs can be read')


def open_both_splits(data: ImagenetData, classes: int) -> tuple[PhotoSet, PhotoSet]:
    """Open the training and the validation photographs; DataError if their classes differ."""
    training, validation = (open_photos(data, split, classes) for split in ('train', 'val'))
    names, others = training.class_names or (), validation.class_names or ()
    check_case(names, others, 'the training set', 'the validation set')
    if names and others and tuple(names) != tuple(others):
        one, other = next(pair for pair in zip(names, others) if pair[0] != pair[1])
        raise DataError(f'the training and the validation set have different classes, such as {one!r} and '
                        f'{other!r}: make them the same, or give their order by --class-list')
    return training, validation
