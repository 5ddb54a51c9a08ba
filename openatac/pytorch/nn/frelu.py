"""FReLU: the funnel activation.

Ma, Zhang, Sun, "Funnel Activation for Visual Recognition", ECCV 2020,
https://arxiv.org/abs/2007.11824, section 3.2, equations 2 and 3:

    FReLU(x) = max(x, T(x)),    T(x) = BN(3x3 depthwise convolution of x)

Deviates from the authors' code in one respect: the convolution has no bias, which the BatchNorm after it
would cancel.
"""
from __future__ import annotations

import torch
from torch import Tensor, nn

from openatac.pytorch.nn.normalisation import BatchNorm


class FReLU(nn.Module):
    """A ReLU whose threshold is a learned function of the 3x3 window; (B, C, H, W) to the same shape.

    It has 9 C weights, C gammas and C betas.

    Parameters
    ----------
    channels : int
        C, the channels of the input.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel_size=3, padding=1, groups=channels, bias=False)
        self.bn = BatchNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.maximum(x, self.bn(self.conv(x)))
