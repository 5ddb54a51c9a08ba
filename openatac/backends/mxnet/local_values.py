"""Arrays that each device keeps for itself in training: running statistics and the sums of metrics."""
from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator

import mxnet as mx
import numpy as np
from mxnet.ndarray import NDArray

from openatac.backends.learner import Arrays
from openatac.backends.process_group import ProcessGroup
from openatac.backends.state_names import indexed


class LocalValues:
    """The current values of local arrays, on all devices of all processes of a group.

    Parameters
    ----------
    arrays : dict
        {name in a checkpoint: [NDArray of each device of this process]}.
    process_group : ProcessGroup
    """

    def __init__(self, arrays: dict[str, list[NDArray]], process_group: ProcessGroup) -> None:
        self.arrays = arrays
        self.process_group = process_group
        self.devices = len(next(iter(arrays.values())))

    def state(self) -> Arrays:
        """Return {indexed name: array} of all devices; each process must call this."""
        gathered = self._gathered()
        state: Arrays = {}
        for name, (array, *_) in self.arrays.items():
            part, gathered = gathered[:, :array.size], gathered[:, array.size:]
            state.update((indexed(name, device), row) for device, row in enumerate(part))
        return state

    def load_state(self, state: Arrays) -> None:
        """Restore this process's part of `state`."""
        for name, own in self.arrays.items():
            for device, array in enumerate(own):
                array[:] = state[indexed(name, self.process_group.rank * self.devices + device)]

    @contextlib.contextmanager
    def mean(self) -> Iterator[None]:
        """Within this context, give all devices the mean values; each process must enter this context."""
        if self.devices * self.process_group.size == 1:
            yield
            return
        own, gathered = self._own(), self._gathered()
        self._set(np.broadcast_to(gathered.mean(axis=0, dtype='float64'), own.shape))
        try:
            yield
        finally:
            self._set(own)

    def _own(self) -> np.ndarray:
        """Return float32 (devices of this process, N)."""
        mx.nd.waitall()  # MXNet does not always wait for a pending write of running statistics
        return np.stack([np.concatenate([arrays[device].asnumpy() for arrays in self.arrays.values()])
                         for device in range(self.devices)])

    def _gathered(self) -> np.ndarray:
        """Return float32 (devices of all processes, N)."""
        own = self._own()
        if self.process_group.size == 1:
            return own
        messages = self.process_group.gather(base64.b64encode(own.tobytes()).decode(), 'the statistics')
        return np.concatenate([np.frombuffer(base64.b64decode(message), 'float32').reshape(own.shape)
                               for message in messages])

    def _set(self, values: np.ndarray) -> None:
        for device, row in enumerate(values):
            for arrays in self.arrays.values():
                array = arrays[device]
                array[:], row = row[:array.size], row[array.size:]
