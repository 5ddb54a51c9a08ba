"""BatchNorm over the images of all processes."""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from openatac.errors import OpenatacError


class SharedStatistics(torch.overrides.TorchFunctionMode):
    """Within this context, normalises networks in training with the statistics of all processes' images.

    This does what torch.nn.SyncBatchNorm does on GPUs, by replacing ``torch.native_batch_norm``, which only
    `openatac.pytorch.nn.normalisation.normalise_as_mxnet` calls. Other BatchNorms, such as
    torch.nn.BatchNorm2d, would normalise with the statistics of this process alone: in training, they raise
    OpenatacError.
    """

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        if function is torch.native_batch_norm:
            x, gamma, beta, _, _, _, _, eps = arguments
            return _normalise(x, gamma, beta, eps)
        if function is F.batch_norm and keywords['training']:
            raise OpenatacError('--syncbn cannot share the statistics of torch.nn.BatchNorm, which this '
                                'network has: use openatac.pytorch.BatchNorm in your host, or leave --syncbn '
                                'out')
        return function(*arguments, **(keywords or {}))


def _normalise(x: Tensor, gamma: Tensor | None, beta: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return x normalised, the mean, and the inverse of the deviation, as torch.native_batch_norm does.

    All processes must have the same number of images.
    """
    axes = [0, *range(2, x.dim())]
    shape = (-1, *[1] * (x.dim() - 2))
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
