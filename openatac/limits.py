"""Limits on flags and arguments, and checks of arguments."""
from __future__ import annotations

import math
import numbers
from typing import Any, NamedTuple

from openatac.errors import SettingError

FLOAT32_MIN, FLOAT32_MAX = 1.2e-38, 3.4e38  # of the normal float32 numbers, which MXNet's optimizers take

MAX_CLASSES = 2 ** 20   # outputs of a network
MAX_BLOCKS = 1000       # in one stage
MAX_CHANNELS = 2 ** 16
MAX_SIDE = 4096         # of an image, in pixels
MAX_BATCH = 2 ** 20     # images
INFERENCE_BATCH = 32    # images at a time, by default
TOP = 5                 # classes that are named for an image, by default
MIN_CROP_RATIO = 0.1    # the side of the centre crop, as a share of the short side
MAX_COUNT = 10 ** 6     # epochs, batches, rounds and other counts
MAX_IMAGES = 10 ** 9    # in a data set
MAX_SECONDS = 86400     # a day
MAX_SEED = 2 ** 31 - 1
MAX_PORT = 2 ** 16 - 1


class Bounds(NamedTuple):
    """``low`` <= x <= ``high`` and ``above`` < x < ``below``; None for no limit."""

    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None

    def hold(self, value: float) -> bool:
        """Return whether the value is within the limits."""
        return ((self.low is None or value >= self.low) and (self.high is None or value <= self.high)
                and (self.above is None or value > self.above) and (self.below is None or value < self.below))

    def __str__(self) -> str:
        limits = {'at least': self.low, 'above': self.above, 'at most': self.high, 'below': self.below}
        return ' and '.join(f'{relation} {limit}' for relation, limit in limits.items() if limit is not None)


def check_whole(name: str, value: Any, low: int, high: int) -> None:
    """Raise SettingError unless the argument ``name`` is a whole number from ``low`` to ``high``."""
    if not _is_whole(value, low, high):
        raise SettingError(name, f'{name} must be a whole number from {low} to {high}, not {value!r}')


def check_odd(name: str, value: Any) -> None:
    """Raise SettingError unless the argument ``name`` is odd and can be the side of a window."""
    if not _is_whole(value, 1, MAX_SIDE) or value % 2 == 0:
        raise SettingError(name, f'{name} must be an odd number from 1 to {MAX_SIDE - 1}, not {value!r}')


def check_number(name: str, value: Any, meaning: str = '', **limits: float) -> None:
    """Raise SettingError unless the argument ``name`` is a finite number within the `Bounds`."""
    bounds = Bounds(**limits)
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or not (
            math.isfinite(value) and bounds.hold(float(value))):
        called = f'{name} ({meaning})' if meaning else name
        raise SettingError(name, f'{called} must be {f"a number {bounds}".strip()}, not {value!r}')


def check_counts(name: str, values: Any, length: int, high: int) -> None:
    """Raise SettingError unless ``values`` are ``length`` whole numbers from 1 to ``high``."""
    if isinstance(values, str) or not hasattr(values, '__len__') or len(values) != length:
        raise SettingError(name, f'{name} must be {length} whole numbers, not {values!r}')
    for value in values:
        if not _is_whole(value, 1, high):
            raise SettingError(name, f'each of {name} must be a whole number from 1 to {high}, not {value!r}')


def _is_whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and low <= int(value) <= high
