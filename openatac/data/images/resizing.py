"""Resize images, by OpenCV, NumPy or Pillow."""
from __future__ import annotations

import numpy as np

from openatac.data.images.opencv import find_opencv


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a uint8 (H, W, 3) image, or a part of one, to (height, width, 3) by bilinear interpolation."""
    cv2 = find_opencv()
    if cv2 is None:
        return _resize_like_opencv(image, height, width)
    return cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=cv2.INTER_LINEAR)


def resize_exactly(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a uint8 (H, W, 3) image to (height, width, 3), ignoring its aspect ratio.

    Each new pixel averages the area it covers (Pillow's BILINEAR). An image that already has the right size
    is unchanged.
    """
    from PIL import Image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


# Without OpenCV: the same pixels, which tests check, but slower. OpenCV resizes bytes in integers: along rows
# with weights of 11 bits, then along columns, dropping bits in between.

_ONE = np.float32(2 ** 11)  # a weight of 1


def _resize_like_opencv(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize uint8 (H, W, C) to (height, width, C), like cv2.resize with INTER_LINEAR."""
    if image.shape[:2] == (height, width):
        return image.copy()
    columns, shares = _positions(image.shape[1], width)
    shares[(columns < 0) | (columns >= image.shape[1] - 1)] = 0  # OpenCV does this only for columns
    left, right = _neighbours(image.astype('int32'), columns, shares[:, None], axis=1)
    rows, shares = _positions(image.shape[0], height)
    upper, lower = _neighbours((left + right) >> 4, rows, shares[:, None, None], axis=0)
    return (((upper >> 16) + (lower >> 16) + 2) >> 2).astype('uint8')


def _positions(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each of ``new`` pixels, the old pixel before its centre, and the weight of the next one."""
    centres = ((np.arange(new) + 0.5) * (1 / (new / old)) - 0.5).astype('float32')  # OpenCV's precision
    before = np.floor(centres)
    return before.astype(int), centres - before


def _neighbours(image: np.ndarray, before: np.ndarray, shares: np.ndarray, axis: int
                ) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels before and after each position, each times its weight; edges are repeated."""
    last = image.shape[axis] - 1
    first, second = (image.take((before + step).clip(0, last), axis) for step in (0, 1))
    return first * _weights(1 - shares), second * _weights(shares)


def _weights(shares: np.ndarray) -> np.ndarray:
    return np.rint(shares * _ONE).astype('int32')
