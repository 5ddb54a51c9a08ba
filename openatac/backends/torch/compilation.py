"""Compile a training step with torch.compile."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from openatac.errors import DeviceError, first_line


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
