"""The attention blocks compared with ATAC, in PyTorch.

The counterpart of `openatac.nn.attention`, which names the sources and any deviations.
"""
from __future__ import annotations

import torch
from torch import Tensor, nn

from openatac.argument_checks import check_odd
from openatac.pytorch.nn.atac import ATAC
from openatac.pytorch.nn.normalisation import BatchNorm
from openatac.pytorch.nn.squeeze_excite import excitation
from openatac.zoo.unit_arguments import bottleneck, eca_kernel


class ECA(nn.Module):
    """Efficient channel attention, equations 9 and 12: a gate from each channel's k neighbours.

    Takes the arguments of `openatac.nn.attention.ECA`.
    """

    def __init__(self, channels: int, gamma: float = 2, b: float = 1) -> None:
        super().__init__()
        self.kernel = eca_kernel(channels, gamma, b)
        self.conv = nn.Conv1d(1, 1, self.kernel, padding=self.kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        row = x.mean((2, 3))[:, None]  # the channels as one line of pixels
        return x * torch.sigmoid(self.conv(row))[:, 0, :, None, None]


class CBAM(nn.Module):
    """Convolutional block attention, equations 1 to 3: a gate per channel, then one per pixel.

    Takes the arguments of `openatac.nn.attention.CBAM`.
    """

    def __init__(self, channels: int, reduction: float = 16, kernel: int = 7) -> None:
        super().__init__()
        check_odd('kernel', kernel)
        self.excite = excitation(channels, reduction)
        self.conv = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)
        self.bn = BatchNorm(1)

    def forward(self, x: Tensor) -> Tensor:
        # max, unlike amax, sends its gradient to only one of several equal maxima
        pixel_max = x.flatten(2).max(2).values
        channel_gate = torch.sigmoid(self.excite(x.mean((2, 3))) + self.excite(pixel_max))
        refined = x * channel_gate[:, :, None, None]
        channel_mean = refined.mean(1, keepdim=True)
        channel_max = refined.max(1, keepdim=True).values
        pixel_gate = torch.sigmoid(self.bn(self.conv(torch.cat([channel_mean, channel_max], 1))))
        return refined * pixel_gate


class LocalSEBlock(ATAC):
    """LocalSENet's block: ATAC's local channel attention, a gate per pixel, in place of SE.

    Arguments, shapes and errors are as in `SEBlock`. It has 2 C (C/reduction) + 2 (C/reduction) + 2 C
    weights.
    """

    def __init__(self, channels: int, reduction: float = 16) -> None:
        bottleneck(channels, reduction, 'reduction')  # an error names reduction, not ATAC's r
        super().__init__(channels, r=reduction)


class NINBlock(nn.Module):
    """The layers of `LocalSEBlock` as a network in a network: BN(W2 . relu(BN(W1 . x))), without a gate.

    Arguments, shapes and errors are as in `SEBlock`. It has 2 C (C/reduction) + 2 (C/reduction) + 2 C
    weights.
    """

    def __init__(self, channels: int, reduction: float = 16) -> None:
        super().__init__()
        inner = bottleneck(channels, reduction, 'reduction')
        self.module = nn.Sequential(
            nn.Conv2d(channels, inner, kernel_size=1, bias=False), BatchNorm(inner), nn.ReLU(),
            nn.Conv2d(inner, channels, kernel_size=1, bias=False), BatchNorm(channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x)
