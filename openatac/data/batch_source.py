"""Interfaces of the batches that a run trains on and evaluates."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

Batch = tuple[Any, Any]  # images (B, C, H, W) and labels (B,), as NumPy arrays or on a backend's device


class TrainingBatchSource(Protocol):
    """Batches of training images, which every epoch orders and augments differently."""

    @property
    def ahead(self) -> int:
        """How many batches `prefetch` should prepare in advance."""
        ...

    def batches_in(self, epoch: int) -> int:
        """Return the number of batches in an epoch."""
        ...

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from batch ``start`` on."""
        ...


class EvaluationBatchSource(Protocol):
    """All images of a set, in order."""

    @property
    def ahead(self) -> int:
        """How many batches `prefetch` should prepare in advance."""
        ...

    @property
    def left_out(self) -> int:
        """How many images a complete iteration left out, since they could not be read."""
        ...

    def names(self) -> list[str]:
        """Return the names of the images, in order."""
        ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...
