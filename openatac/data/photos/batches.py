"""Batches of photographs for training and evaluation, prepared by worker processes.

The content of a batch depends on the seed and its number alone, whatever the number of workers. For training
in parts (one for each machine) it also depends on the number of parts.
"""
from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial

import numpy as np

from openatac.data.batches import AHEAD, check_batch_fits, part_size
from openatac.data.images.bad_images import MAX_BAD_SHARE, BadImages, Unreadable
from openatac.data.images.codec import decode, warn_without_opencv
from openatac.data.images.source import BadImage, ImageSource
from openatac.data.photos.transforms import PUBLISHED_JITTER, EvaluationTransform, Jitter, TrainingTransform
from openatac.data.photos.workers import PhotoWorkers
from openatac.image_size import Size


def first_iteration(epoch: int, images: int, batch_size: int) -> int:
    """Return the batch, counted over all epochs, at which ``epoch`` begins, as in MXNet's ImageRecordIter.

    ImageRecordIter rounds an epoch's last batch up and begins the next epoch where that batch ended, so some
    epochs have one batch more than others.
    """
    return -(-epoch * images // batch_size)


class TrainingPhotoBatches:
    """Endless shuffled, augmented batches, in which every image appears once before any appears again.

    Epochs follow each other as in ImageRecordIter (see `first_iteration`), and can start at any of their
    batches. An image that cannot be read is replaced by the next one in the data set that can.

    Parameters
    ----------
    source : ImageSource
    size : Size
        The size of the network's input.
    batch_size : int
        Over all parts.
    seed : int
    workers : int
        Processes that prepare the batches, 0 for none.
    num_parts, part_index : int
        This is part ``part_index`` of ``num_parts``, each of which gets an equal share of every batch.
    jitter : Jitter
        How far colours are changed.
    max_bad_share : float
        A larger share of unreadable images is an error.

    Attributes
    ----------
    ahead : int
        How many batches are worth preparing in advance by `prefetch`.

    Raises
    ------
    DataError
        Here for a batch that is not a multiple of the parts, or is larger than the data set. While iterating
        for too many bad images, a label out of range and a worker process that dies.
    """

    ahead = AHEAD

    def __init__(self, source: ImageSource, size: Size, batch_size: int, seed: int, workers: int,
                 num_parts: int = 1, part_index: int = 0, jitter: Jitter = PUBLISHED_JITTER,
                 max_bad_share: float = MAX_BAD_SHARE) -> None:
        check_batch_fits(len(source), batch_size)
        warn_without_opencv()
        self.images, self.batch_size = len(source), batch_size
        self._share = part_size(batch_size, num_parts)
        self._first = part_index * self._share
        # A batch may reach into the next epoch.
        self._order = lru_cache(maxsize=2)(partial(_shuffled, self.images, seed))
        self.bad = BadImages(source, max_bad_share)
        prepare_image = partial(_prepare_training, source, TrainingTransform(size, seed, jitter),
                                self.bad.allowed)
        self._workers = PhotoWorkers(prepare_image, self._share, size, workers)

    def batches(self, epoch: int) -> int:
        """Return the number of batches in ``epoch``."""
        return len(self._iterations(epoch))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (images (B, 3, H, W), labels (B,)), float32, from batch ``start`` of ``epoch``."""
        for images, labels, bad in self._workers.prepare(map(self._keys, self._iterations(epoch)[start:])):
            self.bad.add(bad)
            yield images, labels

    def _iterations(self, epoch: int) -> range:
        """Return the batches of an epoch, counted over all epochs."""
        return range(first_iteration(epoch, self.images, self.batch_size),
                     first_iteration(epoch + 1, self.images, self.batch_size))

    def _keys(self, iteration: int) -> list[tuple[int, int]]:
        """Return [(epoch, index in the data set)] of this part's images in a batch."""
        start = iteration * self.batch_size + self._first
        positions = (divmod(position, self.images) for position in range(start, start + self._share))
        return [(epoch, int(self._order(epoch)[position])) for epoch, position in positions]


class EvaluationPhotoBatches:
    """All images in order, once over all parts; the last batch may be short, and bad images are left out.

    Parameters
    ----------
    crop_ratio : float
        An image is resized to cover size / crop_ratio, and its centre cut out.
    source, size, batch_size, workers, num_parts, part_index, max_bad_share
        As in `TrainingPhotoBatches`; a part is a contiguous range of the images.
    """

    ahead = AHEAD

    def __init__(self, source: ImageSource, size: Size, batch_size: int, crop_ratio: float,
                 workers: int = 0, num_parts: int = 1, part_index: int = 0,
                 max_bad_share: float = MAX_BAD_SHARE) -> None:
        self._source, self._share = source, part_size(batch_size, num_parts)
        self._part = range(len(source) * part_index // num_parts, len(source) * (part_index + 1) // num_parts)
        self.bad = BadImages(source, max_bad_share)
        prepare_image = partial(_prepare_evaluation, source, EvaluationTransform(size, crop_ratio))
        self._workers = PhotoWorkers(prepare_image, self._share, size, workers)

    def __len__(self) -> int:
        return -(-len(self._part) // self._share)

    def names(self) -> list[str]:
        """Return the names of the images that an iteration over all batches has yielded, in order."""
        return [self._source.name(index) for index in self._part if index not in self.bad]

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (images (B, 3, H, W), labels (B,)), float32."""
        shares = (self._part[first:first + self._share] for first in range(0, len(self._part), self._share))
        for images, labels, bad in self._workers.prepare(map(list, shares)):
            self.bad.add(bad)
            if bad:  # whose labels are NaN
                readable = ~np.isnan(labels)
                images, labels = images[readable], labels[readable]
            if len(labels):
                yield images, labels


def _shuffled(images: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.RandomState([seed, epoch]).permutation(images)


# --------------------------------------------------- what `PhotoWorkers` calls in its processes

def _prepare_training(source: ImageSource, transform: TrainingTransform, allowed: int, key: tuple[int, int],
                      out: np.ndarray) -> tuple[float, Unreadable]:
    """Prepare the training input of an (epoch, index), or of the next readable image in the data set."""
    epoch, first = key
    bad = []
    for index in range(first, first + allowed + 1):
        index %= len(source)
        try:
            data, label = source.read(index)
            transform(decode(data), epoch, index, out)
        except BadImage as error:
            bad.append((index, str(error)))
        else:
            return label, bad
    return np.nan, bad  # more than are allowed, which ends the run


def _prepare_evaluation(source: ImageSource, transform: EvaluationTransform, index: int,
                        out: np.ndarray) -> tuple[float, Unreadable]:
    """Prepare the evaluation input of an index."""
    try:
        data, label = source.read(index)
        transform(decode(data), out)
    except BadImage as error:
        return np.nan, [(index, str(error))]
    return label, []
