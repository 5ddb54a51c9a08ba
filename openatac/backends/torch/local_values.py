"""Tensors that each process keeps for itself in training: running statistics and the sums of metrics."""
from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from openatac.backends.learner import Arrays
from openatac.backends.process_group import ProcessGroup
from openatac.backends.state_names import indexed
from openatac.backends.torch.arrays import copy_into, to_numpy
from openatac.backends.torch.data_parallel import gather


class LocalValues:
    """The current values of local tensors, in all processes of a group.

    Parameters
    ----------
    tensors : dict
        {name in a checkpoint: tensor of this process}.
    process_group : ProcessGroup
    """

    def __init__(self, tensors: dict[str, torch.Tensor], process_group: ProcessGroup) -> None:
        self.tensors = tensors
        self.process_group = process_group

    def state(self) -> Arrays:
        """Return {indexed name: array} of all processes; each process must call this."""
        arrays = {}
        for name, tensor, everyone in self._parts(self._gathered()):
            for rank, values in enumerate(everyone):
                arrays[indexed(name, rank)] = to_numpy(values.view_as(tensor).to(tensor.dtype))
        return arrays

    def load_state(self, arrays: Arrays) -> None:
        """Restore this process's part of `state`."""
        for name, tensor in self.tensors.items():
            copy_into(tensor, arrays[indexed(name, self.process_group.rank)])

    @contextlib.contextmanager
    def mean(self) -> Iterator[None]:
        """Within this context, give all processes the mean values; each process must enter this context."""
        if self.process_group.size == 1:
            yield
            return
        everyone = self._gathered()
        self._set(everyone.mean(0))
        try:
            yield
        finally:
            self._set(everyone[self.process_group.rank])

    def _gathered(self) -> torch.Tensor:
        """Return float64 (processes, N), which holds every dtype exactly."""
        own = torch.cat([tensor.flatten().double() for tensor in self.tensors.values()])
        if self.process_group.size == 1:
            return own[None]
        with self.process_group.exchanging():
            return gather(own, self.process_group.size)

    def _set(self, values: torch.Tensor) -> None:
        with torch.no_grad():
            for _, tensor, part in self._parts(values):
                tensor.copy_(part.view_as(tensor))

    def _parts(self, values: torch.Tensor) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
        """Yield (name, tensor, its part of ``values`` (..., N)) for each tensor."""
        sizes = [tensor.numel() for tensor in self.tensors.values()]
        yield from zip(self.tensors, self.tensors.values(), values.split(sizes, -1))
