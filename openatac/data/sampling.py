"""Choose images: a held-out validation part, or an evenly spread sample."""
from __future__ import annotations

import numpy as np

from openatac.errors import DataError


def split_by_class(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split images at random into a training and a validation part.

    Every class with two or more images appears in both.

    Parameters
    ----------
    labels : numpy.ndarray
        (N,) The class of each image; images of unknown class, -1, go to the training part.
    share : float
        The share of each class to hold out, rounded to whole images; at least one, but not all.
    seed : int

    Returns
    -------
    training, validation : numpy.ndarray
        Ascending indices.

    Raises
    ------
    DataError
        If no class has two images.
    """
    held_out = np.zeros(len(labels), bool)
    for label in np.unique(labels[labels >= 0]).tolist():
        members = np.flatnonzero(labels == label)
        count = min(max(1, round(share * len(members))), len(members) - 1)
        held_out[np.random.RandomState([seed, label]).permutation(members)[:count]] = True
    if not held_out.any():
        raise DataError('no class has two training images to divide between training and validation: leave '
                        '--val-split out')
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def evenly_spread(total: int, count: int | None) -> list[int]:
    """Return ``count`` evenly spread indices of ``total`` images; all of them for None."""
    count = min(count or total, total)
    return [total * index // count for index in range(count)]
