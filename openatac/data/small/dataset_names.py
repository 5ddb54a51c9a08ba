"""The names of the built-in data sets; in exports and reports they include the kind of CIFAR-100's labels.

`openatac.data.small.named_datasets` reads their images.
"""
from __future__ import annotations

from typing import Literal

IMAGE_SIDE = 32  # of their images, in pixels
DATASET_OUTPUTS = {'cifar10': 10, 'cifar100': 100, 'digits': 10}  # network outputs
DatasetName = Literal['cifar10', 'cifar100', 'digits', 'folder']  # to train on; folder is your own images
_COARSE = '-coarse'
NAMES_WITH_LABELS = (*DATASET_OUTPUTS, 'cifar100' + _COARSE)


def name_with_labels(dataset: str, cifar100_labels: str) -> str:
    """Return the name of a data set, with a suffix if its labels are superclasses: 'cifar100-coarse'."""
    return dataset + _COARSE if (dataset, cifar100_labels) == ('cifar100', 'coarse') else dataset


def split_name(name: str) -> tuple[str, str]:
    """Return (data set, kind of labels: 'coarse' or 'fine') for one of `NAMES_WITH_LABELS`."""
    dataset = name.removesuffix(_COARSE)
    return dataset, 'fine' if dataset == name else 'coarse'
