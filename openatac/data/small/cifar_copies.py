"""Copies of CIFAR in today's usual forms: folders of images, train/CLASS/*.png, and parquet files.

CIFAR-100 can also have superclass folders, train/SUPERCLASS/CLASS/*.png. A parquet file has a column of image
files and columns of labels, and a name that contains train or test.
"""
from __future__ import annotations

import contextlib
import io
import logging
import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from openatac.data.archives import File, list_briefly
from openatac.data.images.class_names import check_case
from openatac.data.images.image_files import ImageFiles
from openatac.data.images.source import BadImageError, ImageSource
from openatac.data.small.cifar_layouts import IMAGE_SIDE, CifarDataset
from openatac.data.small.class_folders import (
    TEST_FOLDERS,
    TRAINING_FOLDERS,
    find_in_archive,
    find_split,
    read_images,
)
from openatac.data.small.image_set import ImageSet
from openatac.errors import DataError
from openatac.system.optional_packages import pip_install

PARQUET = '.parquet'
_IMAGE_COLUMNS = 'img', 'image'
# In the names of parquet files.
_TRAINING_WORD = re.compile('(?<![a-z])train(ing)?(?![a-z])')
_TEST_WORD = re.compile('(?<![a-z])(test(ing)?|val(idation)?)(?![a-z])')

log = logging.getLogger('openatac')


def has_copy(path: str, dataset: CifarDataset) -> bool:
    """Return whether a folder contains parquet files, or train or test folders with its classes."""
    class_names = {name for label_set in dataset.label_sets.values() for name in label_set.class_names}
    with contextlib.suppress(OSError):
        content = os.listdir(path)
        if any(name.endswith(PARQUET) for name in content):
            return True
        return any(not class_names.isdisjoint(os.listdir(os.path.join(path, name)))
                   for name in content if name in TRAINING_FOLDERS + TEST_FOLDERS)
    return False


def archive_has_copy(paths: Collection[str]) -> bool:
    """Return whether an archive with these files contains parquet files, or a train or test folder."""
    return any(name.endswith(PARQUET) for name in paths) or (
        find_in_archive(paths, TRAINING_FOLDERS + TEST_FOLDERS) is not None)


def read_copy(path: str, files: Mapping[str, File], dataset: CifarDataset, label_set: str, *, train: bool
              ) -> ImageSet:
    """Return the training or test images of a copy, in a folder or an archive.

    Parameters
    ----------
    path : str
    files : mapping
        Its files, from `openatac.data.archives.open_files`.
    dataset : CifarDataset
    label_set : str
        The labels to return, a key of ``dataset.label_sets``.
    train : bool

    Raises
    ------
    DataError
        If the path is not a copy of the data set, or is damaged.
    """
    class_names = dataset.label_sets[label_set].class_names
    tables = [name for name in sorted(files) if name.endswith(PARQUET)]
    source: ImageSource
    if tables:
        word = _TRAINING_WORD if train else _TEST_WORD
        of_split = [files[name] for name in tables if word.search(os.path.basename(name).lower())]
        if not of_split:
            raise DataError(f'{path} has {list_briefly(tables)} and no parquet file with '
                            f'{" or ".join(TRAINING_FOLDERS if train else TEST_FOLDERS)} in its name')
        column = f'{label_set}_label' if len(dataset.label_sets) > 1 else 'label'
        source = _Table(of_split, column, class_names)
    else:
        images = find_split(path, files, train=train)
        source = _Relabelled(images, _labels(images, path, class_names))
    return read_images(source, IMAGE_SIDE, class_names)


class _Relabelled:
    """An `ImageSource` with its labels replaced."""

    def __init__(self, source: ImageFiles, labels: Sequence[int]) -> None:
        self._source = source
        self._labels = labels
        self.reading_order = source.reading_order

    def __len__(self) -> int:
        return len(self._labels)

    def name(self, index: int) -> str:
        return self._source.name(index)

    def read(self, index: int) -> tuple[bytes, int]:
        return self._source.read(index)[0], self._labels[index]


def _labels(images: ImageFiles, path: str, class_names: Sequence[str]) -> list[int]:
    """Return each image's label, from the nearest enclosing folder with the name of a class."""
    index = {name: label for label, name in enumerate(class_names)}
    labels = []
    for number in range(len(images)):
        *folders, _ = PurePath(images.name(number)).parts
        label = next((index[folder] for folder in reversed(folders) if folder in index), None)
        if label is None:
            check_case(folders, class_names, path, 'CIFAR')
            place = os.path.join(images.root or path, images.name(number))
            raise DataError(f'{place} is not in a class folder, such as {class_names[0]} or '
                            f'{class_names[-1]}: choose other labels (--cifar100-labels) or another folder')
        labels.append(label)
    missing = [class_names[label] for label in sorted({*index.values()} - {*labels})]
    if missing:
        log.warning('%s has no images of %s', images.root or path, list_briefly(missing))
    return labels


class _Table:
    """An `ImageSource` for the rows of parquet files, whose ``column`` has the labels."""

    reading_order = None

    def __init__(self, files: Sequence[File], column: str, class_names: Sequence[str]) -> None:
        self._images: list[Any] = []
        self._names: list[str] = []
        self._labels: list[int] = []
        for file in files:
            images, labels = _read_columns(file, column)
            if not all(type(label) is int and 0 <= label < len(class_names) for label in labels):
                raise DataError(f'{file.name} has labels that are not whole numbers from 0 to '
                                f'{len(class_names) - 1}; is the file from another data set?')
            self._images += images
            self._names += [f'row {row} of {file.name}' for row in range(len(images))]
            self._labels += labels
        if not self._images:
            raise DataError(f'{files[0].name} has no rows')

    def __len__(self) -> int:
        return len(self._images)

    def name(self, index: int) -> str:
        return self._names[index]

    def read(self, index: int) -> tuple[bytes, int]:
        image = self._images[index]
        data = image.get('bytes') if isinstance(image, dict) else image
        if not isinstance(data, bytes):
            raise BadImageError('it has no bytes')
        return data, self._labels[index]


def _read_columns(file: File, label: str) -> tuple[list[Any], list[int]]:
    """Return the image and label columns of a parquet file."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(f'{file.name} needs pyarrow, which cannot be imported ({error}): run '
                        f'{pip_install("pyarrow")}') from error
    try:
        with file.open() as stream:
            table = parquet.read_table(io.BytesIO(stream.read()))
    except (pyarrow.ArrowException, ValueError) as error:
        raise DataError(f'{file.name} is not a complete parquet file ({error}); download it again'
                        ) from error
    image = next((column for column in _IMAGE_COLUMNS if column in table.column_names), None)
    if image is None or label not in table.column_names:
        raise DataError(f'{file.name} has the columns {", ".join(table.column_names)}, but needs '
                        f'{" or ".join(_IMAGE_COLUMNS)}, and {label}; is the file from another data set?')
    return table.column(image).to_pylist(), table.column(label).to_pylist()
