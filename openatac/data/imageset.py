"""What every data set of small images is, once it is read."""
from dataclasses import dataclass
from typing import Tuple

import numpy as np


@dataclass(frozen=True)
class ImageSet:
    """Labelled uint8 images, whole in memory.

    images: uint8 (N, 3, H, W), RGB planes; may be a view with strides.
    labels: int32 (N,), class indices from 0.
    class_names: one name per class, in the order of the indices.
    mirror: whether an image flipped left to right keeps its label.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: Tuple[str, ...]
    mirror: bool = True

    def __len__(self):
        return len(self.labels)
