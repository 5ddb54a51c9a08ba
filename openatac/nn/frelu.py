"""FReLU: the funnel activation.

Ma, Zhang, Sun, "Funnel Activation for Visual Recognition", ECCV 2020,
https://arxiv.org/abs/2007.11824, section 3.2, equations 2 and 3:

    FReLU(x) = max(x, T(x)),    T(x) = BN(3x3 depthwise convolution of x)

Deviates from the authors' code in one respect: the convolution has no bias, which the BatchNorm after it
would cancel.
"""
from __future__ import annotations

from typing import Any

from mxnet.gluon import nn
from mxnet.gluon.block import HybridBlock


class FReLU(HybridBlock):
    """A ReLU whose threshold is a learned function of the 3x3 window; (B, C, H, W) to the same shape.

    It has 9 C weights, C gammas and C betas.

    Parameters
    ----------
    channels : int
        C, the channels of the input.
    """

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.conv = nn.Conv2D(channels, kernel_size=3, padding=1, groups=channels, use_bias=False,
                                  in_channels=channels)
            self.bn = nn.BatchNorm(in_channels=channels)

    def hybrid_forward(self, F, x):
        return F.maximum(x, self.bn(self.conv(x)))
