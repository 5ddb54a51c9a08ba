"""Convert a learner's state for another backend or for other devices."""
from __future__ import annotations

import itertools

import numpy as np

from openatac.backends.learner import Arrays, Learner, LearnerNumbers, check_shapes
from openatac.backends.state_names import (
    MASTER,
    METRICS,
    MOMENTUM,
    indexed,
    optimizer_array,
    parameter_array,
    parts,
)


def convert_state(arrays: Arrays, numbers: LearnerNumbers, learner: Learner, image_count: int
                  ) -> tuple[Arrays, LearnerNumbers]:
    """Convert a state to one that ``learner`` can load.

    All learners use structural parameter names and the momentum of MXNet's NAG. Running statistics become
    their means over the old devices. Weights come from the float32 copies of float16 weights where the state
    contains them, rounded if necessary. Values that the state lacks, such as a momentum that was kept
    elsewhere, start as in a new run.

    Parameters
    ----------
    arrays, numbers
        A state that `Learner.state` returned.
    learner : Learner
        Each of its processes must call this.
    image_count : int
        How many images each process has trained on since the epoch began.

    Raises
    ------
    KeyError, ValueError
        If the state belongs to another network.
    """
    initial, own = learner.state()
    devices = sum(parts(name)[0] == METRICS for name in initial)
    values = {name: _find(arrays, name, array, devices) for name, array in initial.items()}
    check_shapes(values, initial)
    found = {name: values[name].astype(array.dtype).reshape(array.shape) for name, array in initial.items()}
    return found, {**own, **numbers, 'images': image_count}


def _find(arrays: Arrays, name: str, initial: np.ndarray, devices: int) -> np.ndarray:
    """Return the value of the learner's array ``name``, one of ``devices`` such arrays if it is a sum."""
    kind, parameter = parts(name)
    if kind == METRICS:  # sums, in equal shares
        return np.sum(_of_devices(arrays, METRICS), axis=0, dtype='float64') / devices
    if name == indexed(optimizer_array(parameter), MOMENTUM):
        return arrays.get(name, initial)
    return _weight(arrays, parameter)


def _weight(arrays: Arrays, parameter: str) -> np.ndarray:
    """Return the parameter at the highest precision in the state."""
    copy = arrays.get(indexed(optimizer_array(parameter), MASTER))
    if copy is not None:
        return copy
    return np.mean(_of_devices(arrays, parameter_array(parameter)), axis=0, dtype='float64')


def _of_devices(arrays: Arrays, name: str) -> list[np.ndarray]:
    """Return the array of each device; KeyError if there is none."""
    names = itertools.takewhile(arrays.__contains__, (indexed(name, device) for device in itertools.count()))
    return [arrays[each] for each in names] or [arrays[indexed(name)]]
