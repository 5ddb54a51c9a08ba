"""Check that an exported form computes the same outputs as its network, and measure its speed."""
from __future__ import annotations

import functools
import statistics
import time
from typing import Any

import numpy as np

from openatac.errors import OpenatacError
from openatac.evaluation.outcomes import check_outputs
from openatac.library import NetworkFunction

BATCH = 16
RUNS = 5                    # the median is the time of a batch
SAME_TOLERANCE = 1e-5       # of the largest output, at least 1: the same operators
REORDERED_TOLERANCE = 1e-4  # the same sums in other operators
HALF_TOLERANCE = 0.05       # values rounded to float16: a ResNet-50 differed by 0.0009; more means a mistake
ROUNDING_FACTOR = 10        # times the effect of the images' last bits
HUGE_OUTPUT = 1e5           # an output that no trained network has
MIN_AGREEMENT = 0.5         # of top-1 classes, for quantized forms


class ParityError(OpenatacError):
    """A form's outputs differ from its network's."""


class ParityCheck:
    """Compares the outputs of exported forms with the outputs of their network.

    Parameters
    ----------
    function : callable
        The network: maps images, float32 (B, C, H, W), to outputs (B, classes, ...), both NumPy arrays.
    image_shape : (C, H, W)
    real : float32 (N, C, H, W), optional
        Inputs from real images for the comparison, in addition to random ones.

    Raises
    ------
    OpenatacError
        If an output is not finite.
    """

    def __init__(self, function: NetworkFunction, image_shape: tuple[int, ...],
                 real: np.ndarray | None = None) -> None:
        self.random = np.random.RandomState(0).randn(BATCH, *image_shape).astype('float32')
        self.real = np.empty((0, *image_shape), 'float32') if real is None else real
        self._images = np.concatenate([self.random, self.real])
        self._function, self._expected = function, _outputs(function, self._images)
        check_outputs(self._expected)
        self.largest = float(np.abs(self._expected).max())

    def difference(self, function: NetworkFunction) -> float:
        """Return the largest difference between ``function``'s outputs and the network's on random images."""
        return float(np.abs(function(self.random) - self._expected[:BATCH]).max())

    def allows(self, difference: float, tolerance: float) -> bool:
        """Return whether a difference is within ``tolerance`` times the largest output, at least 1.

        Differences up to `ROUNDING_FACTOR` times `rounding` are allowed too: a barely trained network can
        amplify rounding a millionfold, and then no other order of summation reproduces its outputs.
        """
        return (self._is_within(difference, tolerance)
                or difference <= ROUNDING_FACTOR * self.rounding)

    def _is_within(self, difference: float, tolerance: float) -> bool:
        return difference <= tolerance * max(1.0, self.largest)

    @functools.cached_property
    def rounding(self) -> float:
        """The largest change of the network's outputs when the last bits of its images change."""
        up = np.random.RandomState(0).randint(0, 2, self._images.shape).astype(bool)
        nearby = np.nextafter(self._images, np.where(up, np.float32(np.inf), np.float32(-np.inf)))
        return float(np.abs(_outputs(self._function, nearby) - self._expected).max())

    def describe(self, difference: float, tolerance: float) -> str:
        """Return a clause that says how large a difference is, and what helps if it exceeds the tolerance."""
        return (f"its outputs differ from the network's by up to {difference:g} (largest output: "
                f'{self.largest:g}){self._advice(tolerance)}')

    def _advice(self, tolerance: float) -> str:
        """Return advice about a network that amplifies rounding, or ''."""
        if self.largest > HUGE_OUTPUT:
            sign = f'its outputs reach {self.largest:.1g}'
        elif not self._is_within(ROUNDING_FACTOR * self.rounding, tolerance):
            sign = f'the last bits of its images alone move its outputs by {self.rounding:g}'
        else:
            return ''
        return (f'; it is barely trained or has diverged, since {sign}: train it for longer and export it '
                'again')

    def report(self, function: NetworkFunction, tolerance: float | None) -> dict[str, Any]:
        """Compare ``function`` with the network.

        Parameters
        ----------
        function : callable
        tolerance : float or None
            As in `allows`; None for quantized forms, whose top-1 class must match the network's for half of
            the real images (of the random ones if there are no real ones).

        Returns
        -------
        dict
            'max_difference', 'largest_output'; 'top1_agreement', the share of the images (of the real ones
            if there are any) with the same top-1 class; 'random_images', 'real_images'; 'milliseconds', the
            medians for batches of 1 and of 16.

        Raises
        ------
        ParityError
            If the outputs differ too much.
        """
        outputs = _outputs(function, self._images)
        difference = float(np.abs(outputs - self._expected).max())
        compared = slice(BATCH if len(self.real) else 0, None)
        agreement = float((outputs.argmax(1) == self._expected.argmax(1))[compared].mean())
        if tolerance is not None and not self.allows(difference, tolerance):
            raise ParityError(self.describe(difference, tolerance))
        if tolerance is None and not (np.isfinite(outputs).all() and agreement >= MIN_AGREEMENT):
            raise ParityError(
                f"its top-1 class matches the network's for only {agreement:.0%} of the images: "
                'train the network longer, or calibrate on images more like its own')
        report = {'max_difference': difference, 'largest_output': self.largest, 'top1_agreement': agreement,
                  'random_images': BATCH, 'real_images': len(self.real),
                  'milliseconds': {str(count): milliseconds(function, self.random[:count])
                                   for count in (1, BATCH)}}
        if tolerance is not None and not self._is_within(difference, tolerance):
            report['warning'] = self.describe(difference, tolerance)
        return report


def _outputs(function: NetworkFunction, images: np.ndarray) -> np.ndarray:
    return np.concatenate([function(images[start:start + BATCH]) for start in range(0, len(images), BATCH)])


def milliseconds(function: NetworkFunction, images: np.ndarray) -> float:
    """Return the median time of ``function``, after a warm-up run, for ``images``."""
    times = []
    for _ in range(1 + RUNS):
        start = time.perf_counter()
        function(images)
        times.append(1000 * (time.perf_counter() - start))
    return round(statistics.median(times[1:]), 3)
