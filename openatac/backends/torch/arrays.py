"""Exchange values between NumPy arrays and PyTorch tensors."""
from __future__ import annotations

import numpy as np
import torch


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Copy the tensor's current values to a NumPy array that later steps do not change."""
    return np.array(tensor.detach().cpu(), order='C')


def copy_into(tensor: torch.Tensor, array: np.ndarray) -> None:
    """Copy the values of an array of the same shape, or as in a file, into a tensor."""
    with torch.no_grad():
        tensor.copy_(torch.tensor(array if tensor.dim() else array.reshape(())))
