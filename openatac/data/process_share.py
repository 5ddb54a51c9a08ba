"""The share of one process in the images of a run."""
from __future__ import annotations

from typing import NamedTuple

from openatac.errors import DataError


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
