"""Labelled image files below a folder: the base of image folders, lists and archives."""
from __future__ import annotations

import os
import zlib
from collections.abc import Sequence

import numpy as np

from openatac.data.images.source import BadImageError
from openatac.data.images.subset import ImageSubset
from openatac.errors import reason
from openatac.files.reading import MAX_IMAGE_BYTES, read_input


class ImageFiles:
    """Labelled image files below a folder.

    Parameters
    ----------
    root : str
    names : numpy.ndarray
        Paths relative to the root, as bytes. An array uses a quarter of a list's memory, in every worker
        process too.
    labels : numpy.ndarray
        int32 (N,).
    class_names : tuple of str
        Empty if they are unknown.
    """

    reading_order: Sequence[int] | None = None

    def __init__(self, root: str, names: np.ndarray, labels: np.ndarray,
                 class_names: tuple[str, ...]) -> None:
        self.root = root
        self.class_names = class_names
        self._names = names
        self._labels = labels

    @property
    def labels(self) -> np.ndarray:
        """The labels, int32 (N,)."""
        return self._labels

    def select(self, indices: np.ndarray) -> ImageSubset:
        """Return the images at these indices."""
        return ImageSubset(self, indices)

    def __len__(self) -> int:
        return len(self._names)

    def fingerprint(self) -> str:
        """Return a string that identifies this data set, computed from its file names and labels."""
        return f'{len(self)}:{zlib.crc32(self._names.data, zlib.crc32(self._labels.data)):08x}'

    def name(self, index: int) -> str:
        """Return the path of image ``index``, relative to the root."""
        return os.fsdecode(self._names[index])

    def read(self, index: int) -> tuple[bytes, int]:
        """Return (the bytes of image file ``index``, its label); raise BadImageError if it cannot be read."""
        try:
            data = read_input(os.path.join(self.root, self.name(index)), MAX_IMAGE_BYTES)
            return data, int(self._labels[index])
        except OSError as error:
            raise BadImageError(reason(error)) from error
