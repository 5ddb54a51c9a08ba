"""The built-in data sets: their classes, and where and how their images are read.

Their names and numbers of outputs are in `openatac.data.small.dataset_names`, which needs no NumPy.
"""
from __future__ import annotations

import abc

from openatac.data.small import cifar, digits
from openatac.data.small.cifar_location import find_cifar, gluon_folder
from openatac.data.small.dataset_names import DATASET_OUTPUTS
from openatac.data.small.image_set import ImageSet


class NamedDataset(abc.ABC):
    """A built-in data set; ``label_set`` is the kind of CIFAR-100's labels, 'fine' or 'coarse'."""

    can_load_in_thread: bool = True  # beside a thread that imports MXNet

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


class _Cifar(NamedDataset):
    def __init__(self, name: str) -> None:
        self.name = name

    def class_names(self, label_set: str) -> list[str]:
        names = cifar.class_names(self.name, label_set)
        # The published script trains 20 superclasses under 100 outputs.
        return names + [f'unused {index}' for index in range(len(names), DATASET_OUTPUTS[self.name])]

    def load(self, folder: str | None, label_set: str, *, train: bool, url: str | None = None,
             progress: bool = False) -> ImageSet:
        return cifar.load_cifar(self.name, folder, train=train, label_set=label_set, url=url,
                                progress=progress)

    def missing_from(self, folder: str | None) -> str | None:
        return None if find_cifar(self.name, folder) else folder or gluon_folder(self.name)


class _Digits(NamedDataset):
    """The digits, which scikit-learn brings along."""

    can_load_in_thread = False  # scikit-learn and MXNet must not import SciPy at the same time

    def class_names(self, label_set: str) -> list[str]:
        return [*digits.CLASSES]

    def load(self, folder: str | None, label_set: str, *, train: bool, url: str | None = None,
             progress: bool = False) -> ImageSet:
        return digits.load_digits(train=train)


NAMED_DATASETS: dict[str, NamedDataset] = {
    'cifar10': _Cifar('cifar10'), 'cifar100': _Cifar('cifar100'), 'digits': _Digits()}
