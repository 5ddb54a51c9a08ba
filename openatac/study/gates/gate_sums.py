"""Statistics of a gate over a data set; `gluon_gates` and `torch_gates` find the gates.

A gated unit multiplies its input by a gate: x * g(x), section III of "Attention as Activation".
"""
from __future__ import annotations

import math
from typing import Any

import numpy as np

LOW, HIGH = 0.1, 0.9  # as in the column names
CONSTANT = float(np.finfo('float32').eps)  # smaller deviations are rounding
COLUMNS = ('layer', 'stage', 'unit', 'channels', 'height', 'width', 'images', 'mean', 'standard_deviation',
           'between_channels', 'between_images', 'between_pixels', 'share_below_0.1', 'share_above_0.9',
           'relu_mask_mean', 'relu_mask_correlation')


class GateSums:
    """The accumulated statistics of one gate.

    It stores sums over images of seven means over the pixels of each channel, float64 (7, C).

    Parameters
    ----------
    layer : str
        The unit's structural name, such as 'features.2.0.msAA1', followed by ':1', ':2' if it has several
        gates.
    stage : str
        The number of its stage; '' outside the stages.
    unit : str
        Its class in Gluon, such as 'ChaATAC' or 'global ChaATAC'.
    """

    def __init__(self, layer: str, stage: str, unit: str) -> None:
        self.layer = layer
        self.stage = stage
        self.unit = unit
        self.images = 0
        self.sums = np.zeros(())
        self.shape: tuple[int, ...] = ()

    def add(self, x: np.ndarray, gate: np.ndarray) -> None:
        """Add the unit's input (B, C, H, W) and a gate that broadcasts to it.

        Raises
        ------
        FloatingPointError
            If any value is not finite.
        """
        if not (np.isfinite(x).all() and np.isfinite(gate).all()):
            raise FloatingPointError(f'{self.layer} has values that are not finite')
        self.shape = x.shape[1:]
        gate, mask = np.broadcast_to(gate, x.shape).astype('float64'), x > 0
        means = [values.mean((2, 3)) for values in (
            gate, gate ** 2, gate < LOW, gate > HIGH, mask, gate * mask)]
        self.sums = self.sums + np.sum([*means, means[0] ** 2], axis=1)
        self.images += len(x)

    def statistics(self) -> dict[str, Any]:
        """Return {column in COLUMNS: value} over all elements of the gate, broadcast to the input.

        The variance has three shares: ``between_channels``, of the channels' means; ``between_images``, of
        one channel's means over images; and ``between_pixels``, within one channel of one image, which is 0
        for a gate that is the same for all pixels, such as SE's. The ReLU mask is [x > 0] of the unit's
        input; its correlation with the gate is Pearson's. A statistic that is undefined for a constant gate
        or mask is None.
        """
        gate, square, low, high, mask, product, squared_mean = self.sums / self.images
        mean, open_share = gate.mean(), mask.mean()
        # The law of total variance, twice; rounding can make a zero negative.
        parts = [(gate ** 2).mean() - mean ** 2, (squared_mean - gate ** 2).mean(),
                 (square - squared_mean).mean()]
        parts = [max(0.0, part) for part in parts]
        deviation = math.sqrt(sum(parts))
        shares: list[Any] = [None] * 3
        correlation = None
        if deviation > CONSTANT:
            shares = [part / sum(parts) for part in parts]
            if 0 < open_share < 1:
                correlation = (product.mean() - mean * open_share) / (
                    deviation * math.sqrt(open_share * (1 - open_share)))
        return dict(zip(COLUMNS, (
            self.layer, self.stage, self.unit, *self.shape, self.images, mean, deviation, *shares, low.mean(),
            high.mean(), open_share, correlation)))
