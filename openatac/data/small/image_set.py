"""A data set of small images, held entirely in memory."""
from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class ImageSet:
    """Labelled images.

    Attributes
    ----------
    images : uint8 (N, 3, H, W)
        RGB planes; may be a view with strides.
    labels : int32 (N,)
        Class indices from 0.
    class_names : tuple of str
        One for each class, in the order of the indices.
    mirror : bool
        Whether an image keeps its label when it is flipped left to right.
    names : tuple of str, optional
        The name of each image; by default its number.
    left_out : int
        The number of unreadable images that were left out.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    mirror: bool = True
    names: tuple[str, ...] = ()
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, index: int) -> str:
        """Return the name of image ``index`` in messages."""
        return self.names[index] if self.names else str(index)

    def select(self, indices: np.ndarray) -> ImageSet:
        """Return the images at these indices."""
        names = tuple(self.names[index] for index in indices) if self.names else ()
        return replace(self, images=self.images[indices], labels=self.labels[indices], names=names)
