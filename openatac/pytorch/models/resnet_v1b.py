"""The ImageNet host in PyTorch: ResNet-50 v1b, with optional ATAC and self-attention in its bottlenecks.

The counterpart of `openatac.models.resnet_v1b`, which names the sources and any deviations.
"""
from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from openatac.errors import ArgumentError
from openatac.pytorch.models.parts import Stage, find_attention
from openatac.pytorch.nn.initializers import initialize
from openatac.pytorch.nn.normalisation import BatchNorm
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


class BottleneckV1bATAC(nn.Module):
    """The bottleneck: 1x1, 3x3 and 1x1 convolutions, plus a shortcut, then a ReLU.

    Maps (B, C, H, W) to (B, 4 planes, H / strides, W / strides).

    Parameters
    ----------
    in_channels, planes : int
        Channels of the input, and of the first two convolutions.
    activation, norm, attention : callable
        Build, from their channels, relu1 and relu2 (relu3, after the addition, stays a ReLU), each
        normalisation, and the end of the main path, before the addition.
    spatial : callable
        ``spatial(channels, in_channels=, strides=, dilation=)`` builds the 3x3 convolution, or its
        replacement.
    last_gamma : bool
        Start the scale of the last normalisation at zero.
    strides, dilation : int, default 1
        Stride and dilation of the 3x3 convolution.
    downsample : Module, optional
        The shortcut where the shape changes.
    """

    def __init__(self, in_channels: int, planes: int, activation: Factory, norm: Factory, attention: Factory,
                 spatial: Factory, last_gamma: bool, strides: int = 1, dilation: int = 1,
                 downsample: nn.Module | None = None) -> None:
        super().__init__()
        channels = planes * EXPANSION
        self.conv1 = nn.Conv2d(in_channels, planes, kernel_size=1, bias=False)
        self.bn1 = norm(planes)
        self.conv2 = spatial(planes, in_channels=planes, strides=strides, dilation=dilation)
        self.bn2 = norm(planes)
        self.conv3 = nn.Conv2d(planes, channels, kernel_size=1, bias=False)
        self.bn3 = norm(channels)
        if last_gamma:
            if not hasattr(self.bn3, 'gamma'):
                raise ArgumentError('last_gamma', 'last_gamma needs normalisations with a gamma, but '
                                    'norm_layer builds none')
            nn.init.zeros_(self.bn3.gamma)
        self.downsample = downsample or nn.Identity()
        self.relu1 = activation(planes)
        self.relu2 = activation(planes)
        self.relu3 = nn.ReLU()
        self.attention = attention(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.relu2(self.bn2(self.conv2(y)))
        y = self.attention(self.bn3(self.conv3(y)))
        return self.relu3(y + self.downsample(x))


class ResNet50_v1bATAC(nn.Module):
    """ResNet v1b of bottlenecks, (B, 3, H, W) to (B, classes) logits.

    Takes the arguments of `openatac.models.resnet_v1b.ResNet50_v1bATAC`. ``norm_layer(channels,
    **norm_kwargs)`` builds each normalisation of the host, by default `BatchNorm`; ``use_global_stats``
    tells it to use the running statistics in training too. ``name_prefix`` has no effect.
    """

    layer1: Stage
    layer2: Stage
    layer3: Stage
    layer4: Stage

    def __init__(self, act_type: str = 'ChaATAC', r: float = 2, act_layers: int = 2,
                 layers: Sequence[int] = (3, 4, 6, 3), classes: int = 1000, dilated: bool = False,
                 norm_layer: Factory = BatchNorm, norm_kwargs: dict[str, Any] | None = None,
                 last_gamma: bool = False, deep_stem: bool = False, stem_width: int = 32,
                 avg_down: bool = False, final_drop: float = 0.0, use_global_stats: bool = False,
                 name_prefix: str = '', attention: str | None = None, reduction: float = 16,
                 self_attention: str | None = None) -> None:
        super().__init__()
        check_resnet_v1b(layers, classes, stem_width, final_drop, self_attention, deep_stem)
        replaced = None if self_attention is None else SELF_ATTENTIONS.find(self_attention)
        stem = None if replaced is None else replaced.stem
        norm_kwargs = {**(norm_kwargs or {}), **({'use_global_stats': True} if use_global_stats else {})}
        norm = partial(norm_layer, **norm_kwargs)
        activations = place_activations('torch', act_type, 'relu', act_layers, r=r, **LOCAL_ATAC)
        strides, dilations = strides_and_dilations(dilated)

        in_channels = 2 * stem_width if deep_stem else STEM_CHANNELS
        self.conv1 = stem.torch(STEM_CHANNELS) if stem else _stem(stem_width, norm, deep_stem)
        self.bn1 = norm(in_channels)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(4) if stem else nn.MaxPool2d(3, stride=2, padding=1)
        for index, planes in enumerate(STAGE_CHANNELS):
            bottleneck = partial(
                BottleneckV1bATAC, planes=planes, activation=activations[index], norm=norm,
                attention=find_attention(attention, reduction), spatial=_spatial(replaced, index),
                last_gamma=last_gamma)
            channels = planes * EXPANSION
            shortcut = None
            if strides[index] != 1 or in_channels != channels:
                shortcut = _shortcut(in_channels, channels, strides[index], avg_down, norm)
            stage = Stage(
                bottleneck(in_channels, strides=strides[index], dilation=max(1, dilations[index] // 2),
                           downsample=shortcut),
                *(bottleneck(channels, dilation=dilations[index]) for _ in range(1, layers[index])))
            stage.number = index + 1
            setattr(self, f'layer{index + 1}', stage)
            in_channels = channels
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flat = nn.Flatten()
        self.drop = nn.Dropout(final_drop)
        self.fc = nn.Linear(in_channels, classes)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.drop(self.flat(self.avgpool(x))))


def _spatial(replaced: SelfAttention | None, stage: int) -> Factory:
    """Return the factory of a stage's 3x3 convolutions, or of the self-attention in their place."""
    arguments = None if replaced is None else replaced.stages[stage]
    return _conv3x3 if replaced is None or arguments is None else partial(replaced.spatial.torch, **arguments)


def _conv3x3(channels: int, in_channels: int, strides: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, channels, kernel_size=3, stride=strides, padding=dilation,
                     dilation=dilation, bias=False)


def _stem(width: int, norm: Factory, deep: bool) -> nn.Module:
    if not deep:
        return nn.Conv2d(3, STEM_CHANNELS, kernel_size=7, stride=2, padding=3, bias=False)
    return nn.Sequential(
        nn.Conv2d(3, width, kernel_size=3, stride=2, padding=1, bias=False), norm(width), nn.ReLU(),
        nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False), norm(width), nn.ReLU(),
        nn.Conv2d(width, 2 * width, kernel_size=3, padding=1, bias=False))


def _shortcut(in_channels: int, channels: int, stride: int, avg_down: bool, norm: Factory) -> nn.Sequential:
    pool = [nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False)] if avg_down else []
    return nn.Sequential(
        *pool,
        nn.Conv2d(in_channels, channels, kernel_size=1, stride=1 if avg_down else stride, bias=False),
        norm(channels))
