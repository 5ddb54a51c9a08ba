"""The statistics of a gate, calculated by NumPy from all of its values."""
import numpy as np

from openatac.study.gates.gate_sums import COLUMNS


def expected(gate, x):
    """Return the statistics from 'mean' on, for a complete gate and its unit's complete input."""
    gate = np.broadcast_to(gate, x.shape).astype('float64')
    mask = (x > 0).astype('float64')
    parts = np.array([gate.mean((0, 2, 3)).var(), gate.mean((2, 3)).var(0).mean(), gate.var((2, 3)).mean()])
    assert np.isclose(parts.sum(), gate.var())
    return [gate.mean(), gate.std(), *parts / gate.var(), (gate < 0.1).mean(), (gate > 0.9).mean(),
            mask.mean(), np.corrcoef(gate.ravel(), mask.ravel())[0, 1]]


def numbers(row):
    return [row[column] for column in COLUMNS[COLUMNS.index('mean'):]]
