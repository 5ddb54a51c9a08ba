"""Data parallelism: average the gradients of several processes.

torch.distributed exchanges the arrays, with NCCL on GPUs and gloo on CPUs.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel


def average_gradients(module: torch.nn.Module, forward: Callable[..., tuple[Tensor, Tensor]],
                      arrays: tuple[Any, ...]) -> Callable[..., tuple[Tensor, Tensor]]:
    """Wrap ``forward`` so that backward passes average the gradients over all processes.

    Parameters
    ----------
    module : Module
        The module that ``forward`` runs, with the same values in all processes.
    forward : function
        A function of ``arrays`` that returns a loss first.
    arrays : tuple
        The arrays of the first step.
    """
    parallel = DistributedDataParallel(_Forward(module, forward), init_sync=False,
                                       gradient_as_bucket_view=True)
    # After its first backward pass, DistributedDataParallel regroups the gradients in the order in which they
    # arrived. With three or more processes, the grouping affects how sums are rounded. This first pass is
    # therefore not a step, so a resumed run computes the same bits as an uninterrupted one.
    before = [buffer.clone() for buffer in module.buffers()]
    parallel(*arrays)[0].backward()
    module.zero_grad()
    with torch.no_grad():
        for buffer, value in zip(module.buffers(), before):
            buffer.copy_(value)
    return parallel


class _Forward(torch.nn.Module):
    """A forward pass in the form that DistributedDataParallel takes.

    It holds the parameters of a module, but not its buffers, which are local to each process.
    """

    def __init__(self, module: torch.nn.Module, forward: Callable[..., Any]) -> None:
        super().__init__()
        self._learned = torch.nn.ParameterList(module.parameters())
        self._function = forward

    def forward(self, *arrays: Any) -> Any:
        return self._function(*arrays)


def gather(array: Tensor, count: int) -> Tensor:
    """Return the arrays of all ``count`` processes, (count, ...) in the order of their ranks."""
    arrays = [torch.empty_like(array) for _ in range(count)]
    torch.distributed.all_gather(arrays, array)
    return torch.stack(arrays)
