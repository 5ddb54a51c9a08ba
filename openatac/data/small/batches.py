"""Batches of an `ImageSet` in a reproducible order."""
from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from openatac.data.batch_sizes import WHOLE, ProcessShare, check_batch_fits
from openatac.data.small.image_set import ImageSet
from openatac.data.small.transforms import crop, draw_choices, mirror, normalise
from openatac.data.threads import AHEAD
from openatac.errors import DataError


class TrainingSmallImageBatches:
    """Shuffled, augmented batches of an `ImageSet`; the last short batch is dropped.

    The images of a batch, and how each is cropped and mirrored, depend only on the seed, the epoch and the
    batch's index: a run can resume at any batch of any epoch.

    Parameters
    ----------
    images : ImageSet
    batch_size : int
        Images per batch, over all processes.
    seed : int
    raw : bool
        Yield uint8 pixels, which the caller normalises.
    share : ProcessShare
        The share of every batch to yield.

    Attributes
    ----------
    ahead : int
        How many batches `prefetch` should prepare in advance.

    Raises
    ------
    DataError
        If there are fewer images than one batch, or ``batch_size`` is not a multiple of the processes.
    """

    ahead = AHEAD

    def __init__(self, images: ImageSet, batch_size: int, seed: int, raw: bool = False,
                 share: ProcessShare = WHOLE) -> None:
        check_batch_fits(len(images), batch_size)
        self.images = images
        self.batch_size = batch_size
        self.seed = seed
        self.raw = raw
        self._images_per_batch = share.images_per_batch(batch_size)
        self._first = share.rank * self._images_per_batch

    def batches_in(self, epoch: int) -> int:
        """Return the number of batches in an epoch, which is the same for all."""
        return len(self.images) // self.batch_size

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (float32 or uint8 (B, 3, H, W), int32 (B,)) from batch ``start`` of ``epoch``."""
        choices = draw_choices(len(self.images), self.seed, epoch, self.images.mirror)
        for batch in range(start, self.batches_in(epoch)):
            chosen = choices.order[self._positions(batch)]
            images = crop(self.images.images[chosen], choices.top[chosen], choices.left[chosen])
            mirror(images, choices.mirrored[chosen])
            yield images if self.raw else normalise(images), self.images.labels[chosen]

    def _positions(self, batch: int) -> slice:
        """Return the slice of the epoch's order with this process's images of a batch."""
        start = batch * self.batch_size + self._first
        return slice(start, start + self._images_per_batch)


class EvaluationSmallImageBatches:
    """All images of an `ImageSet` in order, not augmented; the last batch can be short.

    ``raw`` and ``ahead`` are as in `TrainingSmallImageBatches`, but a ``share`` is a contiguous range of the
    images. ``left_out`` counts the images that could not be read. Raises DataError if there are no images.
    """

    ahead = AHEAD

    def __init__(self, images: ImageSet, batch_size: int, raw: bool = False,
                 share: ProcessShare = WHOLE) -> None:
        if not len(images):
            raise DataError('the test set has no images')
        self.left_out = images.left_out
        if share.size > 1:
            images = images.select(np.array(share.range_of(len(images))))
        self.images = images
        self.raw = raw
        self.batch_size = share.images_per_batch(batch_size)

    def __len__(self) -> int:
        return -(-len(self.images) // self.batch_size)

    def names(self) -> list[str]:
        """Return the names of the images, in order."""
        return [*self.images.names] or [*map(str, range(len(self.images)))]

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start in range(0, len(self.images), self.batch_size):
            stop = start + self.batch_size
            images = self.images.images[start:stop]
            yield images if self.raw else normalise(images), self.images.labels[start:stop]
