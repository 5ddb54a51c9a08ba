"""The CIFAR host in PyTorch: a pre-activation ResNet with any of `openatac.zoo.units.ACTIVATIONS`.

The counterpart of `openatac.models.cifar_resnet`, which names the sources and any deviations.
"""
from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from openatac.pytorch.models.parts import cifar_stage, find_attention
from openatac.pytorch.nn.initializers import initialize
from openatac.pytorch.nn.normalisation import BatchNorm
from openatac.registry import Factory
from openatac.zoo.host_arguments import check_cifar_resnet_v2, place_activations


class CIFARBasicBlockV2ATAC(nn.Module):
    """The pre-activation block: conv2(act2(bn2(conv1(act1(bn1(x)))))) + shortcut(x).

    Maps (B, in_channels, H, W) to (B, channels, H / stride, W / stride). The shortcut is a strided 1x1
    convolution of the block's raw input where the channel count changes, else the identity.

    Parameters
    ----------
    channels, in_channels : int
        Channels of the output and of the input.
    stride : int
        The stride of the first convolution and of the shortcut.
    activation, norm, attention : callable
        Build, from their channels, each of the two activations, each of the two normalisations, and the end
        of the main path, before the addition.
    drop_rate : float
        Dropout before the second convolution.
    """

    def __init__(self, channels: int, stride: int, in_channels: int, activation: Factory, norm: Factory,
                 attention: Factory, drop_rate: float) -> None:
        super().__init__()
        self.bn1 = norm(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn2 = norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.downsample: nn.Module = nn.Identity()
        if channels != in_channels:
            self.downsample = nn.Conv2d(in_channels, channels, kernel_size=1, stride=stride, bias=False)
        self.msAA1 = activation(in_channels)
        self.msAA2 = activation(channels)
        self.dropout = nn.Dropout(drop_rate)
        self.attention = attention(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(self.msAA1(self.bn1(x)))
        y = self.conv2(self.dropout(self.msAA2(self.bn2(y))))
        return self.attention(y) + self.downsample(x)


class ResNet20V2ATAC(nn.Module):
    """Pre-activation ResNet for small images, (B, 3, 32, 32) to (B, classes) logits.

    Takes the arguments of `openatac.models.cifar_resnet.ResNet20V2ATAC`. ``norm_layer(channels,
    **norm_kwargs)`` builds each normalisation of the host, by default `BatchNorm`; the first, on the image,
    also gets ``scale=False, center=False``.
    """

    def __init__(self, layers: Sequence[int] = (3, 3, 3), channels: Sequence[int] = (16, 16, 32, 64),
                 classes: int = 10, act_type: str = 'ChaATAC', r: float = 2, skernel: int = 3,
                 dilation: int = 1, useReLU: bool = True, useGlobal: bool = False, act_layers: int = 4,
                 replace_act: str = 'relu', act_order: str = 'bac', asBackbone: bool = False,
                 norm_layer: Factory = BatchNorm, norm_kwargs: dict[str, Any] | None = None,
                 drop_rate: float = 0.0, attention: str | None = None, reduction: float = 16) -> None:
        super().__init__()
        check_cifar_resnet_v2(layers, channels, classes, drop_rate)
        norm = partial(norm_layer, **(norm_kwargs or {}))
        activations = place_activations('torch', act_type, replace_act, act_layers, act_order, r=r,
                                        useReLU=useReLU, useGlobal=useGlobal)
        stages = [cifar_stage(CIFARBasicBlockV2ATAC, stage, blocks, channels[stage], channels[stage + 1],
                              activation=activations[stage], norm=norm, drop_rate=drop_rate,
                              attention=find_attention(attention, reduction))
                  for stage, blocks in enumerate(layers)]
        self.features = nn.Sequential(
            norm(3, scale=False, center=False),  # on the image
            nn.Conv2d(3, channels[0], kernel_size=3, padding=1, bias=False),
            *stages,
            norm(channels[-1]), activations[-1](channels[-1]), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.output = nn.Linear(channels[-1], classes)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.features(x))
