"""Change the brightness, contrast and saturation of photographs, and add noise, in place.

Without matrix products, since their last bits depend on the machine.
"""
from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

GREY = np.array([0.114, 0.587, 0.299], 'float32')  # weights of red, green, blue in the published pipeline


def change_colours(planes: np.ndarray, factors: Sequence[float], order: Sequence[int], noise: np.ndarray
                   ) -> None:
    """Change the colours of float32 (3, H, W) of 0 to 255, in place.

    Parameters
    ----------
    planes : float32 (3, H, W)
    factors : (3,)
        The factors of brightness, contrast and saturation.
    order : (3,)
        The order in which these are applied, as indices.
    noise : (3,)
        Added to red, green and blue.
    """
    for step in order:
        if factors[step] != 1:
            (_brightness, _contrast, _saturation)[step](planes, factors[step])
            _clip(planes)
    if noise.any():
        for plane, level in zip(planes, noise.tolist()):
            plane += np.float32(level)
        _clip(planes)


def _brightness(planes: np.ndarray, factor: float) -> None:
    planes *= np.float32(factor)


def _contrast(planes: np.ndarray, factor: float) -> None:
    """Move away from, or towards, the mean grey of the image."""
    mean = sum(float(weight) * float(plane.mean()) for weight, plane in zip(GREY, planes))
    planes *= np.float32(factor)
    planes += np.float32((1 - factor) * mean)


def _saturation(planes: np.ndarray, factor: float) -> None:
    """Move away from, or towards, each pixel's own grey."""
    grey = planes[0] * GREY[0]
    for weight, plane in zip(GREY[1:], planes[1:]):
        grey += plane * weight
    grey *= np.float32(1 - factor)
    planes *= np.float32(factor)
    planes += grey


def _clip(planes: np.ndarray) -> None:
    black, white = _limits(planes.shape)
    np.maximum(planes, black, out=planes)
    np.minimum(planes, white, out=planes)


@functools.lru_cache(maxsize=4)
def _limits(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return black and white planes: NumPy compares with an array five times as fast as with a number."""
    return np.zeros(shape, 'float32'), np.full(shape, 255, 'float32')
