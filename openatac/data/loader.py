"""Batches in a reproducible order, made ahead of time by a background thread."""
import queue
import threading

from openatac.data import augment
from openatac.errors import DataError


class TrainingBatches:
    """Shuffled, augmented batches of an `ImageSet`; the last short batch is dropped.

    raw : whether pixels stay uint8, to be normalised where they are used
    ahead : how many of them are worth making in advance by `prefetch`

    Which images a batch holds, and how each was cropped and mirrored, depends on the seed, the
    epoch and the batch's index alone: a run can go on at any batch of any epoch.
    """

    ahead = 2

    def __init__(self, images, batch_size, seed, raw=False):
        if len(images) < batch_size:
            raise DataError('the training set has %d images, fewer than one batch of %d: choose a '
                            'smaller --batch-size' % (len(images), batch_size))
        self.images, self.batch_size, self.seed, self.raw = images, batch_size, seed, raw

    def batches(self, epoch=0):
        """The number of batches in an epoch, the same in each."""
        return len(self.images) // self.batch_size

    def epoch(self, epoch, start=0):
        """Yield (float32 or uint8 (B, 3, H, W), int32 (B,)) from batch ``start`` of ``epoch``, from 0."""
        choices = augment.draw_choices(len(self.images), self.seed, epoch, self.images.mirror)
        for batch in range(start, self.batches()):
            chosen = choices.order[batch * self.batch_size:(batch + 1) * self.batch_size]
            images = augment.crop(self.images.images[chosen], choices.top[chosen], choices.left[chosen])
            augment.mirror(images, choices.mirrored[chosen])
            yield images if self.raw else augment.normalise(images), self.images.labels[chosen]


class EvaluationBatches:
    """All images of an `ImageSet` in order, as they are; the last batch may be short."""

    ahead = 2

    def __init__(self, images, batch_size, raw=False):
        if not len(images):
            raise DataError('the test set has no images')
        self.images, self.batch_size, self.raw = images, batch_size, raw

    def __len__(self):
        return -(-len(self.images) // self.batch_size)

    def __iter__(self):
        for start in range(0, len(self.images), self.batch_size):
            stop = start + self.batch_size
            images = self.images.images[start:stop]
            yield images if self.raw else augment.normalise(images), self.images.labels[start:stop]


def prefetch(batches, ahead=2):
    """Iterate over ``batches`` while a background thread makes up to ``ahead`` of the next ones.

    An error in the thread is raised here. Leaving the loop early stops the thread. With ``ahead`` 0 there is
    none.
    """
    return _prefetched(batches, ahead) if ahead else (batch for batch in batches)


def _prefetched(batches, ahead):
    ready, stopped, end = queue.Queue(ahead), threading.Event(), object()

    def put(item):
        while not stopped.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    def work():
        try:
            for batch in batches:
                put((batch, None))
                if stopped.is_set():
                    return
            put((end, None))
        except BaseException as error:  # handed over, not swallowed
            put((end, error))

    threading.Thread(target=work, name='prefetch', daemon=True).start()
    try:
        while True:
            batch, error = ready.get()
            if error is not None:
                raise error
            if batch is end:
                return
            yield batch
    finally:
        stopped.set()
