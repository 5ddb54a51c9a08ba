"""scikit-learn's handwritten digits as small colour images: a data set that needs no download."""
from typing import Any

import numpy as np

from openatac.data.small.image_set import ImageSet
from openatac.errors import DataError
from openatac.system.optional_packages import pip_install

TRAINING_IMAGES, TEST_IMAGES = 1437, 360
CLASSES = tuple('0123456789')


def load_digits(train: bool = True) -> ImageSet:
    """Return the training or the test part of the 1,797 digits that scikit-learn includes.

    The 8x8 grey levels 0..16 become 0..255 (rounded), each pixel becomes a 4x4 square, and the three colour
    planes are equal, so CIFAR networks accept these images unchanged.

    Parameters
    ----------
    train : bool
        Return the 1,437 training images if true, the 360 test images if false. The split is scikit-learn's
        ``train_test_split`` by class with ``random_state=0``, the same on every machine.

    Returns
    -------
    ImageSet
        uint8 (N, 3, 32, 32), 10 classes; ``mirror`` is false, since a mirrored 2 is not a 2.

    Raises
    ------
    DataError
        If scikit-learn is not installed.
    """
    try:
        from sklearn import datasets
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise DataError(f'the digits come with scikit-learn, which cannot be imported ({error}): run '
                        f'{pip_install("scikit-learn")}') from error
    digits: Any = datasets.load_digits()
    split = train_test_split(np.arange(len(digits.target)), test_size=TEST_IMAGES,
                             stratify=digits.target, random_state=0)
    chosen = split[0 if train else 1]
    levels = np.rint(digits.images[chosen] * (255 / 16)).astype(np.uint8)
    planes = levels.repeat(4, axis=1).repeat(4, axis=2)[:, None].repeat(3, axis=1)
    return ImageSet(planes, digits.target[chosen].astype(np.int32), CLASSES, mirror=False)
