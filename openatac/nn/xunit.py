"""xUnit: a spatial activation.

Kligvasser, Rott Shaham, Michaeli, "xUnit: Learning a Spatial Activation Function for Efficient
Image Restoration", CVPR 2018, https://arxiv.org/abs/1711.06445, section 3 and its figure of the unit:

    xUnit(x) = x * exp(-d^2),    d = BN(9x9 depthwise convolution of relu(BN(x)))

Order and kernel size also match the authors' first published code (their later code replaces the Gaussian
with a sigmoid). Deviates from it in one respect: the convolution has no bias, which the BatchNorm after it
would cancel.
"""
from __future__ import annotations

from typing import Any

from mxnet.gluon import nn
from mxnet.gluon.block import HybridBlock

from openatac.argument_checks import check_odd


class XUnit(HybridBlock):
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

    def __init__(self, channels: int, kernel: int = 9, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_odd('kernel', kernel)
        with self.name_scope():
            self.bn1 = nn.BatchNorm(in_channels=channels)
            self.conv = nn.Conv2D(channels, kernel_size=kernel, padding=kernel // 2, groups=channels,
                                  use_bias=False, in_channels=channels)
            self.bn2 = nn.BatchNorm(in_channels=channels)

    def hybrid_forward(self, F, x):
        d = self.bn2(self.conv(F.relu(self.bn1(x))))
        return x * F.exp(-F.square(d))
