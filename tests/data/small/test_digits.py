"""The digits are complete, split by class without overlap, and shaped for the networks."""
import sys

import numpy as np
import pytest

from openatac.data.small.digits import load_digits
from openatac.errors import DataError


def test_split_is_complete_disjoint_and_stratified():
    datasets = pytest.importorskip('sklearn.datasets')
    parts = [load_digits(train=True), load_digits(train=False)]
    assert [len(part.labels) for part in parts] == [1437, 360]
    levels = np.concatenate([part.images[:, 0, ::4, ::4] for part in parts]).reshape(1797, 64)
    original = datasets.load_digits()
    expected = np.rint(original.data * 255 / 16)
    labelled = np.column_stack([np.concatenate([part.labels for part in parts]), levels])
    assert sorted(map(tuple, labelled)) == sorted(map(tuple, np.column_stack([original.target, expected])))
    shares = [np.bincount(part.labels) / len(part.labels) for part in parts]
    assert np.abs(shares[0] - shares[1]).max() < 0.005


def test_split_equals_the_documented_one():
    pytest.importorskip('sklearn')
    assert load_digits(train=False).labels[:12].tolist() == [7, 6, 3, 7, 7, 3, 2, 8, 9, 3, 2, 6]


def test_images_are_grey_squares_of_full_range():
    pytest.importorskip('sklearn')
    digits = load_digits()
    assert digits.images.shape == (1437, 3, 32, 32)
    assert digits.images.dtype == np.uint8 and digits.labels.dtype == np.int32
    assert (digits.images.min(), digits.images.max()) == (0, 255)
    assert (digits.images == digits.images[:, :1]).all()
    squares = digits.images.reshape(1437, 3, 8, 4, 8, 4)
    assert (squares == squares[:, :, :, :1, :, :1]).all()
    assert digits.class_names == tuple('0123456789')
    assert digits.mirror is False


def test_missing_scikit_learn_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, 'sklearn', None)
    with pytest.raises(DataError, match=r"pip install 'openatac\[demo\]'"):
        load_digits()
