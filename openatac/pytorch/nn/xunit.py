"""xUnit: a spatial activation.

Kligvasser, Rott Shaham, Michaeli, "xUnit: Learning a Spatial Activation Function for Efficient
Image Restoration", CVPR 2018, https://arxiv.org/abs/1711.06445, section 3 and its figure of the unit:

    xUnit(x) = x * exp(-d^2),    d = BN(9x9 depthwise convolution of relu(BN(x)))

Order and kernel size also match the authors' first published code (their later code replaces the Gaussian
with a sigmoid). Deviates from it in one respect: the convolution has no bias, which the BatchNorm after it
would cancel.
"""
from __future__ import annotations

import torch
from torch import Tensor, nn

from openatac.limits import check_odd
from openatac.pytorch.nn.normalisation import BatchNorm


class XUnit(nn.Module):
    """Gates every pixel of every channel with a factor from 0 to 1, computed from its channel's k x k window.

    Maps (B, C, H, W) to the same shape and has k^2 C weights, 2 C gammas and 2 C betas.

    Parameters
    ----------
    channels : int
        C, the channels of the input.
    kernel : int, default 9
        Side k of the depthwise filters.

    Raises
    ------
    ValueError
        If the kernel is not odd.
    """

    def __init__(self, channels: int, kernel: int = 9) -> None:
        super().__init__()
        check_odd('kernel', kernel)
        self.bn1 = BatchNorm(channels)
        self.conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False)
        self.bn2 = BatchNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        d = self.bn2(self.conv(torch.relu(self.bn1(x))))
        return x * torch.exp(-d.square())
