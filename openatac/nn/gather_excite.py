"""Gather-excite: attention from neighbourhoods of any extent.

Hu, Shen, Albanie, Sun, Vedaldi, "Gather-Excite: Exploiting Feature Context in Convolutional Neural Networks",
NeurIPS 2018, https://arxiv.org/abs/1810.12348
"""
from __future__ import annotations

import math
from typing import Any

from mxnet.gluon import nn
from mxnet.gluon.block import HybridBlock

from openatac.nn.squeeze_excite import average_pixels, excitation, scale_channels
from openatac.zoo.unit_arguments import check_gather_excite


class GatherExcite(HybridBlock):
    """Gather-excite, section 3: x * sigmoid(interpolated(excited(gathered x))).

    Maps (B, C, H, W) to the same shape, with nearest-neighbour interpolation. With extent 0, the filter takes
    the size of the first image, and all images must have that size. Weights with extent 0: 'theta'
    H W C + 2 C, 'theta+' 2 C (C/reduction) more; else 'theta' log2(extent) (9 C + 2 C).

    Parameters
    ----------
    channels : int
        C, the channels of the input.
    extent : int, default 0
        Side of the gathered neighbourhoods in pixels, a power of two; 0 is the whole image.
    variant : 'theta-', 'theta' or 'theta+', default 'theta+'
        The learned part. 'theta-': nothing; the gathering averages over windows of 2 * extent - 1 pixels.
        'theta': a depthwise gathering, one filter as large as the image for extent 0, else log2(extent) 3x3
        convolutions of stride 2, each with a BatchNorm, and ReLUs between them. 'theta+': 'theta', then
        squeeze-and-excitation's two layers.
    reduction : float, default 16
        Channel reduction ratio of the two layers of 'theta+'.

    Raises
    ------
    ValueError
        If the variant is unknown, the extent is not a power of two, or ``reduction`` leaves no bottleneck.
    """

    def __init__(self, channels: int, extent: int = 0, variant: str = 'theta+', reduction: float = 16,
                 **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_gather_excite(extent, variant)
        self.extent = extent
        with self.name_scope():
            self.gather = _windows(extent) if variant == 'theta-' else _depthwise(channels, extent)
            self.excite = excitation(channels, reduction, pixels=extent > 0) if variant == 'theta+' else None

    def hybrid_forward(self, F, x):
        gate = average_pixels(F, x) if self.gather is None else self.gather(x)
        if self.excite is not None:
            gate = self.excite(gate)
        gate = F.sigmoid(gate)
        if not self.extent:
            return scale_channels(F, x, gate)
        # Sides that the extent does not divide are gathered up to the next multiple.
        return x * F.slice_like(F.UpSampling(gate, scale=self.extent, sample_type='nearest'), x, axes=(2, 3))


def gather_excite_theta(channels: int, extent: int = 0) -> GatherExcite:
    """Build `GatherExcite` without the two layers of squeeze-and-excitation."""
    return GatherExcite(channels, extent, 'theta')


def gather_excite_theta_minus(channels: int, extent: int = 0) -> GatherExcite:
    """Build `GatherExcite` without weights."""
    return GatherExcite(channels, extent, 'theta-')


class _GlobalDepthwise(HybridBlock):
    """One filter as large as the image for each channel, (B, C, H, W) to (B, C, 1, 1).

    A convolution would need to know that size in advance; this weight, with a convolution's shape, takes it
    from the first image.
    """

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.weight = self.params.get('weight', shape=(channels, 1, 0, 0), allow_deferred_init=True)

    def hybrid_forward(self, F, x, weight):
        one_image = F.reshape(F.slice_axis(x, axis=0, begin=0, end=1), (-1, 1, 0, 0))
        weight = F.elemwise_add(weight, F.zeros_like(one_image))  # determines the weight's shape
        products = F.broadcast_mul(x, F.transpose(weight, (1, 0, 2, 3)))
        return F.Pooling(products, pool_type='sum', global_pool=True)


def _windows(extent: int) -> nn.AvgPool2D | None:
    """Build the average over the window around each extent-th pixel; None for the whole image."""
    if not extent:
        return None
    return nn.AvgPool2D(pool_size=2 * extent - 1, strides=extent, padding=extent - 1, count_include_pad=False)


def _depthwise(channels: int, extent: int) -> nn.HybridSequential:
    layers = nn.HybridSequential(prefix='gather_')
    with layers.name_scope():
        if not extent:
            layers.add(_GlobalDepthwise(channels), nn.BatchNorm(in_channels=channels))
        for step in range(int(math.log2(extent)) if extent else 0):
            if step:
                layers.add(nn.Activation('relu'))
            layers.add(nn.Conv2D(channels, kernel_size=3, strides=2, padding=1, groups=channels,
                                 use_bias=False, in_channels=channels),
                       nn.BatchNorm(in_channels=channels))
    return layers
