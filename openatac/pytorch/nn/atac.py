"""The ATAC unit in PyTorch: attention as activation.

The counterpart of `openatac.nn.atac`, which names the sources and any deviations.
"""
from __future__ import annotations

from torch import Tensor, nn

from openatac.pytorch.nn.normalisation import BatchNorm
from openatac.zoo.unit_arguments import bottleneck


class ATAC(nn.Module):
    """Channel-wise attentional activation, (B, C, H, W) to the same shape.

    Parameters
    ----------
    channels : int
        C, the channels of the input.
    r : float, default 2
        Channel reduction ratio; the bottleneck has ``int(channels // r)`` channels, at least one.
    useReLU : bool, default True
        Whether there is a ReLU between the two convolutions (the paper's "inner ReLU").
    useGlobal : bool, default False
        Pool over the image first, so that one gate serves all pixels: squeeze-and-excitation as an
        activation, the ablation of section IV.

    Raises
    ------
    ValueError
        If ``r`` leaves no bottleneck.
    """

    def __init__(self, channels: int, r: float = 2, useReLU: bool = True, useGlobal: bool = False) -> None:
        super().__init__()
        inner = bottleneck(channels, r, 'r')
        self.module = nn.Sequential(
            *([nn.AdaptiveAvgPool2d(1)] if useGlobal else []),
            nn.Conv2d(channels, inner, kernel_size=1, bias=False),
            BatchNorm(inner),
            *([nn.ReLU()] if useReLU else []),
            nn.Conv2d(inner, channels, kernel_size=1, bias=False),
            BatchNorm(channels),
            nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.module(x)
