"""Batches of photographs for training and testing on ImageNet, made by worker processes.

What a batch holds is a function of the seed and of its number alone, whatever the number of workers,
and for training in parts (one for each machine) also of the number of parts.
"""
import numpy as np

from openatac.data.photos.bad_images import MAX_BAD_SHARE, BadImages
from openatac.data.photos.codec import decode
from openatac.data.photos.records import BadRecord
from openatac.data.photos.transforms import EvaluationTransform, Jitter, TrainingTransform
from openatac.data.photos.workers import PhotoWorkers
from openatac.errors import DataError


def first_iteration(epoch, images, batch_size):
    """The batch, counted over all epochs, at which ``epoch`` begins, as under MXNet's ImageRecordIter.

    It rounds an epoch's last batch up and begins the next epoch where that batch ended, so that
    some epochs have a batch more than others.
    """
    return -(-epoch * images // batch_size)


class TrainingPhotos:
    """Shuffled, augmented batches without end, in which every image comes once before any comes again.

    Epochs follow each other as in ImageRecordIter, see `first_iteration`; an epoch can be begun at any
    of its batches. An image that cannot be read is replaced by the next one in the data set that can.

    Parameters
    ----------
    source : RecordFile or ImageFolder
    size : int; side of the network's input
    batch_size : int; over all parts
    seed : int
    workers : int; processes that make the batches, 0 for none
    num_parts, part_index : int; this is part ``part_index`` of ``num_parts``, each of which gets an equal
        share of every batch
    jitter : Jitter; how far colours are changed
    max_bad_share : float; more unreadable images than this share of all are an error

    Raises
    ------
    DataError
        Here for a batch that is no multiple of the parts or larger than the data set; while iterating
        for too many bad images, a label out of range and a worker process that dies.
    """

    ahead = 2  # batches that are worth making in advance by `prefetch`

    def __init__(self, source, size, batch_size, seed, workers, num_parts=1, part_index=0, jitter=Jitter(),
                 max_bad_share=MAX_BAD_SHARE):
        if len(source) < batch_size:
            raise DataError('the training set has %d images, fewer than one batch of %d: choose a smaller '
                            '--batch-size' % (len(source), batch_size))
        self.images, self.batch_size, self.seed = len(source), batch_size, seed
        self._share = _share_of(batch_size, num_parts)
        self._first = part_index * self._share
        self._orders = {}
        self.bad = BadImages(source, max_bad_share)
        make = _TrainingImage(source, TrainingTransform(size, seed, jitter), self.bad.allowed)
        self._workers = PhotoWorkers(make, self._share, size, workers)

    def batches(self, epoch):
        """The number of batches in ``epoch``."""
        return self._iteration(epoch + 1) - self._iteration(epoch)

    def epoch(self, epoch, start=0):
        """Yield (images (b, 3, size, size), labels (b,)), float32, from batch ``start`` of ``epoch``."""
        wanted = range(self._iteration(epoch) + start, self._iteration(epoch + 1))
        for images, labels, bad in self._workers.run(map(self._keys, wanted)):
            self.bad.add(bad)
            yield images, labels

    def close(self):
        """End the worker processes."""
        self._workers.close()

    def _iteration(self, epoch):
        return first_iteration(epoch, self.images, self.batch_size)

    def _keys(self, iteration):
        """[(epoch, index in the data set)] of this part's images in a batch."""
        start = iteration * self.batch_size + self._first
        return [self._key(position) for position in range(start, start + self._share)]

    def _key(self, position):
        epoch, place = divmod(position, self.images)
        if epoch not in self._orders:
            self._orders = {known: order for known, order in self._orders.items() if known == epoch - 1}
            self._orders[epoch] = np.random.RandomState([self.seed, epoch]).permutation(self.images)
        return epoch, int(self._orders[epoch][place])


class EvaluationPhotos:
    """All images in order, each once over all parts; the last batch may be short, bad ones are left out.

    Parameters
    ----------
    crop_ratio : float; size / crop_ratio is what the short side is resized to before the centre is cut out
    source, size, batch_size, workers, num_parts, part_index, max_bad_share
        As in `TrainingPhotos`; a part is one run of images.
    """

    ahead = 2

    def __init__(self, source, size, batch_size, crop_ratio=0.875, workers=0, num_parts=1, part_index=0,
                 max_bad_share=MAX_BAD_SHARE):
        self._share = _share_of(batch_size, num_parts)
        self._part = range(len(source) * part_index // num_parts, len(source) * (part_index + 1) // num_parts)
        self.bad = BadImages(source, max_bad_share)
        make = _EvaluationImage(source, EvaluationTransform(size, crop_ratio))
        self._workers = PhotoWorkers(make, self._share, size, workers)

    def __len__(self):
        return -(-len(self._part) // self._share)

    def __iter__(self):
        """Yield (images (b, 3, size, size), labels (b,)), float32."""
        shares = (self._part[first:first + self._share] for first in range(0, len(self._part), self._share))
        for images, labels, bad in self._workers.run(map(list, shares)):
            self.bad.add(bad)
            if bad:
                images, labels = images[labels == labels], labels[labels == labels]
            if len(labels):
                yield images, labels

    def close(self):
        """End the worker processes."""
        self._workers.close()


def _share_of(batch_size, num_parts):
    if batch_size % num_parts:
        raise DataError('a batch of %d cannot be divided among %d workers: choose a multiple of %d'
                        % (batch_size, num_parts, num_parts))
    return batch_size // num_parts


# What is sent to the worker processes.

class _TrainingImage:
    """Makes the training input of an (epoch, index), or of the next readable image in the data set."""

    def __init__(self, source, transform, allowed):
        self.source, self.transform, self.allowed = source, transform, allowed

    def __call__(self, key, out):
        epoch, wanted = key
        bad = []
        for index in range(wanted, wanted + self.allowed + 1):
            index %= len(self.source)
            try:
                data, label = self.source.read(index)
                self.transform(decode(data), epoch, index, out)
            except BadRecord as error:
                bad.append((index, str(error)))
            else:
                return label, bad
        return np.nan, bad  # more than are allowed, which ends the run


class _EvaluationImage:
    """Makes the input for testing of an index."""

    def __init__(self, source, transform):
        self.source, self.transform = source, transform

    def __call__(self, index, out):
        try:
            data, label = self.source.read(index)
            self.transform(decode(data), out)
        except BadRecord as error:
            return np.nan, [(index, str(error))]
        return label, []
