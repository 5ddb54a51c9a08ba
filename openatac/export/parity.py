"""Whether two networks compute the same, on random and on real images, and how fast."""
import functools
import statistics
import time

import numpy as np

from openatac.errors import OpenatacError

BATCH = 16
RUNS = 5          # whose median is the time of a batch
SAME = 1e-5       # of the largest output, or of 1 if that is smaller: the same operators
REORDERED = 1e-4  # the same sums by other operators
ROUNDINGS = 10    # times what the network itself makes of its images' last bits
HALF = 0.05       # values rounded to float16: 0.0009 was seen of a ResNet-50, more is due to a mistake
LEAST_AGREEMENT = 0.5  # of the first classes, for INT8


class Disagreement(OpenatacError):
    """A form of a network computes something else than the network."""


class Proof:
    """What the network ``function`` computes, for others to be held against.

    function : from images, float32 (B, C, H, W), to outputs, NumPy arrays (B, classes, ...)
    image_shape : (C, H, W)
    real : float32 (N, C, H, W), inputs made of real images, or none

    Raises OpenatacError if an output is not finite.
    """

    def __init__(self, function, image_shape, real=None):
        self.random = np.random.RandomState(0).randn(BATCH, *image_shape).astype('float32')
        self.real = np.empty((0, *image_shape), 'float32') if real is None else real
        self._function, self._expected = function, self._outputs(function)
        if not np.isfinite(self._expected).all():
            raise OpenatacError('the outputs of the network are infinite or not numbers: export parameters '
                                'of a run that did not diverge')
        self.largest = float(np.abs(self._expected).max())

    def difference(self, function):
        """The largest difference between the outputs of ``function`` and the network's, on random images."""
        return float(np.abs(function(self.random) - self._expected[:BATCH]).max())

    def allows(self, difference, tolerance):
        """Whether it is at most that share of the largest output, or of 1 if that is smaller.

        Or at most some times `rounding`, where that is more: a network that was hardly trained may amplify
        rounding a millionfold, and no other order of summation gives its outputs.
        """
        return difference <= tolerance * max(1.0, self.largest) or difference <= ROUNDINGS * self.rounding

    @functools.cached_property
    def rounding(self):
        """How far the network's own outputs move when the last bit of its images does."""
        images = np.concatenate([self.random, self.real])
        up = np.random.RandomState(0).randint(0, 2, images.shape).astype(bool)
        nearby = np.nextafter(images, np.where(up, np.float32(np.inf), np.float32(-np.inf)))
        return float(np.abs(self._outputs(self._function, nearby) - self._expected).max())

    def report(self, function, tolerance):
        """{figure: value} of ``function`` beside the network; `Disagreement` if they differ too much.

        tolerance : of `allows`; None for INT8, whose first class must be the network's for half of the
            real images (of the random ones if there are no others).

        max_difference, largest_output; top1_agreement, the share of the images, of the real ones if there
        are any, with the same first class; random_images, real_images; milliseconds, the median for a
        batch of 1 and of 16.
        """
        outputs = self._outputs(function)
        difference = float(np.abs(outputs - self._expected).max())
        compared = slice(BATCH if len(self.real) else 0, None)
        agreement = float((outputs.argmax(1) == self._expected.argmax(1))[compared].mean())
        if tolerance is not None and not self.allows(difference, tolerance):
            raise Disagreement('it computes other outputs than the network (by %g, the largest being %g)'
                               % (difference, self.largest))
        if tolerance is None and not (np.isfinite(outputs).all() and agreement >= LEAST_AGREEMENT):
            raise Disagreement("its first class is the network's for %.0f %% of the images only"
                               % (100 * agreement))
        return {'max_difference': difference, 'largest_output': self.largest, 'top1_agreement': agreement,
                'random_images': BATCH, 'real_images': len(self.real),
                'milliseconds': {str(count): milliseconds(function, self.random[:count])
                                 for count in (1, BATCH)}}

    def _outputs(self, function, images=None):
        images = np.concatenate([self.random, self.real]) if images is None else images
        return np.concatenate([function(images[start:start + BATCH])
                               for start in range(0, len(images), BATCH)])


def milliseconds(function, images):
    """The median of the times that ``function`` takes for ``images``, once it is warm."""
    times = []
    for _ in range(1 + RUNS):
        start = time.perf_counter()
        function(images)
        times.append(1000 * (time.perf_counter() - start))
    return round(statistics.median(times[1:]), 3)
