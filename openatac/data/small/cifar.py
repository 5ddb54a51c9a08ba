"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009, https://www.cs.toronto.edu/~kriz/cifar.html).

Both are published in two forms, binary records and Python pickles, each in an archive. Archives and
unpacked folders of both forms, and the copies described in `openatac.data.small.cifar_copies`, are read in
place, and missing data is downloaded. A binary record has the label bytes (one for CIFAR-10; the superclass,
then the class for CIFAR-100) and 3,072 bytes of pixels: the red, the green and the blue plane, 32 rows of
32 each.
"""
from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from openatac.data import archives
from openatac.data.archives import File, open_files
from openatac.data.small.cifar_copies import archive_has_copy, read_copy
from openatac.data.small.cifar_layouts import CIFAR_DATASETS, IMAGE_SIDE, MD5, CifarDataset, LabelSet, Layout
from openatac.data.small.cifar_location import download_cifar, find_cifar, not_understood
from openatac.data.small.image_set import ImageSet
from openatac.data.small.plain_pickle import read_plain_pickle
from openatac.errors import DataError
from openatac.files.reading import MEGABYTE

SHAPE = (3, IMAGE_SIDE, IMAGE_SIDE)
PIXELS = math.prod(SHAPE)
CIFAR_TRAINING_IMAGES, CIFAR_TEST_IMAGES = 50000, 10000

log = logging.getLogger('openatac')


def load_cifar(name: str, folder: str | None = None, *, train: bool = True, label_set: str = 'fine',
               url: str | None = None, progress: bool = False) -> ImageSet:
    """Return the training or the test images of CIFAR-10 or CIFAR-100.

    Parameters
    ----------
    name : str
        'cifar10' or 'cifar100'.
    folder : str, optional
        A folder with the .bin files, the Python files, the published folders, a copy (see
        `openatac.data.small.cifar_copies`) or archives; or the path of an archive. Binary folders are
        preferred, then Python folders, copies and archives. The default is Gluon's folder, as
        `openatac.data.small.cifar_location.gluon_folder` returns it. Missing data is downloaded there, or to
        a folder that is missing or empty.
    train : bool
        Return the 50,000 training images of the published files if true, the 10,000 test images if false.
    label_set : str
        'fine', or for CIFAR-100 also 'coarse', the 20 superclasses.
    url : str, optional
        The web folder of the archive; by default ``$OPENATAC_DATA_URL`` or else the data set's
        home.
    progress : bool
        Show a bar while downloading.

    Returns
    -------
    ImageSet
        uint8 images (N, 3, 32, 32), for binary files a view into their records, and labels (N,).

    Raises
    ------
    DataError
        If the data is missing and cannot be downloaded, is damaged or does not match its name.
    """
    dataset = CIFAR_DATASETS.get(name)
    if dataset is None:
        raise DataError(f'there is no data set {name!r}; choose one of: {", ".join(CIFAR_DATASETS)}')
    if label_set not in dataset.label_sets:
        raise DataError(f'{name} has no {label_set!r} labels; choose one of: {", ".join(dataset.label_sets)}')
    path = find_cifar(name, folder) or download_cifar(name, folder, url, progress)
    with open_files(path, MD5.values()) as files:
        found = {os.path.basename(file): content for file, content in files.items()}
        layout = next((layout for layout in dataset.layouts if set(layout.files) & set(found)), None)
        if layout is not None:
            images = ImageSet(*_read(dataset, layout, found, path, label_set, train=train),
                              _class_names(found, dataset.label_sets[label_set]))
        elif os.path.isdir(path) or archive_has_copy(files):
            images = read_copy(path, files, dataset, label_set, train=train)
        else:
            raise not_understood(name, path, {file.split('/')[0] for file in files})
    published = CIFAR_TRAINING_IMAGES if train else CIFAR_TEST_IMAGES
    if len(images) != published:
        log.info('%s has %d %s images of %s instead of %d', path, len(images),
                 'training' if train else 'test', name, published)
    return images


# ---------------------------------- contents of files: uint8 (N, 3, 32, 32) and int32 (N,)

def _read(dataset: CifarDataset, layout: Layout, files: dict[str, File], path: str, label_set: str, *,
          train: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the images, and their labels of one set."""
    names = layout.train if train else layout.test
    for name in names:
        if name not in files:
            raise DataError(f'{path} lacks the file {name}: download the data set again')
    read = _read_binary if layout is dataset.binary else _read_python
    return read(dataset, files, names, label_set)


