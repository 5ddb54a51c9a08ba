"""The size of an image in pixels, as flags, settings and manifests give it."""
from __future__ import annotations

from typing import Union

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
