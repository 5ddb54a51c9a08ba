"""Gather-excite in PyTorch: attention from neighbourhoods of any extent.

The counterpart of `openatac.nn.gather_excite`, which names the sources and any deviations.
"""
from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openatac.pytorch.nn.initializers import msra_prelu_
from openatac.pytorch.nn.lazy_weight import ShapedByInput
from openatac.pytorch.nn.normalisation import BatchNorm
from openatac.pytorch.nn.squeeze_excite import excitation
from openatac.zoo.unit_arguments import check_gather_excite


class GatherExcite(nn.Module):
    """Gather-excite, section 3: x * sigmoid(interpolated(excited(gathered x))).

    Takes the arguments of `openatac.nn.gather_excite.GatherExcite`.
    """

    def __init__(self, channels: int, extent: int = 0, variant: str = 'theta+', reduction: float = 16
                 ) -> None:
        super().__init__()
        check_gather_excite(extent, variant)
        self.extent = extent
        self.gather = _windows(extent) if variant == 'theta-' else _depthwise(channels, extent)
        self.excite: nn.Module = nn.Identity()
        if variant == 'theta+':
            self.excite = excitation(channels, reduction, pixels=extent > 0)

    def forward(self, x: Tensor) -> Tensor:
        gathered = self.gather(x)
        if not self.extent:
            return x * torch.sigmoid(self.excite(gathered.flatten(1)))[:, :, None, None]
        gate = F.interpolate(torch.sigmoid(self.excite(gathered)), scale_factor=self.extent, mode='nearest')
        # Sides that the extent does not divide are gathered up to the next multiple.
        return x * gate[:, :, :x.shape[2], :x.shape[3]]


def gather_excite_theta(channels: int, extent: int = 0) -> GatherExcite:
    """Build `GatherExcite` without the two layers of squeeze-and-excitation."""
    return GatherExcite(channels, extent, 'theta')


def gather_excite_theta_minus(channels: int, extent: int = 0) -> GatherExcite:
    """Build `GatherExcite` without weights."""
    return GatherExcite(channels, extent, 'theta-')


class GlobalDepthwise(ShapedByInput):
    """One filter as large as the image for each channel, (B, C, H, W) to (B, C, 1, 1)."""

    def shape_for(self, x: Tensor) -> tuple[int, ...]:
        return (x.shape[1], 1, *x.shape[2:])

    def draw_weight(self) -> None:
        msra_prelu_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.weight.transpose(0, 1)).sum((2, 3), keepdim=True)


def _windows(extent: int) -> nn.Module:
    """Build the average over the window around each extent-th pixel, or over the whole image."""
    if not extent:
        return nn.AdaptiveAvgPool2d(1)
    return nn.AvgPool2d(2 * extent - 1, stride=extent, padding=extent - 1, count_include_pad=False)


def _depthwise(channels: int, extent: int) -> nn.Sequential:
    if not extent:
        return nn.Sequential(GlobalDepthwise(), BatchNorm(channels))
    layers: list[nn.Module] = []
    for _ in range(int(math.log2(extent))):
        layers += [nn.ReLU()] if layers else []
        layers += [nn.Conv2d(channels, channels, kernel_size=3, stride=2, padding=1, groups=channels,
                             bias=False), BatchNorm(channels)]
    return nn.Sequential(*layers)
