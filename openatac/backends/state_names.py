"""The names of the arrays in a learner's state, and so in checkpoints.

parameter/NAME/DEVICE   a value; DEVICE is 0, except for running statistics, kept per device
metrics/DEVICE          sums since the epoch began
optimizer/NAME/INDEX    INDEX is `MOMENTUM`, or `MASTER` for the float32 copy of a float16 weight
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

METRICS = 'metrics'
MOMENTUM, MASTER = 0, 1
_PARAMETER, _OPTIMIZER = 'parameter/', 'optimizer/'


def parameter_array(name: str) -> str:
    """Return the name of a parameter's values, to which `indexed` adds the device."""
    return _PARAMETER + name


def indexed(name: str, index: int = 0) -> str:
    """Return the name of one of several arrays, by the index of its device or in the optimizer."""
    return f'{name}/{index}'


def optimizer_array(name: str) -> str:
    """Return the name of a parameter's optimizer arrays, to which `indexed` adds the index."""
    return _OPTIMIZER + name


def select_optimizer_arrays(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return only the optimizer's {name: array}, without 'optimizer/' in the names."""
    return {name[len(_OPTIMIZER):]: array for name, array in arrays.items() if name.startswith(_OPTIMIZER)}


def parts(name: str) -> tuple[str, str]:
    """Return the kind of an array and its parameter, '' for `METRICS`."""
    kind, _, rest = name.partition('/')
    return kind, rest.rpartition('/')[0]


def is_statistic(name: str) -> bool:
    """Return whether an array is a running statistic of BatchNorm, which each device keeps for itself."""
    return name.endswith(('running_mean', 'running_var', 'moving_mean', 'moving_var'))
