"""How much of a batch mixup mixes in (Zhang et al., 2018), the same for every engine."""
import numpy as np


def mixing(alpha, seed, iteration):
    """The share of each image that stays its own in that iteration, lambda ~ Beta(alpha, alpha).

    A function of (seed, iteration) alone: an engine that goes on from a checkpoint, be it another one's,
    mixes as if the run had not stopped.
    """
    return float(np.random.RandomState([seed, iteration]).beta(alpha, alpha))
