"""The interface through which the loop and the learners see the processes that train together."""
from __future__ import annotations

import abc
import contextlib
from collections.abc import Mapping
from typing import Any


class ProcessGroup(abc.ABC):
    """The processes of a run, independent of the library that computes.

    Attributes
    ----------
    rank, size : int
        The index of this process, and the number of processes.
    is_asynchronous : bool
        Whether each process takes its steps independently, and servers update the weights.
    """

    rank: int
    size: int
    is_asynchronous: bool = False

    @property
    def stop_signal(self) -> int:
        """The number of the signal that asked the whole run to stop, or 0."""
        return 0

    @abc.abstractmethod
    def gather(self, message: Any, name: str = 'a message') -> list[Any]:
        """Return the JSON-able ``message`` of every process, by rank; errors call this exchange ``name``."""

    @abc.abstractmethod
    def check_alike(self, settings: Mapping[str, Any]) -> None:
        """Raise OpenatacError, in every process, if their settings differ."""

    @abc.abstractmethod
    def close(self) -> None:
        """Leave the run, together with the other processes."""


class MxnetProcessGroup(ProcessGroup):
    """The processes of a run with MXNet's learner, which exchange arrays through a key-value store.

    Attributes
    ----------
    kvstore : str or mxnet.kvstore.KVStore
        The store for gluon.Trainer.
    """

    kvstore: Any

    def prepare(self, trainer: Any, batch_size: int) -> None:
        """Give all processes the same initial values, before the first step of the gluon.Trainer."""

    def set_learning_rate(self, rate: float) -> None:
        """Set the learning rate of servers that update the weights."""


class TorchProcessGroup(ProcessGroup):
    """The processes of a run with PyTorch's learner, which exchange arrays through torch.distributed."""

    def exchanging(self) -> contextlib.AbstractContextManager[Any]:
        """Return a context for work that exchanges arrays.

        If another process dies while it is open, this process ends with a message that names the dead one.
        """
        return contextlib.nullcontext()


class SingleProcess(MxnetProcessGroup, TorchProcessGroup):
    """The `ProcessGroup` of a single-process run, with either library."""

    rank, size = 0, 1

    def __init__(self, kvstore: str = 'device') -> None:
        self.kvstore = kvstore

    def gather(self, message: Any, name: str = 'a message') -> list[Any]:
        return [message]

    def check_alike(self, settings: Mapping[str, Any]) -> None:
        pass

    def close(self) -> None:
        pass
