"""The published transforms of CIFAR, applied to all small images, on whole uint8 batches.

Training images: zero-pad 4 pixels on each side, random 32x32 crop, random mirror. All images: divide by 255
and normalise by channel. The values are bit-identical to those of the published per-image transforms
(GluonCV's RandomCrop, Gluon's RandomFlipLeftRight, ToTensor, Normalize).
"""
from typing import NamedTuple

import numpy as np

PAD = 4
# Per channel, of pixels from 0 to 1.
MEAN_0_TO_1 = np.array([0.4914, 0.4822, 0.4465], 'float32').reshape(3, 1, 1)
STD_0_TO_1 = np.array([0.2023, 0.1994, 0.2010], 'float32').reshape(3, 1, 1)


class Choices(NamedTuple):
    """The random choices of one epoch; entry i of all but ``order`` belongs to image i of the data set.

    Attributes
    ----------
    order : int (N,)
        The images in the order of the epoch.
    top, left : int (N,)
        Corner of the crop in the padded image, from 0 to 2 * PAD.
    mirrored : bool (N,)
    """

    order: np.ndarray
    top: np.ndarray
    left: np.ndarray
    mirrored: np.ndarray


def draw_choices(count: int, seed: int, epoch: int, mirror: bool = True) -> Choices:
    """Draw the choices of one epoch over ``count`` images, which depend only on (seed, epoch).

    RandomState, unlike Generator, promises the same stream in every version of NumPy.
    """
    rng = np.random.RandomState([seed, epoch])
    order = rng.permutation(count)
    top, left = rng.randint(0, 2 * PAD + 1, (2, count))
    mirrored = rng.randint(0, 2, count).astype(bool) & mirror
    return Choices(order, top, left, mirrored)


def crop(images: np.ndarray, top: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Pad (B, 3, H, W) uint8 images with PAD zeros and crop them to H x W at (top, left), each (B,)."""
    batch, channels, height, width = images.shape
    padded = np.zeros((batch, channels, height + 2 * PAD, width + 2 * PAD), images.dtype)
    padded[:, :, PAD:-PAD, PAD:-PAD] = images
    windows = np.lib.stride_tricks.sliding_window_view(  # (B, 3, 2 * PAD + 1, 2 * PAD + 1, H, W)
        padded, (height, width), axis=(2, 3))  # type: ignore[call-overload]
    return windows[np.arange(batch), :, top, left]


def mirror(images: np.ndarray, mirrored: np.ndarray) -> None:
    """Flip left to right, in place, the images in (B, 3, H, W) where ``mirrored`` (B,) is true."""
    images[mirrored] = images[mirrored][..., ::-1]


def normalise(images: np.ndarray) -> np.ndarray:
    """Return (x / 255 - mean) / std as float32 for uint8 (B, 3, H, W), rounded in the published order."""
    values = np.divide(images, np.float32(255), dtype='float32')
    values -= MEAN_0_TO_1
    values /= STD_0_TO_1
    return values
