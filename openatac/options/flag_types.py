"""Argparse types for flags, which parse values and check them."""
from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from openatac.files.writing import check_prefix
from openatac.image_size import Size, sides, size_of
from openatac.limits import (
    FLOAT32_MAX,
    FLOAT32_MIN,
    MAX_BATCH,
    MAX_BLOCKS,
    MAX_CHANNELS,
    MAX_CLASSES,
    MAX_COUNT,
    MAX_IMAGES,
    MAX_PORT,
    MAX_SEED,
    MAX_SIDE,
    Bounds,
)


@dataclass(frozen=True)
class Number:
    """An argparse type for a finite ``kind`` (int or float) within ``bounds`` or in ``also``.

    With ``float32``, the number must also be 0 or a normal float32.
    """

    kind: type
    bounds: Bounds
    also: tuple[float, ...]
    float32: bool

    def __call__(self, text: str) -> Any:
        """Return the number in ``text``; raise argparse.ArgumentTypeError if it is not valid."""
        try:
            value = self.kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f'{text!r} is not {self}') from None
        if not (value in self.also or (abs(value) < math.inf and self.bounds.hold(value))):
            raise argparse.ArgumentTypeError(f'{text} is not {self}')
        if self.float32 and value and not FLOAT32_MIN < abs(value) < FLOAT32_MAX:
            raise argparse.ArgumentTypeError(f'{text} is beyond the range of float32')
        return value

    def __str__(self) -> str:
        name = 'a whole number' if self.kind is int else 'a number'
        return ' or '.join([f'{name} {self.bounds}'.strip(), *map(str, self.also)])


def number(kind: type, also: Sequence[float] = (), float32: bool = False, **limits: float) -> Number:
    """Return a `Number` with the ``limits`` of a `Bounds`."""
    return Number(kind, Bounds(**limits), tuple(also), float32)


POSITIVE = number(float, above=0, high=FLOAT32_MAX, float32=True)
FROM_ZERO = number(float, low=0, high=FLOAT32_MAX, float32=True)
RATIO = number(float, low=1, high=MAX_CHANNELS)  # of channels, in a bottleneck
SHARE = number(float, low=0, below=1, float32=True)
FRACTION = number(float, low=0, high=1)
COUNT = number(int, low=1, high=MAX_COUNT)
COUNT_FROM_ZERO = number(int, low=0, high=MAX_COUNT)
CLASSES = number(int, low=1, high=MAX_CLASSES)
BLOCKS = number(int, low=1, high=MAX_BLOCKS)
BATCH_SIZE = number(int, low=1, high=MAX_BATCH)
IMAGES = number(int, low=1, high=MAX_IMAGES)
SEED = number(int, low=0, high=MAX_SEED)
PORT = number(int, low=1, high=MAX_PORT)


def comma_separated(kind: Callable[[str], Any], repeats: bool = False) -> Callable[[str], list[Any]]:
    """Return an argparse type for values of a ``kind``, separated by commas.

    Duplicates are dropped unless ``repeats`` is true.
    """
    def parse(text: str) -> list[Any]:
        try:
            values = [kind(word.strip()) for word in text.split(',') if word.strip()]
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        if not values:
            raise argparse.ArgumentTypeError(f'{text!r} contains no values')
        return values if repeats else list(dict.fromkeys(values))
    return parse


def prefix(text: str) -> str:
    """Return ``text``, the prefix of files to write, if it is not a folder (an argparse type)."""
    try:
        return check_prefix(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


@dataclass(frozen=True)
class ImageSize:
    """An argparse type for a `Size` whose sides are from ``low`` to `MAX_SIDE`."""

    low: int

    def __call__(self, text: str) -> Size:
        """Return the size in ``text``; raise argparse.ArgumentTypeError if it is not valid."""
        try:
            height, width = sides(text)
        except ValueError:
            height = width = 0
        if not self.low <= min(height, width) <= max(height, width) <= MAX_SIDE:
            raise argparse.ArgumentTypeError(
                f'{text!r} is not a side in pixels, such as 224, or HEIGHTxWIDTH, such as 160x320, from '
                f'{self.low} to {MAX_SIDE}')
        return size_of(height, width)
