"""Interfaces for reading sets of image files."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np


class BadImageError(Exception):
    """One image cannot be used, for the reason in the message; the others can."""


class ImageSource(Protocol):
    """Labelled images in files, such as an `ImageCollection` or a part of one."""

    @property
    def reading_order(self) -> Sequence[int] | None:
        """The order in which one thread must read the images; None if threads can read them in any order."""
        ...

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """Return the name of image ``index`` in messages."""
        ...

    def read(self, index: int) -> tuple[bytes, int]:
        """Return (the bytes of image file ``index``, its label); raise BadImageError if it cannot be read."""
        ...


class ImageCollection(ImageSource, Protocol):
    """A whole set: a `RecordFile`, an `ImageFolder`, an `ImageList` or the images of an archive."""

    @property
    def labels(self) -> np.ndarray:
        """The label of each image."""
        ...

    def select(self, indices: np.ndarray) -> ImageSource:
        """Return the part of the set with these indices."""
        ...

    @property
    def class_names(self) -> Sequence[str]:
        """The class names, by label; empty if they are unknown."""
        ...

    def fingerprint(self) -> str:
        """Return a string that identifies the data set."""
        ...
