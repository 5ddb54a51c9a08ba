"""ResNet-18 for small images in PyTorch; its ReLUs can be any of `openatac.zoo.units.ACTIVATIONS`.

The counterpart of `openatac.models.cifar_resnet18`, which names the sources and any deviations.
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
from openatac.zoo.host_arguments import check_cifar_resnet18, place_activations


class CIFARBasicBlockV1(nn.Module):
    """The post-activation block: act2(bn2(conv2(act1(bn1(conv1(x))))) + shortcut(x)).

    Maps (B, in_channels, H, W) to (B, channels, H / stride, W / stride). The shortcut is a strided 1x1
    convolution with a normalisation where the shape changes, else the identity.

    Parameters
    ----------
    channels, in_channels : int
        Channels of the output and of the input.
    stride : int
        The stride of the first convolution and of the shortcut.
    activation, norm, attention : callable
        Build, from their channels, each of the two activations, each normalisation, and the end of the main
        path, before the addition.
    drop_rate : float
        Dropout before the second convolution.
    """

    def __init__(self, channels: int, stride: int, in_channels: int, activation: Factory, norm: Factory,
                 attention: Factory, drop_rate: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = norm(channels)
        self.act1 = activation(channels)
        self.dropout = nn.Dropout(drop_rate)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.bn2 = norm(channels)
        self.attention = attention(channels)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels != in_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, kernel_size=1, stride=stride, bias=False), norm(channels))
        self.act2 = activation(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.dropout(self.act1(self.bn1(self.conv1(x))))
        y = self.attention(self.bn2(self.conv2(y)))
        return self.act2(y + self.downsample(x))


class CIFARResNet18(nn.Module):
    """Post-activation ResNet for small images, (B, 3, 32, 32) to (B, classes) logits.

    Takes the arguments of `openatac.models.cifar_resnet18.CIFARResNet18`. ``norm_layer(channels,
    **norm_kwargs)`` builds each normalisation of the host, by default `BatchNorm`.
    """

    def __init__(self, layers: Sequence[int] = (2, 2, 2, 2), channels: Sequence[int] = (64, 128, 256, 512),
                 classes: int = 10, act_type: str = 'ChaATAC', r: float = 2, useReLU: bool = True,
                 useGlobal: bool = False, act_layers: int = 4, replace_act: str = 'relu',
                 act_order: str = 'bac', norm_layer: Factory = BatchNorm,
                 norm_kwargs: dict[str, Any] | None = None, drop_rate: float = 0.0,
                 attention: str | None = None, reduction: float = 16) -> None:
        super().__init__()
        check_cifar_resnet18(layers, channels, classes, drop_rate)
        norm = partial(norm_layer, **(norm_kwargs or {}))
        activations = place_activations('torch', act_type, replace_act, act_layers, act_order, r=r,
                                        useReLU=useReLU, useGlobal=useGlobal)
        stages = [cifar_stage(CIFARBasicBlockV1, stage, blocks, channels[max(0, stage - 1)], channels[stage],
                              activation=activations[stage], norm=norm, drop_rate=drop_rate,
                              attention=find_attention(attention, reduction))
                  for stage, blocks in enumerate(layers)]
        self.features = nn.Sequential(
            nn.Conv2d(3, channels[0], kernel_size=3, padding=1, bias=False), norm(channels[0]),
            activations[0](channels[0]),
            *stages,
            nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.output = nn.Linear(channels[-1], classes)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.features(x))
