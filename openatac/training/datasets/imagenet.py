"""The photographs of a run of train_imagenet.py: class folders, lists or record files."""
from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from openatac.data.images.class_names import (
    check_case,
    match_classes,
    read_class_list,
    warn_if_sorted_as_text,
)
from openatac.data.images.decoding import decode
from openatac.data.images.folder import ImageFolder, class_folders
from openatac.data.images.listed import ImageList, list_in
from openatac.data.images.source import BadImageError, ImageCollection, ImageSource
from openatac.data.records.record_file import RecordFile
from openatac.data.records.sidecar_files import index_beside, read_class_names
from openatac.errors import DataError
from openatac.options.declaration import with_changes
from openatac.training.config import ImagenetConfig
from openatac.training.sections.imagenet import ImagenetData

log = logging.getLogger('openatac')


class _Paths(NamedTuple):
    """The paths of the training or the validation images.

    Attributes
    ----------
    folder, record_file : str
    record_index : str or None
    label_list : str or None
        A list of the images' labels; None if they are in class folders.
    """

    folder: str
    record_file: str
    record_index: str | None
    label_list: str | None


def _paths(data: ImagenetData, *, train: bool) -> _Paths:
    rec, index, label_list = ((data.rec_train, data.rec_train_idx, data.train_labels) if train else
                              (data.rec_val, data.rec_val_idx, data.val_labels))
    folder = os.path.join(os.path.expanduser(data.data_dir), 'train' if train else 'val')
    rec = os.path.expanduser(rec)
    index = index_beside(rec) if index is None else os.path.expanduser(index)
    label_list = list_in(folder) if label_list is None else os.path.expanduser(label_list)
    return _Paths(folder, rec, index, label_list)


def open_photos(data: ImagenetData, classes: int | None, *, train: bool) -> ImageCollection:
    """Open the training or the validation photographs; DataError if they are missing.

    Their classes are matched with the config's; see `match_classes`.
    """
    listed = _listed_classes(data)
    names = data.class_names or listed
    folder, record_file, record_index, label_list = _paths(data, train=train)
    if data.use_rec:
        return RecordFile(record_file, record_index, classes, names)
    _check_layout(data.data_dir, folder)
    if label_list:
        if names is None and data.train_labels is None:  # the training images have a folder for each class
            names = class_folders(_paths(data, train=True).folder)
        return ImageList(folder, label_list, classes, names, listed)
    if names and listed is None:
        folders = class_folders(folder)
        match_classes(folders, names, folder, 'the training images')
        if not set(folders) <= set(names):  # all names differ
            names = None
    return ImageFolder(folder, classes, names)


def _check_layout(data_dir: str, folder: str) -> None:
    if os.path.isfile(os.path.expanduser(data_dir)):
        raise DataError(f'--data-dir {data_dir} is a file: unpack it, and give the folder that contains '
                        'train/ and val/')
    if not os.path.isdir(folder):
        raise DataError(f'--data-dir {data_dir} has no folder {os.path.basename(folder)}/: it needs train/ '
                        'and val/, each with a folder of photographs for each class, or with a list of '
                        'labels (--train-labels, --val-labels); record files need --use-rec')


def _listed_classes(data: ImagenetData) -> Sequence[str] | None:
    """Return the classes of --class-list; the config of a run keeps them if the file is gone."""
    if data.class_list is None:
        return None
    path = os.path.expanduser(data.class_list)
    return data.class_names if data.class_names and not os.path.exists(path) else read_class_list(path)


def _warn_of_number_order(names: Sequence[str], folder: str) -> None:
    """Warn if the order of the classes depends on whether their names are taken as numbers or as text."""
    if list(names) != sorted(names):
        log.warning('%s: the class folders are sorted as numbers (%s, ...); for a network that was trained '
                    'with them sorted as text (%s, ...), give that order with --class-list',
                    folder, ', '.join(names[:3]), ', '.join(sorted(names)[:3]))


def with_classes(config: ImagenetConfig) -> ImagenetConfig:
    """Return the config with the class names and, unless given, --num-classes set to their number."""
    names = config.data.class_names or class_names(config.data, train=not config.start.evaluate)
    if not names:
        return config
    return with_changes(config, class_names=list(names), num_classes=config.network.num_classes or len(names))


def class_names(data: ImagenetData, *, train: bool) -> Sequence[str] | None:
    """Return the classes of the training or the validation images; None if the files do not name them.

    Without a list of labels, it does not search for the images, which takes long for ImageNet. It warns if
    the order of the classes may be unexpected.
    """
    paths = _paths(data, train=train)
    try:
        listed = _listed_classes(data)
        if data.use_rec:
            if listed is None:
                listed = read_class_names(paths.record_file, None)
                warn_if_sorted_as_text(listed or (), paths.record_file)
        elif paths.label_list:
            return open_photos(data, None, train=train).class_names
        elif listed is None:
            listed = class_folders(paths.folder)
            _warn_of_number_order(listed, paths.folder)
        return listed
    except DataError:  # raised again when the images are needed, after the other checks
        return None


def first_readable(source: ImageSource) -> np.ndarray:
    """Return the pixels, uint8 (H, W, 3), of the first photograph that can be read; DataError if none can."""
    for index in range(len(source)):
        with contextlib.suppress(BadImageError):
            return decode(source.read(index)[0])
    raise DataError('none of the photographs can be read')


def open_both_splits(data: ImagenetData, classes: int) -> tuple[ImageCollection, ImageCollection]:
    """Open the training and the validation photographs; DataError if their classes differ."""
    training = open_photos(data, classes, train=True)
    validation = open_photos(data, classes, train=False)
    names, others = training.class_names, validation.class_names
    check_case(names, others, 'the training set', 'the validation set')
    if names and others and tuple(names) != tuple(others):
        one, other = next(pair for pair in zip(names, others) if pair[0] != pair[1])
        raise DataError(f'the training and the validation set have different classes, such as {one!r} and '
                        f'{other!r}: make them the same, or give their order with --class-list')
    return training, validation
