"""Normalisations with Gluon's parameter names, ``gamma`` and ``beta``.

Ioffe, Szegedy, "Batch Normalization", ICML 2015, https://arxiv.org/abs/1502.03167, algorithms 1 and 2
Wu, He, "Group Normalization", ECCV 2018, https://arxiv.org/abs/1803.08494, equations 1 to 6
"""
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openatac.zoo.unit_arguments import check_groups


class BatchNorm(nn.Module):
    """Normalises each channel over the batch and its pixels; (B, C, ...) to the same shape.

    Parameters
    ----------
    channels : int
        C, the channels of the input.
    epsilon : float, default 1e-5
        Added to the variance.
    momentum : float, default 0.9
        As in Gluon, the weight of the old running statistics: running = momentum * running + (1 - momentum) *
        batch. (PyTorch's own momentum is 1 minus that.)
    scale, center : bool, default True
        Whether gamma and beta are learned; if not, they are constants (buffers) of 1 and 0.
    use_global_stats : bool, default False
        Normalise by the running statistics in training too, without updating them.
    biased_variance : bool, default False
        Update the running variance with the biased variance that normalises, as in MXNet, instead of the
        unbiased one, as in PyTorch. `use_biased_variance` sets this for a whole network.
    """

    gamma: Tensor
    beta: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, epsilon: float = 1e-5, momentum: float = 0.9, scale: bool = True,
                 center: bool = True, use_global_stats: bool = False, biased_variance: bool = False) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.momentum = momentum
        self.scale = scale
        self.use_global_stats = use_global_stats
        self.biased_variance = biased_variance
        for name, value, learned in (('gamma', torch.ones(channels), scale),
                                     ('beta', torch.zeros(channels), center)):
            if learned:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)
        self.register_buffer('running_mean', torch.zeros(channels))
        self.register_buffer('running_var', torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        gamma = self.gamma if self.scale else None
        training = self.training and not self.use_global_stats
        if training and self.biased_variance:
            return normalise_as_mxnet(x, gamma, self.beta, self.running_mean, self.running_var, self.momentum,
                                      self.epsilon)
        return F.batch_norm(x, self.running_mean, self.running_var, gamma, self.beta, training,
                            1 - self.momentum, self.epsilon)

    def extra_repr(self) -> str:
        return f'{len(self.running_mean)}, epsilon={self.epsilon}, momentum={self.momentum}'


def normalise_as_mxnet(x: Tensor, gamma: Tensor | None, beta: Tensor, running_mean: Tensor,
                       running_var: Tensor, momentum: float, epsilon: float) -> Tensor:
    """Normalise by the batch's statistics; set running = momentum * running + (1 - momentum) * batch.

    The batch variance in that sum is the biased one that normalises.
    """
    # --syncbn depends on this very function: `SharedStatistics` of the learner in PyTorch replaces it.
    y, mean, inverse_deviation = torch.native_batch_norm(x, gamma, beta, None, None, True, 0, epsilon)
    with torch.no_grad():
        # When compiled for a CPU, the statistics of 16-bit images have 16 bits.
        running_mean.lerp_(mean.to(running_mean.dtype), 1 - momentum)
        running_var.lerp_(inverse_deviation.to(running_var.dtype) ** -2 - epsilon, 1 - momentum)
    return y


class GroupNorm(nn.Module):
    """Normalises each image over groups of its channels; (B, C, H, W) to the same shape.

    Parameters
    ----------
    channels : int
        C, the channels of the input.
    num_groups : int, default 32
        Number of groups, a divisor of C.
    epsilon : float, default 1e-5
        Added to the variance.

    Raises
    ------
    ValueError
        If ``num_groups`` does not divide ``channels``.
    """

    def __init__(self, channels: int, num_groups: int = 32, epsilon: float = 1e-5) -> None:
        super().__init__()
        check_groups(channels, num_groups)
        self.num_groups = num_groups
        self.epsilon = epsilon
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.group_norm(x, self.num_groups, self.gamma, self.beta, self.epsilon)


def use_biased_variance(net: nn.Module, biased: bool = True) -> nn.Module:
    """Set ``biased_variance`` of all BatchNorms in a network; return the network."""
    for module in net.modules():
        if isinstance(module, BatchNorm):
            module.biased_variance = biased
    return net
