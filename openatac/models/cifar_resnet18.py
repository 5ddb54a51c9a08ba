"""ResNet-18 for small images; its ReLUs can be any of `openatac.zoo.units.ACTIVATIONS`.

He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016,
https://arxiv.org/abs/1512.03385, table 1. Deviates from it in the stem, a 3x3 convolution without pooling.
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
from openatac.zoo.host_arguments import check_cifar_resnet18, place_activations


class CIFARBasicBlockV1(HybridBlock):
    """The post-activation block: act2(bn2(conv2(act1(bn1(conv1(x))))) + shortcut(x)).

    Maps (B, in_channels, H, W) to (B, channels, H / stride, W / stride). The shortcut is a strided 1x1
    convolution with a normalisation where the shape changes, else the identity.

    Parameters
    ----------
    channels, in_channels : int
        Channels of the output and of the input.
    stride : int
        The stride of the first convolution and of the shortcut.
    activation : callable
        ``activation(channels)`` builds each of the two activations.
    norm : callable
        ``norm(in_channels=)`` builds each normalisation.
    drop_rate : float, default 0
        Dropout before the second convolution.
    attention : callable, optional
        ``attention(channels)`` builds the end of the main path, before the addition.
    """

    def __init__(self, channels: int, stride: int, in_channels: int, activation: Factory, norm: Factory,
                 drop_rate: float = 0.0, attention: Factory | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.conv1 = nn.Conv2D(channels, kernel_size=3, strides=stride, padding=1, use_bias=False,
                                   in_channels=in_channels)
            self.bn1 = norm(in_channels=channels)
            self.act1 = activation(channels)
            self.dropout = nn.Dropout(drop_rate) if drop_rate else None
            self.conv2 = nn.Conv2D(channels, kernel_size=3, padding=1, use_bias=False, in_channels=channels)
            self.bn2 = norm(in_channels=channels)
            self.attention = attention(channels) if attention else None
            self.downsample = None
            if stride != 1 or channels != in_channels:
                self.downsample = nn.HybridSequential(prefix='down_')
                self.downsample.add(nn.Conv2D(channels, kernel_size=1, strides=stride, use_bias=False,
                                              in_channels=in_channels), norm(in_channels=channels))
            self.act2 = activation(channels)

    def hybrid_forward(self, F, x):
        y = self.act1(self.bn1(self.conv1(x)))
        if self.dropout is not None:
            y = self.dropout(y)
        y = self.bn2(self.conv2(y))
        if self.attention is not None:
            y = self.attention(y)
        return self.act2(y + (x if self.downsample is None else self.downsample(x)))


class CIFARResNet18(HostNetwork):
    """Post-activation ResNet for small images, (B, 3, 32, 32) to (B, classes) logits.

    Parameters
    ----------
    layers : four ints, default (2, 2, 2, 2)
        Blocks per stage.
    channels : four ints, default (64, 128, 256, 512)
        Channels of the stages; the stem has as many as the first.
    classes : int, default 10
        Number of classes.
    act_type : str, default 'ChaATAC'
        The activation in place of every ReLU, a name in `openatac.zoo.units.ACTIVATIONS`.
    r, useReLU, useGlobal
        Settings of ChaATAC, which other activations ignore.
    act_layers, replace_act, act_order
        Which of the four stages get ``act_type`` (see `openatac.zoo.host_arguments`), and the activation in
        the others; the stem has the first stage's.
    norm_layer, norm_kwargs
        The normalisation of the host; ChaATAC always has its own BatchNorm.
    drop_rate : float, default 0
        Dropout before each block's second convolution.
    attention : str, optional
        A name in `openatac.zoo.units.ATTENTIONS`: the attention at the end of each block's main path.
    reduction : float, default 16
        Channel reduction ratio of those attention blocks that have a bottleneck.

    Raises
    ------
    ValueError
        For arguments that do not describe a network.
    """

    def __init__(self, layers: Sequence[int] = (2, 2, 2, 2), channels: Sequence[int] = (64, 128, 256, 512),
                 classes: int = 10, act_type: str = 'ChaATAC', r: float = 2, useReLU: bool = True,
                 useGlobal: bool = False, act_layers: int = 4, replace_act: str = 'relu',
                 act_order: str = 'bac', norm_layer: Factory = nn.BatchNorm,
                 norm_kwargs: dict[str, Any] | None = None, drop_rate: float = 0.0,
                 attention: str | None = None, reduction: float = 16, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_cifar_resnet18(layers, channels, classes, drop_rate)
        norm = partial(norm_layer, **(norm_kwargs or {}))
        activations = place_activations('gluon', act_type, replace_act, act_layers, act_order, r=r,
                                        useReLU=useReLU, useGlobal=useGlobal)
        with self.name_scope():
            self.features = nn.HybridSequential(prefix='')
            self.features.add(nn.Conv2D(channels[0], kernel_size=3, padding=1, use_bias=False, in_channels=3),
                              norm(in_channels=channels[0]), activations[0](channels[0]))
            for index, blocks in enumerate(layers):
                self.features.add(cifar_stage(
                    CIFARBasicBlockV1, index, blocks, channels[max(0, index - 1)], channels[index], norm=norm,
                    activation=activations[index], drop_rate=drop_rate,
                    attention=find_attention(attention, reduction)))
            self.features.add(nn.GlobalAvgPool2D(), nn.Flatten())
            self.output = nn.Dense(classes, in_units=channels[-1])

    def hybrid_forward(self, F, x):
        return self.output(self.features(x))
