"""Batches to train small networks on, and the difference between what they have learned."""
import numpy as np


def batch(images=16, seed=0):
    """Return random images (N, 3, 32, 32) and labels of ten classes."""
    random = np.random.RandomState(seed)
    return random.randn(images, 3, 32, 32).astype('float32'), random.randint(0, 10, images)


def relative_difference(found, expected, floor=1e-3):
    """Return the largest difference between arrays of the same name, relative to their largest numbers.

    Parameters
    ----------
    found, expected : {name: array}
    floor : float
        What arrays of smaller numbers are relative to.
    """
    assert found.keys() == expected.keys()
    assert all(found[name].shape == array.shape for name, array in expected.items())
    return np.max([np.abs(found[name] - array).max() / max(np.abs(array).max(), floor)
                   for name, array in expected.items()])  # nan if there is one, unlike Python's max()
