"""The ImageNet host: ResNet-50 v1b, with optional ATAC and self-attention in its bottlenecks.

He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016,
https://arxiv.org/abs/1512.03385, table 1, as in table II of "Attention as Activation", whose rows AA and FA
have self-attention. Deviates from it as v1b does: the 3x3 convolution of a bottleneck has the stride.
"""
from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from mxnet.gluon import nn
from mxnet.gluon.block import HybridBlock

from openatac.models.host_network import HostNetwork
from openatac.models.parts import find_attention
from openatac.registry import Factory
from openatac.zoo.host_arguments import (
    EXPANSION,
    LOCAL_ATAC,
    STAGE_CHANNELS,
    STEM_CHANNELS,
    check_resnet_v1b,
    place_activations,
    strides_and_dilations,
)
from openatac.zoo.units import SELF_ATTENTIONS, SelfAttention


class BottleneckV1bATAC(HybridBlock):
    """The bottleneck: 1x1, 3x3 and 1x1 convolutions, plus a shortcut, then a ReLU.

    Maps (B, C, H, W) to (B, 4 planes, H / strides, W / strides).

    Parameters
    ----------
    planes : int
        Channels of the first two convolutions.
    activation : callable
        ``activation(channels)`` builds relu1 and relu2; relu3, after the addition, stays a ReLU.
    norm : callable
        ``norm(in_channels=)`` builds each normalisation.
    strides, dilation : int, default 1
        Stride and dilation of the 3x3 convolution.
    downsample : HybridBlock, optional
        The shortcut where the shape changes.
    last_gamma : bool, default False
        Start the scale of the last normalisation at zero.
    attention : callable, optional
        ``attention(channels)`` builds the end of the main path, before the addition.
    spatial : callable, optional
        ``spatial(channels, strides=, dilation=)`` builds a replacement for the 3x3 convolution.
    """

    def __init__(self, planes: int, activation: Factory, norm: Factory, strides: int = 1, dilation: int = 1,
                 downsample: HybridBlock | None = None, last_gamma: bool = False,
                 attention: Factory | None = None, spatial: Factory | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        last = {'gamma_initializer': 'zeros'} if last_gamma else {}
        self.conv1 = nn.Conv2D(planes, kernel_size=1, use_bias=False)
        self.bn1 = norm(in_channels=planes)
        self.conv2 = (spatial or _conv3x3)(planes, strides=strides, dilation=dilation)
        self.bn2 = norm(in_channels=planes)
        self.conv3 = nn.Conv2D(planes * EXPANSION, kernel_size=1, use_bias=False)
        self.bn3 = norm(in_channels=planes * EXPANSION, **last)
        self.downsample = downsample
        self.relu1 = activation(planes)
        self.relu2 = activation(planes)
        self.relu3 = nn.Activation('relu')
        self.attention = attention(planes * EXPANSION) if attention else None

    def hybrid_forward(self, F, x):
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.relu2(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        if self.attention is not None:
            y = self.attention(y)
        # After the main path: deferred initial values are drawn in the order of execution.
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu3(y + shortcut)


class ResNet50_v1bATAC(HostNetwork):
    """ResNet v1b of bottlenecks, (B, 3, H, W) to (B, classes) logits.

    Parameters
    ----------
    act_type : str, default 'ChaATAC'
        The activation under study, a name in `openatac.zoo.units.ACTIVATIONS`. ChaATAC is
        local and has its inner ReLU.
    r : float, default 2
        Channel reduction ratio of ChaATAC.
    act_layers : int, default 2
        The last ``act_layers`` of the four stages get ``act_type``, the others ReLU.
    layers : four ints, default (3, 4, 6, 3)
        Bottlenecks per stage.
    classes : int, default 1000
        Number of classes.
    dilated : bool
        Give stages 3 and 4 stride 1 and dilation 2 and 4, for an output stride of 8.
    norm_layer, norm_kwargs, use_global_stats
        The normalisation of the host, its arguments, and whether it uses the running statistics
        in training too. ChaATAC always has its own BatchNorm.
    last_gamma : bool
        Start the scale of each bottleneck's last normalisation at zero.
    deep_stem : bool
        Three 3x3 convolutions in place of the 7x7 one. (The published code accepts the argument but does not
        build such a stem.)
    stem_width : int
        Channels of the first two of them; the third has twice as many.
    avg_down : bool
        Average pooling in place of the stride in the shortcut's 1x1 convolution.
    final_drop : float
        Dropout before the last layer.
    name_prefix : str
        Prefix of the parameters' names.
    attention : str, optional
        A name in `openatac.zoo.units.ATTENTIONS`: the attention at the end of each bottleneck's main path,
        like SE in Hu et al., 2018.
    reduction : float, default 16
        Channel reduction ratio of those attention blocks that have a bottleneck.
    self_attention : str, optional
        A name in `openatac.zoo.units.SELF_ATTENTIONS`. 'aa': the 3x3 convolutions of the last three stages
        are attention-augmented (Bello et al., 2019), at half the resolution in the second stage. All images
        must then have the size of the first.
        'fa': all 3x3 convolutions become self-attention in windows of 7 x 7, and the stem self-attention in
        blocks of 4 x 4 (Ramachandran et al., 2019, "full attention"). Image sides must be multiples of 4.

    Raises
    ------
    ValueError
        For arguments that do not describe a network.
    """

    def __init__(self, act_type: str = 'ChaATAC', r: float = 2, act_layers: int = 2,
                 layers: Sequence[int] = (3, 4, 6, 3), classes: int = 1000, dilated: bool = False,
                 norm_layer: Factory = nn.BatchNorm, norm_kwargs: dict[str, Any] | None = None,
                 last_gamma: bool = False, deep_stem: bool = False, stem_width: int = 32,
                 avg_down: bool = False, final_drop: float = 0.0, use_global_stats: bool = False,
                 name_prefix: str = '', attention: str | None = None, reduction: float = 16,
                 self_attention: str | None = None) -> None:
        super().__init__(prefix=name_prefix)
        check_resnet_v1b(layers, classes, stem_width, final_drop, self_attention, deep_stem)
        replaced = None if self_attention is None else SELF_ATTENTIONS.find(self_attention)
        stem = None if replaced is None else replaced.stem
        norm_kwargs = {**(norm_kwargs or {}), **({'use_global_stats': True} if use_global_stats else {})}
        norm = partial(norm_layer, **norm_kwargs)
        stem_channels = 2 * stem_width if deep_stem else STEM_CHANNELS
        activations = place_activations('gluon', act_type, 'relu', act_layers, r=r, **LOCAL_ATAC)
        strides, dilations = strides_and_dilations(dilated)
        with self.name_scope():
            self.conv1 = stem.gluon(STEM_CHANNELS) if stem else _stem(stem_width, norm, deep_stem)
            self.bn1 = norm(in_channels=stem_channels)
            self.relu = nn.Activation('relu')
            self.maxpool = nn.MaxPool2D(4, 4) if stem else nn.MaxPool2D(3, 2, padding=1)
            in_channels = stem_channels
            for index, planes in enumerate(STAGE_CHANNELS):
                bottleneck = partial(
                    BottleneckV1bATAC, planes, activations[index], norm, last_gamma=last_gamma,
                    attention=find_attention(attention, reduction), spatial=_spatial(replaced, index))
                shortcut = None
                if strides[index] != 1 or in_channels != planes * EXPANSION:
                    shortcut = _shortcut(index, planes * EXPANSION, strides[index], avg_down, norm)
                setattr(self, f'layer{index + 1}', _stage(
                    index, layers[index], bottleneck, strides[index], dilations[index], shortcut))
                in_channels = planes * EXPANSION
            self.avgpool = nn.GlobalAvgPool2D()
            self.flat = nn.Flatten()
            self.drop = nn.Dropout(final_drop) if final_drop else None
            self.fc = nn.Dense(classes, in_units=in_channels)

    def hybrid_forward(self, F, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = self.flat(self.avgpool(x))
        if self.drop is not None:
            x = self.drop(x)
        return self.fc(x)


def _conv3x3(planes: int, strides: int, dilation: int) -> nn.Conv2D:
    return nn.Conv2D(planes, kernel_size=3, strides=strides, padding=dilation, dilation=dilation,
                     use_bias=False)


def _spatial(replaced: SelfAttention | None, stage: int) -> Factory | None:
    """Return the factory of a stage's self-attention; None for convolutions."""
    arguments = None if replaced is None else replaced.stages[stage]
    return None if replaced is None or arguments is None else partial(replaced.spatial.gluon, **arguments)


def _stem(width: int, norm: Factory, deep: bool) -> HybridBlock:
    if not deep:
        return nn.Conv2D(STEM_CHANNELS, kernel_size=7, strides=2, padding=3, use_bias=False)
    stem = nn.HybridSequential(prefix='conv1')
    for index, channels in enumerate((width, width, 2 * width)):
        if index:
            stem.add(norm(in_channels=width), nn.Activation('relu'))
        stem.add(nn.Conv2D(channels, kernel_size=3, strides=1 if index else 2, padding=1, use_bias=False))
    return stem


def _shortcut(index: int, channels: int, stride: int, avg_down: bool, norm: Factory) -> HybridBlock:
    shortcut = nn.HybridSequential(prefix=f'down{index + 1}_')
    with shortcut.name_scope():
        if avg_down:
            shortcut.add(nn.AvgPool2D(stride, stride, ceil_mode=True, count_include_pad=False))
        shortcut.add(nn.Conv2D(channels, kernel_size=1, strides=1 if avg_down else stride, use_bias=False),
                     norm(in_channels=channels))
    return shortcut


def _stage(index: int, blocks: int, bottleneck: Factory, stride: int, dilation: int,
           shortcut: HybridBlock | None) -> nn.HybridSequential:
    """Stack ``blocks`` bottlenecks; the first has the stride, and in a dilated stage half the dilation."""
    stage = nn.HybridSequential(prefix=f'layers{index + 1}_')
    with stage.name_scope():
        stage.add(bottleneck(strides=stride, dilation=max(1, dilation // 2), downsample=shortcut),
                  *(bottleneck(dilation=dilation) for _ in range(1, blocks)))
    return stage
