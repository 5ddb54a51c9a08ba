"""The built-in data sets: their names, classes and network outputs, and where and how their images are read.

In exports and reports, names include the label set if it is CIFAR-100's superclasses: 'cifar100-coarse'.
NumPy and the readers are imported only to read, since every command that trains names these data sets.
"""
from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Literal

from openatac.data.small.cifar_layouts import CIFAR_DATASETS, class_names

if TYPE_CHECKING:
    from openatac.data.small.image_set import ImageSet

_COARSE = '-coarse'


class BuiltInDataset(abc.ABC):
    """A built-in data set; ``label_set`` is 'fine', or for CIFAR-100 also 'coarse'.

    Attributes
    ----------
    outputs : int
        The outputs of a network for it.
    can_load_in_thread : bool
        Whether `load` may run beside a thread that imports MXNet.
    """

    outputs: int
    can_load_in_thread: bool = True

    @abc.abstractmethod
    def class_names(self, label_set: str) -> list[str]:
        """Return the names of the classes, one per network output."""

    @abc.abstractmethod
    def load(self, folder: str | None, label_set: str, *, train: bool, url: str | None = None,
             progress: bool = False) -> ImageSet:
        """Return the training or the test images; the parameters are those of `load_cifar`."""

    def missing_from(self, folder: str | None) -> str | None:
        """Return the place where the images should be but are not; None if they are on this machine."""
        return None


class _Cifar(BuiltInDataset):
    def __init__(self, name: str) -> None:
        self.name = name
        self.outputs = len(class_names(name))

    def class_names(self, label_set: str) -> list[str]:
        names = class_names(self.name, label_set)
        # The published script trains 20 superclasses under 100 outputs.
        return names + [f'unused {index}' for index in range(len(names), self.outputs)]

    def load(self, folder: str | None, label_set: str, *, train: bool, url: str | None = None,
             progress: bool = False) -> ImageSet:
        from openatac.data.small.cifar import load_cifar
        return load_cifar(self.name, folder, train=train, label_set=label_set, url=url, progress=progress)

    def missing_from(self, folder: str | None) -> str | None:
        from openatac.data.small.cifar_location import find_cifar, gluon_folder
        return None if find_cifar(self.name, folder) else folder or gluon_folder(self.name)


class _Digits(BuiltInDataset):
    """The digits, which scikit-learn brings along."""

    outputs = 10
    can_load_in_thread = False  # scikit-learn and MXNet must not import SciPy at the same time

    def class_names(self, label_set: str) -> list[str]:
        from openatac.data.small.digits import CLASSES
        return [*CLASSES]

    def load(self, folder: str | None, label_set: str, *, train: bool, url: str | None = None,
             progress: bool = False) -> ImageSet:
        from openatac.data.small.digits import load_digits
        return load_digits(train=train)


BUILT_IN_DATASETS: dict[str, BuiltInDataset] = {
    **{name: _Cifar(name) for name in CIFAR_DATASETS}, 'digits': _Digits()}
NAMES_WITH_LABELS = (*BUILT_IN_DATASETS, 'cifar100' + _COARSE)
SmallDatasetName = Literal['cifar10', 'cifar100', 'digits', 'folder']  # these and your own images


def name_with_labels(dataset: str, label_set: str) -> str:
    """Return the name of a data set, with a suffix if its labels are superclasses: 'cifar100-coarse'."""
    return dataset + _COARSE if (dataset, label_set) == ('cifar100', 'coarse') else dataset


def split_name(name: str) -> tuple[str, str]:
    """Return (data set, label set) for one of `NAMES_WITH_LABELS`."""
    dataset = name.removesuffix(_COARSE)
    return dataset, 'fine' if dataset == name else 'coarse'
