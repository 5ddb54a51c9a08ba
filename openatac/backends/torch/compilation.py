"""Compile a training step with torch.compile, and choose the layout of its arrays."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from openatac.backends.compute import Compute
from openatac.errors import DeviceError, first_line


def memory_layout(compute: Compute, device: str) -> torch.memory_format:
    """Return the memory layout of the images and weights of a network in training."""
    # A compiled step on a GPU needs the layout in which tensor cores work: otherwise arrays are reordered
    # around each convolution.
    return torch.channels_last if compute.compile and device != 'cpu' else torch.contiguous_format


def compile_function(function: Callable, device: torch.device) -> Callable:
    """Compile the function with torch.compile; DeviceError if that does not work."""
    import torch._dynamo  # loads the compiler, which takes seconds
    from torch._dynamo.exc import TorchDynamoException

    # Otherwise the graph is cut where DistributedDataParallel groups gradients, to send them earlier.
    torch._dynamo.config.optimize_ddp = False
    # CUDA graphs, because a small network's kernels finish before Python has launched the next ones. Not
    # dynamic, because all batches have the same size and a graph for any size would be slower.
    fused = torch.compile(function, mode='reduce-overhead' if device.type == 'cuda' else 'default',
                          dynamic=False)

    def call(*arrays: Any) -> Any:
        try:
            return fused(*arrays)
        except TorchDynamoException as error:
            raise DeviceError(f'torch.compile does not work here ({first_line(error)}): install a '
                              'C++ compiler, or leave --compile out') from None
    return call
