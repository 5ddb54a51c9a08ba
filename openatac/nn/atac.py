"""The ATAC unit: attention as activation.

Dai, Oehmcke, Gieseke, Wu, Barnard, "Attention as Activation", ICPR 2020,
https://arxiv.org/abs/2007.07729, section III: local channel attention in place of the activation,

    L(x) = sigmoid(BN(W2 . relu(BN(W1 . x)))),    ATAC(x) = x * L(x)

where W1: C -> C/r and W2: C/r -> C are 1x1 convolutions without biases. Does not deviate from the paper.
"""
from __future__ import annotations

from typing import Any

from mxnet.gluon import nn
from mxnet.gluon.block import HybridBlock

from openatac.zoo.unit_arguments import bottleneck


class ChaATAC(HybridBlock):
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
        Pool over the image first, so that one gate serves all pixels: squeeze-and-excitation
        as an activation, the ablation of section IV.

    Raises
    ------
    ValueError
        If ``r`` leaves no bottleneck.
    """

    def __init__(self, channels: int, r: float = 2, useReLU: bool = True, useGlobal: bool = False,
                 **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels = channels
        self.inter_channels = bottleneck(channels, r, 'r')
        with self.name_scope():
            self.module = nn.HybridSequential(prefix='module')
            if useGlobal:
                self.module.add(nn.GlobalAvgPool2D())
            self.module.add(nn.Conv2D(self.inter_channels, kernel_size=1, use_bias=False))
            self.module.add(nn.BatchNorm())
            if useReLU:
                self.module.add(nn.Activation('relu'))
            self.module.add(nn.Conv2D(channels, kernel_size=1, use_bias=False))
            self.module.add(nn.BatchNorm())
            self.module.add(nn.Activation('sigmoid'))

    def hybrid_forward(self, F, x):
        return F.broadcast_mul(x, self.module(x))
