"""The built-in data sets are declared once."""
from typing import get_args

import pytest

from openatac.data.small.built_in_datasets import (
    BUILT_IN_DATASETS,
    NAMES_WITH_LABELS,
    SmallDatasetName,
    split_name,
)


def test_train_cifar_trains_on_each_of_them_and_on_your_own_images():
    assert get_args(SmallDatasetName) == (*BUILT_IN_DATASETS, 'folder')


@pytest.mark.parametrize('name', NAMES_WITH_LABELS)
def test_each_output_has_a_name(name):
    dataset, label_set = split_name(name)
    names = BUILT_IN_DATASETS[dataset].class_names(label_set)
    assert len(set(names)) == len(names) == BUILT_IN_DATASETS[dataset].outputs
