"""Sets of images for an exported network, with their labels where known."""
from __future__ import annotations

import abc
import contextlib
import os
from collections.abc import Sequence

import numpy as np

from openatac.data.images.class_names import match_classes, read_class_list, warn_if_sorted_as_text
from openatac.data.images.decoding import decode, decode_file
from openatac.data.images.folder import ImageFolder
from openatac.data.images.image_paths import find_images
from openatac.data.images.listed import ImageList
from openatac.data.images.source import ImageCollection, ImageSource
from openatac.data.records.record_file import RecordFile
from openatac.data.records.sidecar_files import index_beside, read_class_names
from openatac.data.small.built_in_datasets import BUILT_IN_DATASETS, split_name
from openatac.data.small.class_folders import open_split
from openatac.data.small.image_set import ImageSet
from openatac.errors import DataError
from openatac.trained.manifest import Manifest
from openatac.training.datasets.cifar import load_small_images
from openatac.training.datasets.imagenet import open_photos
from openatac.training.sections.cifar import CifarData
from openatac.training.sections.imagenet import ImagenetData


class InputImages(abc.ABC):
    """A set of images for an export, with or without labels."""

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def name(self, index: int) -> str:
        """Return the name of image ``index`` in messages."""

    @abc.abstractmethod
    def read(self, index: int) -> tuple[np.ndarray, int | None]:
        """Return (pixels, uint8 (H, W, 3), label) of image ``index``; BadImageError if it is unusable."""


class _UnlabelledFiles(InputImages):
    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        return self.paths[index]

    def read(self, index: int) -> tuple[np.ndarray, None]:
        return decode_file(self.paths[index]), None


class _SmallImages(InputImages):
    def __init__(self, images: ImageSet) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        return self.images.name(index)

    def read(self, index: int) -> tuple[np.ndarray, int]:
        return self.images.images[index].transpose(1, 2, 0), int(self.images.labels[index])


class _DecodedFiles(InputImages):
    """The images of ``source``, whose labels are indices into ``classes``."""

    def __init__(self, source: ImageSource, classes: Sequence[int]) -> None:
        self.source = source
        self.classes = classes

    def __len__(self) -> int:
        return len(self.source)

    def name(self, index: int) -> str:
        return self.source.name(index)

    def read(self, index: int) -> tuple[np.ndarray, int]:
        data, label = self.source.read(index)
        return decode(data), self.classes[label]


def from_folder(folder: str) -> InputImages:
    """Return the images below a folder, without labels; raise OpenatacError if there are none."""
    return _UnlabelledFiles(list(find_images([folder])))


def from_class_folders(folder: str, manifest: Manifest, other_names: Sequence[str] = ()) -> InputImages:
    """Return the images in a folder with one subfolder per class of a network.

    Subfolders are matched by class name (see `match_classes`). If the network's classes have no names, there
    must be one subfolder per class, in sorted order; otherwise DataError is raised.

    Parameters
    ----------
    folder : str
    manifest : Manifest
    other_names : sequence of str
        Other names of the classes, for images that do not have the network's own.
    """
    warn_if_sorted_as_text(manifest.labels, 'the network')
    return _matched(ImageFolder(folder), folder, manifest, other_names)


def _matched(source: ImageCollection, where: str, manifest: Manifest, other_names: Sequence[str]
             ) -> InputImages:
    """Return the images of a source with class names, matched with the classes of a network."""
    names = source.class_names
    known = manifest.labels if set(names or ()) <= set(manifest.labels) else other_names or manifest.labels
    if known and names:
        return _DecodedFiles(source, match_classes(names, known, where, 'the network'))
    if names and len(names) != manifest.classes:
        raise DataError(f'{where} has {len(names)} classes, but the network has {manifest.classes}: name '
                        "images of the network's classes")
    return _DecodedFiles(source, range(manifest.classes))


def from_list(folder: str, path: str, manifest: Manifest, class_list: str | None,
              other_names: Sequence[str] = ()) -> InputImages:
    """Return the images of a folder, labelled by the list ``path``; see `ImageList`.

    The file ``class_list`` gives the classes for the numbers in a list without file names. For
    ``other_names``, see `from_class_folders`.
    """
    numbered = read_class_list(class_list) if class_list else None

    def labelled(names: Sequence[str] | None) -> InputImages:
        return _DecodedFiles(ImageList(folder, path, manifest.classes, names, numbered),
                             range(manifest.classes))

    if manifest.labels and list(other_names) != manifest.labels:
        with contextlib.suppress(DataError):
            return labelled(manifest.labels)
    return labelled(other_names or manifest.labels or numbered)


def from_records(rec: str, manifest: Manifest, other_names: Sequence[str] = ()) -> InputImages:
    """Return the images of a record file, matched with the network's classes like `from_class_folders`."""
    names = read_class_names(rec, None)
    return _matched(RecordFile(rec, index_beside(rec), None if names else manifest.classes), rec, manifest,
                    other_names)


def from_dataset(dataset: str, folder: str | None, *, train: bool) -> InputImages:
    """Return training or test images of a data set; raise DataError if it is not in the folder.

    Parameters
    ----------
    dataset : str
        One of `openatac.data.small.built_in_datasets.NAMES_WITH_LABELS`.
    folder : str, optional
    train : bool
    """
    name, label_set = split_name(dataset)
    missing_from = BUILT_IN_DATASETS[name].missing_from(folder)
    if missing_from is not None:
        raise DataError(f'{name} is not in {missing_from}: give its folder or archive with --data-dir')
    return _SmallImages(BUILT_IN_DATASETS[name].load(folder, label_set, train=train))


def from_own_images(data: CifarData, *, train: bool) -> InputImages:
    """Return training or test images of --dataset folder, of any size; raise DataError if they are missing.

    Images from an archive are held in memory, at the network's size.
    """
    assert data.data_dir is not None and data.class_names is not None
    if not os.path.isdir(os.path.expanduser(data.data_dir)):
        return _SmallImages(load_small_images(data, train=train))
    with open_split(os.path.expanduser(data.data_dir), data.class_names, train=train) as source:
        return _DecodedFiles(source, range(len(data.class_names)))


def from_photos(data: ImagenetData, classes: int, *, train: bool) -> InputImages:
    """Return training or validation photographs of a run; raise DataError if they are missing."""
    return _DecodedFiles(open_photos(data, classes, train=train), range(classes))
