"""A data set of small images, held entirely in memory."""
from dataclasses import dataclass

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
        Whether an image that is flipped left to right keeps its label.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    mirror: bool = True

    def __len__(self) -> int:
        return len(self.labels)
