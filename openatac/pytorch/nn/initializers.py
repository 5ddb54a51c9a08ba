"""Initial values as in MXNet's MSRAPrelu, which the published training used.

He, Zhang, Ren, Sun, "Delving Deep into Rectifiers", ICCV 2015, https://arxiv.org/abs/1502.01852, equation 15,
with the mean of both fans. The distribution is MXNet's, but the random numbers differ.
"""
from __future__ import annotations

from torch import Tensor, nn
from torch.nn import init

SLOPE = 0.25  # MXNet's default, the initial slope of a PReLU


def msra_prelu_(weight: Tensor) -> Tensor:
    """Fill a weight with draws from Normal(0, 2 / ((1 + SLOPE^2) * mean of fan-in and fan-out))."""
    return init.xavier_normal_(weight, init.calculate_gain('leaky_relu', SLOPE))


def initialize(net: nn.Module) -> None:
    """Draw the weights of all convolutions and linear layers with `msra_prelu_`; set biases to 0."""
    for module in net.modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Linear)):
            msra_prelu_(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)
