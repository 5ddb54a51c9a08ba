"""Sizes of batches: checks, shares of several processes, and grouping."""
from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TypeVar

from openatac.errors import DataError

Item = TypeVar('Item')


def check_batch_fits(images: int, batch_size: int) -> None:
    """Raise DataError if the training set has fewer images than one batch."""
    if images < batch_size:
        raise DataError(f'the training set has {images} images, fewer than one batch of {batch_size}: choose '
                        'a smaller --batch-size')


def part_size(batch_size: int, num_parts: int) -> int:
    """Return the number of images in each part of a batch; raise DataError if it does not divide evenly."""
    if batch_size % num_parts:
        raise DataError(f'a batch of {batch_size} cannot be divided among {num_parts} workers: choose a '
                        f'multiple of {num_parts}')
    return batch_size // num_parts


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of ``size`` items; the last one can be shorter."""
    remaining = iter(items)
    while batch := list(itertools.islice(remaining, size)):
        yield batch
