"""A subset of a data set's images."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openatac.data.images.source import ImageSource


class ImageSubset:
    """The images of ``source`` at ``indices``, such as a training split.

    Parameters
    ----------
    source : ImageSource
    indices : numpy.ndarray
        int (N,).
    """

    def __init__(self, source: ImageSource, indices: np.ndarray) -> None:
        self._source = source
        self._indices = indices
        self.reading_order: Sequence[int] | None = None
        if source.reading_order is not None:
            place = np.argsort(source.reading_order)  # of each image in the reading order
            self.reading_order = np.argsort(place[indices]).tolist()

    def __len__(self) -> int:
        return len(self._indices)

    def name(self, index: int) -> str:
        """Return the name of image ``index`` in messages."""
        return self._source.name(int(self._indices[index]))

    def read(self, index: int) -> tuple[bytes, int]:
        """Return (the bytes of image file ``index``, its label); raise BadImageError if it cannot be read."""
        return self._source.read(int(self._indices[index]))