def _read_binary(dataset: CifarDataset, files: dict[str, File], names: Sequence[str],
                 label_set: str) -> tuple[np.ndarray, np.ndarray]:
    head = len(dataset.label_sets)
    counts = [_count_records(files[name], head + PIXELS) for name in names]
    records = np.empty((sum(counts), head + PIXELS), np.uint8)
    parts = dict(zip(names, np.split(records, np.cumsum(counts)[:-1])))
    for name, file in files.items():  # in the order of an archive
        if name not in parts:
            continue
        part = parts[name]
        with file.open() as stream:
            if stream.readinto(part.reshape(-1)) != part.size:
                raise DataError(f'{file.name} ends before its {part.size} bytes')
        for column, stored in enumerate(dataset.label_sets.values()):
            _check_labels(part[:, column], stored, file)
    column = list(dataset.label_sets).index(label_set)
    return records[:, head:].reshape(-1, *SHAPE), records[:, column].astype(np.int32)


def _count_records(file: File, record: int) -> int:
    """Return the number of records of ``record`` bytes in the file."""
    count, extra = divmod(file.size, record)
    limit = archives.MAX_ARCHIVE_BYTES
    if file.size > limit:
        raise DataError(f'{file.name} is larger than the limit of {limit // MEGABYTE} MB')
    if not file.size:
        raise DataError(f'{file.name} is empty')
    if extra:
        raise DataError(f'{file.name} is not a whole number of records of {record} bytes ({extra} bytes are '
                        'left over); is it truncated, or from another data set?')
    return count


def _read_python(dataset: CifarDataset, files: dict[str, File], names: Sequence[str],
                 label_set: str) -> tuple[np.ndarray, np.ndarray]:
    batches = {name: _read_batch(file, dataset.label_sets[label_set])
               for name, file in files.items() if name in names}
    images, labels = zip(*(batches[name] for name in names))
    return np.concatenate(images), np.concatenate(labels)


def _read_batch(file: File, label_set: LabelSet) -> tuple[np.ndarray, np.ndarray]:
    with file.open() as stream:
        batch = read_plain_pickle(stream.read(), file.name)
    if not isinstance(batch, dict):
        raise DataError(f'{file.name} is not a dictionary')
    batch = {key.decode('latin-1') if isinstance(key, bytes) else key: value for key, value in batch.items()}
    images = batch.get('data')
    labels = _as_array(batch.get(label_set.key))
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != (PIXELS,):
        raise DataError(f"{file.name} has no 'data' of uint8 (N, {PIXELS})")
    if labels.dtype.kind not in 'iu' or labels.shape != images.shape[:1] or not len(labels):
        raise DataError(f'{file.name} has no {label_set.key!r}, one for each of its {len(images)} images')
    _check_labels(labels, label_set, file)
    return images.reshape(-1, *SHAPE), labels.astype(np.int32)


def _as_array(labels: Any) -> np.ndarray:
    """Return the labels of a Python file, published as a list of integers; empty for anything else."""
    if isinstance(labels, list) and all(type(label) is int for label in labels):
        return np.array(labels)
    return labels if isinstance(labels, np.ndarray) else np.empty(0)


def _check_labels(labels: np.ndarray, label_set: LabelSet, file: File) -> None:
    """Raise DataError for a label that is not a class: the records then belong to another data set."""
    wrong = np.flatnonzero((labels < 0) | (labels >= len(label_set.class_names)))
    if len(wrong):
        raise DataError(f'record {wrong[0]} of {file.name} has the label {labels[wrong[0]]}, but classes go '
                        f'from 0 to {len(label_set.class_names) - 1}; is the file from another data set?')


def _class_names(files: dict[str, File], label_set: LabelSet) -> tuple[str, ...]:
    """Return the class names as listed next to the images, or as published."""
    if label_set.listing not in files:
        return label_set.class_names
    listing = files[label_set.listing]
    with listing.open() as stream:
        names = tuple(stream.read().decode('utf-8', 'replace').split())
    if len(names) != len(label_set.class_names):
        raise DataError(f'{listing.name} lists {len(names)} classes instead of {len(label_set.class_names)}')
    return names
