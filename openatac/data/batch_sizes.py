"""Batches of a given size: whether one fits, the share of a process in one, and grouping."""
from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

from openatac.errors import DataError

INFERENCE_BATCH = 32  # images that a trained network classifies at a time, by default
Item = TypeVar('Item')


def check_batch_fits(image_count: int, batch_size: int) -> None:
    """Raise DataError if the training set has fewer images than one batch."""
    if image_count < batch_size:
        raise DataError(f'the training set has {image_count} images, fewer than one batch of {batch_size}: '
                        'choose a smaller --batch-size')


class ProcessShare(NamedTuple):
    """The images for the process ``rank`` of ``size``: its share of every batch, or of a whole set."""

    rank: int = 0
    size: int = 1

    def images_per_batch(self, batch_size: int) -> int:
        """Return the number of images in this share of a batch; DataError if it does not divide evenly."""
        if batch_size % self.size:
            raise DataError(f'a batch of {batch_size} cannot be divided among {self.size} workers: choose a '
                            f'multiple of {self.size}')
        return batch_size // self.size

    def range_of(self, count: int) -> range:
        """Return this share of the indices of ``count`` images, a contiguous range."""
        return range(count * self.rank // self.size, count * (self.rank + 1) // self.size)


WHOLE = ProcessShare()


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of ``size`` items; the last one can be shorter."""
    remaining = iter(items)
    while batch := list(itertools.islice(remaining, size)):
        yield batch
