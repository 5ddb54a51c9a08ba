"""The interface through which the loop and the learners see the processes that train together."""
from __future__ import annotations

import abc
import contextlib
from collections.abc import Mapping
from typing import Any

from openatac.backends.kvstore_names import SINGLE_PROCESS_STORE
from openatac.data.batch_sizes import ProcessShare


class ProcessGroup(abc.ABC):
    """The processes of a run; either library overrides the methods that it needs to exchange arrays.

    Attributes
    ----------
    rank, size : int
        The index of this process, and the number of processes.
    is_asynchronous : bool
        Whether each process takes its steps independently, and servers update the weights. Only in MXNet.
    kvstore : str or mxnet.kvstore.KVStore
        The store for gluon.Trainer. Only in MXNet.
    """

    rank: int
    size: int
    is_asynchronous: bool = False
    kvstore: Any = SINGLE_PROCESS_STORE

    @property
    def share(self) -> ProcessShare:
        """The share of this process in every batch and every set."""
        return ProcessShare(self.rank, self.size)

    @property
    def is_writer(self) -> bool:
        """Whether this process writes the files of the run."""
        return self.rank == 0

    @property
    def stop_signal(self) -> int:
        """The number of the signal that asked the whole run to stop, or 0."""
        return 0

    @abc.abstractmethod
    def gather(self, message: Any, name: str = 'a message') -> list[Any]:
        """Return the JSON-serializable ``message`` of every process, by rank.

        Error messages call this exchange ``name``.
        """

    @abc.abstractmethod
    def check_alike(self, settings: Mapping[str, Any]) -> None:
        """Raise OpenatacError, in every process, if their settings differ."""

    @abc.abstractmethod
    def close(self) -> None:
        """Leave the run, together with the other processes."""

    def prepare(self, trainer: Any, batch_size: int) -> None:  # noqa: B027 (most groups need none)
        """MXNet: give all processes the same initial values, before the first step of the gluon.Trainer."""

    def set_learning_rate(self, learning_rate: float) -> None:  # noqa: B027
        """MXNet: set the learning rate of servers that update the weights."""

    def exchanging(self) -> contextlib.AbstractContextManager[Any]:
        """PyTorch: return a context for work that exchanges arrays through torch.distributed.

        If another process dies while it is open, this process ends with a message that names the dead one.
        """
        return contextlib.nullcontext()


class SingleProcess(ProcessGroup):
    """The `ProcessGroup` of a single-process run."""

    rank, size = 0, 1

    def __init__(self, kvstore: str = SINGLE_PROCESS_STORE) -> None:
        self.kvstore = kvstore

    def gather(self, message: Any, name: str = 'a message') -> list[Any]:
        return [message]

    def check_alike(self, settings: Mapping[str, Any]) -> None:
        pass

    def close(self) -> None:
        pass
