"""Squeeze-and-excitation, and the layers it shares with other channel attention, in PyTorch.

The counterpart of `openatac.nn.squeeze_excite`, which names the sources and any deviations.
"""
from __future__ import annotations

import torch
from torch import Tensor, nn

from openatac.zoo.unit_arguments import bottleneck


def excitation(channels: int, reduction: float, pixels: bool = False) -> nn.Sequential:
    """Build W2 . relu(W1 . x) for each image, (B, C), or for each pixel, (B, C, H, W)."""
    inner = bottleneck(channels, reduction, 'reduction')
    if pixels:
        return nn.Sequential(nn.Conv2d(channels, inner, kernel_size=1, bias=False), nn.ReLU(),
                             nn.Conv2d(inner, channels, kernel_size=1, bias=False))
    return nn.Sequential(nn.Linear(channels, inner, bias=False), nn.ReLU(),
                         nn.Linear(inner, channels, bias=False))


class SEBlock(nn.Module):
    """Squeeze-and-excitation, equations 2 to 4: x * sigmoid(W2 . relu(W1 . average of x)).

    Takes the arguments of `openatac.nn.squeeze_excite.SEBlock`.
    """

    def __init__(self, channels: int, reduction: float = 16) -> None:
        super().__init__()
        self.excite = excitation(channels, reduction)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.excite(x.mean((2, 3))))
        return x * gate[:, :, None, None]
