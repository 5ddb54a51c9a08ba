"""The CIFAR host: a pre-activation ResNet whose activations can be any of `openatac.zoo.units.ACTIVATIONS`.

He, Zhang, Ren, Sun, "Identity Mappings in Deep Residual Networks", ECCV 2016,
https://arxiv.org/abs/1603.05027, figure 4 (e), as in table I of "Attention as Activation". The paper does not
specify the shortcut of a block that changes the channels; here it is a 1x1 convolution of the raw input.
"""
from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from mxnet.gluon import nn
from mxnet.gluon.block import HybridBlock

from openatac.models.host_network import HostNetwork
from openatac.models.parts import cifar_stage, find_attention
from openatac.registry import Factory
from openatac.zoo.host_arguments import check_cifar_resnet_v2, place_activations


class CIFARBasicBlockV2ATAC(HybridBlock):
    """The pre-activation block: conv2(act2(bn2(conv1(act1(bn1(x)))))) + shortcut(x).

    Maps (B, in_channels, H, W) to (B, channels, H / stride, W / stride). The shortcut is a strided 1x1
    convolution of the block's raw input where the channel count changes, else the identity.

    Parameters
    ----------
    channels, in_channels : int
        Channels of the output and of the input.
    stride : int
        The stride of the first convolution and of the shortcut.
    activation : callable
        ``activation(channels)`` builds each of the two activations.
    norm : callable
        ``norm()`` builds each of the two normalisations.
    drop_rate : float, default 0
        Dropout before the second convolution.
    attention : callable, optional
        ``attention(channels)`` builds the end of the main path, before the addition.
    """

    def __init__(self, channels: int, stride: int, in_channels: int, activation: Factory, norm: Factory,
                 drop_rate: float = 0.0, attention: Factory | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.bn1 = norm()
            self.conv1 = nn.Conv2D(channels, kernel_size=3, strides=stride, padding=1, use_bias=False,
                                   in_channels=in_channels)
            self.bn2 = norm()
            self.conv2 = nn.Conv2D(channels, kernel_size=3, padding=1, use_bias=False, in_channels=channels)
            self.downsample = nn.Conv2D(channels, kernel_size=1, strides=stride, use_bias=False,
                                        in_channels=in_channels) if channels != in_channels else None
            self.msAA1 = activation(in_channels)
            self.msAA2 = activation(channels)
            self.dropout = nn.Dropout(drop_rate) if drop_rate else None
            self.attention = attention(channels) if attention else None

    def hybrid_forward(self, F, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.conv1(self.msAA1(self.bn1(x)))
        x = self.msAA2(self.bn2(x))
        if self.dropout is not None:
            x = self.dropout(x)
        x = self.conv2(x)
        if self.attention is not None:
            x = self.attention(x)
        return x + shortcut


class ResNet20V2ATAC(HostNetwork):
    """Pre-activation ResNet for small images, (B, 3, 32, 32) to (B, classes) logits.

    Parameters
    ----------
    layers : three ints, default (3, 3, 3)
        Blocks per stage; ``[b] * 3`` is a ResNet-(6b + 2).
    channels : four ints, default (16, 16, 32, 64)
        Channels of the first convolution and of the three stages.
    classes : int, default 10
        Number of classes.
    act_type : str, default 'ChaATAC'
        The activation under study, a name in `openatac.zoo.units.ACTIVATIONS`.
    r, useReLU, useGlobal
        Settings of ChaATAC, which other activations ignore.
    act_layers, replace_act, act_order
        Which of the four slots get ``act_type`` (see `openatac.zoo.host_arguments`), and the activation in
        the others.
    skernel, dilation, asBackbone
        Part of the published signature; no effect there or here.
    norm_layer, norm_kwargs
        ``norm_layer(**norm_kwargs)`` builds each normalisation of the host; the first, on the image, also
        gets ``scale=False, center=False``. ChaATAC always has its own BatchNorm.
    drop_rate : float, default 0
        Dropout before each block's second convolution, as in GluonCV's wide ResNets.
    attention : str, optional
        A name in `openatac.zoo.units.ATTENTIONS`: the attention at the end of each block's main path, like SE
        in Hu et al., 2018.
    reduction : float, default 16
        Channel reduction ratio of those attention blocks that have a bottleneck.

    Raises
    ------
    ValueError
        For arguments that do not describe a network.
    """

    def __init__(self, layers: Sequence[int] = (3, 3, 3), channels: Sequence[int] = (16, 16, 32, 64),
                 classes: int = 10, act_type: str = 'ChaATAC', r: float = 2, skernel: int = 3,
                 dilation: int = 1, useReLU: bool = True, useGlobal: bool = False, act_layers: int = 4,
                 replace_act: str = 'relu', act_order: str = 'bac', asBackbone: bool = False,
                 norm_layer: Factory = nn.BatchNorm, norm_kwargs: dict[str, Any] | None = None,
                 drop_rate: float = 0.0, attention: str | None = None, reduction: float = 16,
                 **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_cifar_resnet_v2(layers, channels, classes, drop_rate)
        norm = partial(norm_layer, **(norm_kwargs or {}))
        activations = place_activations('gluon', act_type, replace_act, act_layers, act_order, r=r,
                                        useReLU=useReLU, useGlobal=useGlobal)
        with self.name_scope():
            self.features = nn.HybridSequential(prefix='')
            self.features.add(norm(scale=False, center=False),
                              nn.Conv2D(channels[0], kernel_size=3, strides=1, padding=1, use_bias=False))
            for stage, blocks in enumerate(layers):
                self.features.add(cifar_stage(
                    CIFARBasicBlockV2ATAC, stage, blocks, channels[stage], channels[stage + 1],
                    activation=activations[stage], norm=norm, drop_rate=drop_rate,
                    attention=find_attention(attention, reduction), prefix=''))
            self.features.add(norm(), activations[-1](channels[-1]), nn.GlobalAvgPool2D(),
                              nn.Flatten())
            self.output = nn.Dense(classes, in_units=channels[-1])

    def hybrid_forward(self, F, x):
        return self.output(self.features(x))
