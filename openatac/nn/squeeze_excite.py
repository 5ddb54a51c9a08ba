"""Squeeze-and-excitation, and the parts it shares with other channel attention.

Hu, Shen, Sun, "Squeeze-and-Excitation Networks", CVPR 2018, https://arxiv.org/abs/1709.01507
"""
from __future__ import annotations

from typing import Any

from mxnet.gluon import nn
from mxnet.gluon.block import HybridBlock

from openatac.zoo.unit_arguments import bottleneck


def average_pixels(F, x):
    """Average x (B, C, H, W) over the pixels, to (B, C)."""
    return F.flatten(F.Pooling(x, pool_type='avg', global_pool=True))


def scale_channels(F, x, gate):
    """Multiply x (B, C, H, W) by gate (B, C) or (B, C, 1, 1), the same for all pixels."""
    return F.broadcast_mul(x, F.reshape(gate, (0, 0, 1, 1)))


def excitation(channels: int, reduction: float, pixels: bool = False) -> nn.HybridSequential:
    """Build W2 . relu(W1 . x) for each image, (B, C) or (B, C, 1, 1), or for each pixel, (B, C, H, W)."""
    inner = bottleneck(channels, reduction, 'reduction')
    layers = nn.HybridSequential(prefix='excite_')
    with layers.name_scope():
        if pixels:
            layers.add(nn.Conv2D(inner, kernel_size=1, use_bias=False, in_channels=channels),
                       nn.Activation('relu'),
                       nn.Conv2D(channels, kernel_size=1, use_bias=False, in_channels=inner))
        else:
            layers.add(nn.Dense(inner, use_bias=False, in_units=channels), nn.Activation('relu'),
                       nn.Dense(channels, use_bias=False, in_units=inner))
    return layers


class SEBlock(HybridBlock):
    """Squeeze-and-excitation, equations 2 to 4: x * sigmoid(W2 . relu(W1 . average of x)).

    Maps (B, C, H, W) to the same shape and has 2 C (C/reduction) weights.

    Parameters
    ----------
    channels : int
        C, the channels of the input.
    reduction : float, default 16
        W1: C -> C/reduction (rounded down), W2: back. No biases, as in GluonCV's SE networks.

    Raises
    ------
    ValueError
        If ``reduction`` leaves no bottleneck.
    """

    def __init__(self, channels: int, reduction: float = 16, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.excite = excitation(channels, reduction)

    def hybrid_forward(self, F, x):
        return scale_channels(F, x, F.sigmoid(self.excite(average_pixels(F, x))))
