"""Batches of a given size: whether one fits, and grouping."""
from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TypeVar

from openatac.errors import DataError

Item = TypeVar('Item')


def check_batch_fits(image_count: int, batch_size: int) -> None:
    """Raise DataError if the training set has fewer images than one batch."""
    if image_count < batch_size:
        raise DataError(f'the training set has {image_count} images, fewer than one batch of {batch_size}: '
                        'choose a smaller --batch-size')


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of ``size`` items; the last one can be shorter."""
    remaining = iter(items)
    while batch := list(itertools.islice(remaining, size)):
        yield batch
