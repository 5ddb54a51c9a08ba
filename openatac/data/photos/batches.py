"""Batches of photographs for training and evaluation, prepared by worker processes.

The content of a batch depends only on the seed and its number, not on the number of workers. When training is
divided among several processes, it also depends on their number.
"""
from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial

import numpy as np

from openatac.data.batch_sizes import WHOLE, ProcessShare, check_batch_fits
from openatac.data.images.bad_images import BAD_SHARE, BadImages, Reasons
from openatac.data.images.decoding import decode
from openatac.data.images.opencv import warn_without_opencv
from openatac.data.images.source import BadImageError, ImageSource
from openatac.data.photos.transforms import PUBLISHED_JITTER, EvaluationTransform, Jitter, TrainingTransform
from openatac.data.photos.workers import PhotoWorkers
from openatac.data.threads import AHEAD
from openatac.image_size import Size


def first_iteration(epoch: int, image_count: int, batch_size: int) -> int:
    """Return the first batch of ``epoch``, counted over all epochs, as in MXNet's ImageRecordIter.

    ImageRecordIter rounds an epoch's last batch up and begins the next epoch where that batch ended, so some
    epochs have one batch more than others.
    """
    return -(-epoch * image_count // batch_size)


class TrainingPhotoBatches:
    """Endless shuffled, augmented batches, in which every image appears once before any appears again.

    Epochs begin and end as in ImageRecordIter (see `first_iteration`), and can be resumed at any batch. An
    unreadable image is replaced by the next readable one in the data set.

    Parameters
    ----------
    source : ImageSource
    size : Size
        The size of the network's input.
    batch_size : int
        Images per batch, over all processes.
    seed : int
    workers : int
        Processes that prepare the batches; with 0, this process does.
    share : ProcessShare
        The share of every batch to yield.
    jitter : Jitter
        The range of colour changes.
    max_bad_share : float
        The largest tolerated share of unreadable images.

    Attributes
    ----------
    ahead : int
        How many batches `prefetch` should prepare in advance.

    Raises
    ------
    DataError
        On construction, if ``batch_size`` is not a multiple of the processes or exceeds the data set. While
        iterating, for too many bad images, a label out of range, or a worker process that dies.
    """

    ahead = AHEAD

    def __init__(self, source: ImageSource, size: Size, batch_size: int, seed: int, workers: int,
                 share: ProcessShare = WHOLE, jitter: Jitter = PUBLISHED_JITTER,
                 max_bad_share: float = BAD_SHARE) -> None:
        check_batch_fits(len(source), batch_size)
        warn_without_opencv()
        self.image_count = len(source)
        self.batch_size = batch_size
        self._images_per_batch = share.images_per_batch(batch_size)
        self._first = share.rank * self._images_per_batch
        # A batch may reach into the next epoch.
        self._order = lru_cache(maxsize=2)(partial(_shuffled, self.image_count, seed))
        self.bad = BadImages(source, max_bad_share)
        prepare_image = partial(_prepare_training, source, TrainingTransform(size, seed, jitter),
                                self.bad.allowed)
        self._workers = PhotoWorkers(prepare_image, self._images_per_batch, size, workers)

    def batches_in(self, epoch: int) -> int:
        """Return the number of batches in ``epoch``."""
        return len(self._iterations(epoch))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (images (B, 3, H, W), labels (B,)), float32, from batch ``start`` of ``epoch``."""
        for images, labels, bad in self._workers.prepare(map(self._keys, self._iterations(epoch)[start:])):
            self.bad.add(bad)
            yield images, labels

    def _iterations(self, epoch: int) -> range:
        """Return the batch numbers of an epoch, counted over all epochs."""
        return range(first_iteration(epoch, self.image_count, self.batch_size),
                     first_iteration(epoch + 1, self.image_count, self.batch_size))

    def _keys(self, iteration: int) -> list[tuple[int, int]]:
        """Return [(epoch, index in the data set)] for this process's images in a batch."""
        start = iteration * self.batch_size + self._first
        positions = (divmod(position, self.image_count)
                     for position in range(start, start + self._images_per_batch))
        return [(epoch, int(self._order(epoch)[position])) for epoch, position in positions]


class EvaluationPhotoBatches:
    """All images in order, each for one process; the last batch can be short, and bad images are left out.

    Parameters
    ----------
    crop_ratio : float
        Images are resized to cover size / crop_ratio, then the centre is cut out.
    source, size, batch_size, workers, max_bad_share
        As in `TrainingPhotoBatches`.
    share : ProcessShare
        The contiguous share of the images to yield.
    """

    ahead = AHEAD

    def __init__(self, source: ImageSource, size: Size, batch_size: int, crop_ratio: float,
                 workers: int = 0, share: ProcessShare = WHOLE, max_bad_share: float = BAD_SHARE) -> None:
        self._source = source
        self._images_per_batch = share.images_per_batch(batch_size)
        self._indices = share.range_of(len(source))
        self.bad = BadImages(source, max_bad_share)
        prepare_image = partial(_prepare_evaluation, source, EvaluationTransform(size, crop_ratio))
        self._workers = PhotoWorkers(prepare_image, self._images_per_batch, size, workers)

    def __len__(self) -> int:
        return -(-len(self._indices) // self._images_per_batch)

    @property
    def left_out(self) -> int:
        """How many images a complete iteration left out, since they could not be read."""
        return self.bad.count

    def names(self) -> list[str]:
        """Return the names of the images that a complete iteration has yielded, in order."""
        return [self._source.name(index) for index in self._indices if index not in self.bad]

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (images (B, 3, H, W), labels (B,)), float32."""
        starts = range(0, len(self._indices), self._images_per_batch)
        batches = (list(self._indices[start:start + self._images_per_batch]) for start in starts)
        for images, labels, bad in self._workers.prepare(batches):
            self.bad.add(bad)
            if bad:  # their labels are NaN
                readable = ~np.isnan(labels)
                images, labels = images[readable], labels[readable]
            if len(labels):
                yield images, labels


def _shuffled(image_count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.RandomState([seed, epoch]).permutation(image_count)


# ------------------------------------------------ called by `PhotoWorkers`, in its processes

def _prepare_training(source: ImageSource, transform: TrainingTransform, allowed: int, key: tuple[int, int],
                      out: np.ndarray) -> tuple[float, Reasons]:
    """Prepare the training input for an (epoch, index), or for the next readable image in the data set."""
    epoch, first = key
    bad = []
    for index in range(first, first + allowed + 1):
        index %= len(source)
        try:
            data, label = source.read(index)
            transform(decode(data), epoch, index, out)
        except BadImageError as error:
            bad.append((index, str(error)))
        else:
            return label, bad
    return np.nan, bad  # more than allowed: the run ends


def _prepare_evaluation(source: ImageSource, transform: EvaluationTransform, index: int,
                        out: np.ndarray) -> tuple[float, Reasons]:
    """Prepare the evaluation input for the image at an index."""
    try:
        data, label = source.read(index)
        transform(decode(data), out)
    except BadImageError as error:
        return np.nan, [(index, str(error))]
    return label, []
