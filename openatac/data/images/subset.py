"""A subset of a data set's images."""
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

    reading_order = None  # subsets are taken from folders and record files, never from archives

    def __init__(self, source: ImageSource, indices: np.ndarray) -> None:
        self._source, self._indices = source, indices

    def __len__(self) -> int:
        return len(self._indices)

    def name(self, index: int) -> str:
        """Return the name of image ``index`` in messages."""
        return self._source.name(int(self._indices[index]))

    def read(self, index: int) -> tuple[bytes, int]:
        """Return (the bytes of image file ``index``, its label); raise BadImage if it cannot be read."""
        return self._source.read(int(self._indices[index]))
