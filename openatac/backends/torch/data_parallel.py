"""Data parallelism: averages gradients, and optionally BatchNorm statistics, over several processes.

torch.distributed exchanges the arrays, with NCCL on GPUs and gloo on CPUs.
"""
from __future__ import annotations

from typing import Any, Callable

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
        self._learned, self._function = torch.nn.ParameterList(module.parameters()), forward

    def forward(self, *arrays: Any) -> Any:
        return self._function(*arrays)


def gather(array: Tensor, count: int) -> Tensor:
    """Return the arrays of all ``count`` processes, (count, ...) in the order of their ranks."""
    arrays = [torch.empty_like(array) for _ in range(count)]
    torch.distributed.all_gather(arrays, array)
    return torch.stack(arrays)


# ----------------------------------------------------------------------------------- BatchNorm

class SharedStatistics(torch.overrides.TorchFunctionMode):
    """Within this context, normalises networks in training with the statistics of all processes' images.

    This does what torch.nn.SyncBatchNorm does on GPUs, by replacing ``torch.native_batch_norm``.
    """

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        if function is torch.native_batch_norm:
            x, gamma, beta, _, _, _, _, eps = arguments
            return _normalise(x, gamma, beta, eps)
        return function(*arguments, **(keywords or {}))


def _normalise(x: Tensor, gamma: Tensor | None, beta: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return x normalised, the mean, and the inverse of the deviation, as torch.native_batch_norm does.

    All processes must have the same number of images.
    """
    axes, shape = [0, *range(2, x.dim())], (-1, *[1] * (x.dim() - 2))
    exact = x.to(torch.promote_types(x.dtype, torch.float32))
    mean = _Mean.apply(exact.mean(axes))
    centred = exact - mean.view(shape)
    inverse = (_Mean.apply(centred.square().mean(axes)) + eps).rsqrt()
    scale = inverse if gamma is None else inverse * gamma
    return (centred * scale.view(shape) + beta.view(shape)).to(x.dtype), mean, inverse


class _Mean(torch.autograd.Function):
    """The mean over all processes; its gradient is for the sum of their losses."""

    @staticmethod
    def forward(context: Any, array: Tensor) -> Tensor:
        mean = array.clone()
        torch.distributed.all_reduce(mean)
        return mean / torch.distributed.get_world_size()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return _Mean.forward(context, gradient.contiguous())
