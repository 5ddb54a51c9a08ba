"""The data sets that have names, which say the labels of CIFAR-100 too in exports and reports."""
from __future__ import annotations

IMAGE_SIDE = 32  # pixels of their images
DATASET_OUTPUTS = {'cifar10': 10, 'cifar100': 100, 'digits': 10}  # of a network for each
DIGITS = tuple('0123456789')  # the classes of the digits
_COARSE = '-coarse'
DATASET_NAMES = (*DATASET_OUTPUTS, 'cifar100' + _COARSE)


def name_with_labels(dataset: str, cifar100_labels: str) -> str:
    """Return the name of a data set with its labels if they are the superclasses: 'cifar100-coarse'."""
    return dataset + _COARSE if (dataset, cifar100_labels) == ('cifar100', 'coarse') else dataset


def split_name(name: str) -> tuple[str, str]:
    """Return (data set, its labels, 'coarse' or 'fine') of one of `DATASET_NAMES`."""
    dataset = name.removesuffix(_COARSE)
    return dataset, 'fine' if dataset == name else 'coarse'
