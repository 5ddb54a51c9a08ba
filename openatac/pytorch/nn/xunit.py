"""xUnit in PyTorch: a spatial activation.

The counterpart of `openatac.nn.xunit`, which names the sources and any deviations.
"""
from __future__ import annotations

import torch
from torch import Tensor, nn

from openatac.argument_checks import check_odd
from openatac.pytorch.nn.normalisation import BatchNorm


class XUnit(nn.Module):
    """Gates every pixel of every channel with a factor from 0 to 1, computed from its channel's k x k window.

    Takes the arguments of `openatac.nn.xunit.XUnit`.
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
