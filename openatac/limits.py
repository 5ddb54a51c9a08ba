"""Limits on flags and arguments."""
from __future__ import annotations

from typing import NamedTuple

FLOAT32_MIN, FLOAT32_MAX = 1.2e-38, 3.4e38  # of the normal float32 numbers, which MXNet's optimizers take

MAX_CLASSES = 2 ** 20   # outputs of a network
MAX_BLOCKS = 1000       # in one stage
MAX_CHANNELS = 2 ** 16
MAX_SIDE = 4096         # of an image, in pixels
MAX_PACKED_SIDE = 2 ** 14  # the short side of an image in a record file
MAX_BATCH = 2 ** 20     # images
MIN_CROP_RATIO = 0.1    # the side of the centre crop, as a share of the short side
MAX_COUNT = 10 ** 6     # epochs, batches, rounds and other counts
MAX_IMAGES = 10 ** 9    # in a data set
MAX_SECONDS = 86400     # a day
MAX_WORKERS = 1024      # processes or threads that read images
MAX_SEED = 2 ** 31 - 1  # of a run, which MXNet takes as an int32
MAX_NUMPY_SEED = 2 ** 32 - 1  # of what only NumPy draws, such as the order of a record file
MAX_PORT = 2 ** 16 - 1


class Bounds(NamedTuple):
    """``low`` <= x <= ``high`` and ``above`` < x < ``below``; None for no limit."""

    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None

    def hold(self, value: float) -> bool:
        """Return whether the value is within the limits."""
        return ((self.low is None or value >= self.low) and (self.high is None or value <= self.high)
                and (self.above is None or value > self.above) and (self.below is None or value < self.below))

    def __str__(self) -> str:
        limits = {'at least': self.low, 'above': self.above, 'at most': self.high, 'below': self.below}
        return ' and '.join(f'{relation} {limit}' for relation, limit in limits.items() if limit is not None)
