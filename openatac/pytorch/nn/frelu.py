"""FReLU in PyTorch: the funnel activation.

The counterpart of `openatac.nn.frelu`, which names the sources and any deviations.
"""
from __future__ import annotations

import torch
from torch import Tensor, nn

from openatac.pytorch.nn.normalisation import BatchNorm


class FReLU(nn.Module):
    """A ReLU whose threshold is a learned function of the 3x3 window; (B, C, H, W) to the same shape.

    Takes the arguments of `openatac.nn.frelu.FReLU`.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel_size=3, padding=1, groups=channels, bias=False)
        self.bn = BatchNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return torch.maximum(x, self.bn(self.conv(x)))
