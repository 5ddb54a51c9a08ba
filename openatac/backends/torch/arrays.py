"""Exchange values between NumPy arrays and PyTorch tensors."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Copy the tensor's current values to a NumPy array that later steps do not change."""
    return np.array(tensor.detach().cpu(), order='C')


def copy_into(tensor: torch.Tensor, array: np.ndarray) -> None:
    """Copy the values of an array of the same shape into a tensor."""
    with torch.no_grad():
        tensor.copy_(torch.tensor(array))


def numpy_function(module: torch.nn.Module, device: str, layout: torch.memory_format
                   ) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function of NumPy arrays (B, C, H, W) that runs a module, in evaluation mode on ``device``."""
    @torch.inference_mode()
    def run(array: np.ndarray) -> np.ndarray:
        outputs: np.ndarray = module(torch.from_numpy(array).to(device, memory_format=layout)).cpu().numpy()
        return outputs

    return run
