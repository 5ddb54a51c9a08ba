"""The split of training images by class."""
import numpy as np
import pytest

from openatac.data.sampling import split_by_class
from openatac.errors import DataError


def test_split_is_stratified_and_uses_every_image_once():
    labels = np.random.RandomState(0).permutation([0] * 100 + [1] * 50 + [2] * 7 + [3] * 2 + [4])
    training, validation = split_by_class(labels, 0.1, 0)
    assert np.bincount(labels[validation], minlength=5).tolist() == [10, 5, 1, 1, 0]
    assert sorted([*training, *validation]) == list(range(len(labels)))
    assert np.bincount(labels[split_by_class(labels, 0.9, 0)[0]]).tolist() == [10, 5, 1, 1, 1]


def test_split_depends_on_its_seed_alone():
    labels = np.arange(200) % 10
    first, again, other = (split_by_class(labels, 0.2, seed)[1].tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_images_of_unknown_class_go_to_training():
    training, _ = split_by_class(np.array([-1, 0, 0, -1]), 0.5, 0)
    assert {0, 3} < set(training.tolist())


def test_class_with_one_image_cannot_be_split():
    with pytest.raises(DataError, match='--val-split'):
        split_by_class(np.arange(5), 0.5, 0)
