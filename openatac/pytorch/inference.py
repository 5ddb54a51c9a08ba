"""Run a PyTorch module on NumPy arrays."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch


def numpy_function(module: torch.nn.Module, device: str, layout: torch.memory_format
                   ) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function of NumPy arrays (B, C, H, W) that runs a module, in evaluation mode on ``device``."""
    @torch.inference_mode()
    def run(array: np.ndarray) -> np.ndarray:
        outputs: np.ndarray = module(torch.from_numpy(array).to(device, memory_format=layout)).cpu().numpy()
        return outputs

    return run
