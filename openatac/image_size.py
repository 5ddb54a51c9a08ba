"""The size of an image in pixels, as flags, settings and manifests give it."""
from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Union

from openatac.limits import MAX_SIDE

Size = Union[int, str]  # the side of a square, or 'HEIGHTxWIDTH' of a rectangle


def sides(size: Size) -> tuple[int, int]:
    """Return (height, width) of a `Size`; ValueError for anything else."""
    numbers = str(size).lower().split('x')
    if len(numbers) > 2 or not all(number.isascii() and number.isdecimal() for number in numbers):
        raise ValueError(f'{size!r} is not the size of an image')
    return int(numbers[0]), int(numbers[-1])


def size_of(height: int, width: int) -> Size:
    """Return the `Size` of images of that height and width."""
    return height if height == width else f'{height}x{width}'


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
