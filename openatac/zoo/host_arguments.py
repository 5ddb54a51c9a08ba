"""The arguments of the hosts, for MXNet and PyTorch: defaults, limits, and which activation goes where.

Each host has four slots, front to back: in the pre-activation CIFAR host, its three stages and the activation
after the last one; in the others, their four stages. ``act_layers`` of the four get ``act_type`` and the rest
``replace_act``: the last ones (``act_order='bac'``, from the back) or the first ones (``'pre'``).
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openatac.argument_checks import check_counts, check_number, check_whole
from openatac.errors import ArgumentError
from openatac.limits import MAX_BLOCKS, MAX_CHANNELS, MAX_CLASSES
from openatac.registry import Factory, LibraryName, bind_accepted
from openatac.zoo.units import ACTIVATIONS, ATAC, SELF_ATTENTIONS

SLOTS = 4

# For ResNet v1b: the channels after the stem and inside each stage's bottlenecks, and the factor to the
# bottlenecks' output channels.
STEM_CHANNELS, STAGE_CHANNELS, EXPANSION = 64, (64, 128, 256, 512), 4
LOCAL_ATAC: dict[str, Any] = {'useReLU': True, 'useGlobal': False}  # ResNet v1b's, as published

# Defaults by name, so names can be listed without loading either library. The signatures in both libraries
# repeat them (a test keeps them equal). A norm_layer of None stands for the library's BatchNorm.
_ATAC = {'act_type': ATAC, 'r': 2, 'useReLU': True, 'useGlobal': False}
_PLACES = {'act_layers': 4, 'replace_act': 'relu', 'act_order': 'bac'}
_ATTENTION = {'attention': None, 'reduction': 16}
_NORM = {'norm_layer': None, 'norm_kwargs': None}
CIFAR_RESNET_V2: dict[str, Any] = {
    'layers': (3, 3, 3), 'channels': (16, 16, 32, 64), 'classes': 10, 'skernel': 3, 'dilation': 1,
    'asBackbone': False, 'drop_rate': 0.0, **_ATAC, **_PLACES, **_NORM, **_ATTENTION}
CIFAR_RESNET18_V1: dict[str, Any] = {
    'layers': (2, 2, 2, 2), 'channels': (64, 128, 256, 512), 'classes': 10, 'drop_rate': 0.0, **_ATAC,
    **_PLACES, **_NORM, **_ATTENTION}
RESNET50_V1B: dict[str, Any] = {
    'act_type': ATAC, 'r': 2, 'act_layers': 2, 'layers': (3, 4, 6, 3), 'classes': 1000, 'dilated': False,
    'last_gamma': False, 'deep_stem': False, 'stem_width': 32, 'avg_down': False, 'final_drop': 0.0,
    'use_global_stats': False, 'name_prefix': '', 'self_attention': None, **_NORM, **_ATTENTION}


def check_cifar_resnet_v2(layers: Sequence[int], channels: Sequence[int], classes: int,
                          drop_rate: float) -> None:
    """Raise ArgumentError unless these describe a pre-activation CIFAR network."""
    _check_cifar_host(3, layers, channels, classes, drop_rate)
    _check_strides(channels)


def check_cifar_channels(channels: Sequence[int]) -> None:
    """Raise ArgumentError unless a pre-activation CIFAR network can have these channels."""
    check_counts('channels', channels, 4, MAX_CHANNELS)
    _check_strides(channels)


def _check_strides(channels: Sequence[int]) -> None:
    if channels[1] == channels[2] or channels[2] == channels[3]:
        raise ArgumentError('channels', 'stages 2 and 3 must change the channels, since only then do their '
                            f'shortcuts have a stride, as published; channels {channels!r} do not')


def check_cifar_resnet18(layers: Sequence[int], channels: Sequence[int], classes: int,
                         drop_rate: float) -> None:
    """Raise ArgumentError unless these describe a ResNet-18 for CIFAR."""
    _check_cifar_host(4, layers, channels, classes, drop_rate)


def _check_cifar_host(stages: int, layers: Sequence[int], channels: Sequence[int], classes: int,
                      drop_rate: float) -> None:
    check_counts('layers', layers, stages, MAX_BLOCKS)
    check_counts('channels', channels, 4, MAX_CHANNELS)
    check_whole('classes', classes, 1, MAX_CLASSES)
    check_number('drop_rate', drop_rate, low=0, below=1)


def check_resnet_v1b(layers: Sequence[int], classes: int, stem_width: int, final_drop: float,
                     self_attention: str | None, deep_stem: bool) -> None:
    """Raise ArgumentError unless these describe a ResNet v1b."""
    check_counts('layers', layers, 4, MAX_BLOCKS)
    check_whole('classes', classes, 1, MAX_CLASSES)
    check_whole('stem_width', stem_width, 1, MAX_CHANNELS // 2)
    check_number('final_drop', final_drop, low=0, below=1)
    if self_attention is not None and SELF_ATTENTIONS.find(self_attention).stem and deep_stem:
        raise ArgumentError('self_attention', f'self_attention={self_attention!r} has its own stem: '
                            'leave out deep_stem')


def strides_and_dilations(dilated: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the stride and the dilation of each stage of a ResNet v1b."""
    return ((1, 2, 1, 1), (1, 1, 2, 4)) if dilated else ((1, 2, 2, 2), (1, 1, 1, 1))


def place_activations(library: LibraryName, act_type: str, replace_act: str, act_layers: int,
                      act_order: str = 'bac', **settings: Any) -> list[Factory]:
    """Return ``activation(channels)`` for each of the four `slots`, in a library.

    For the other parameters, see `slots`. Each activation gets the ``settings`` (r, useReLU, useGlobal) that
    it accepts.
    """
    return [bind_accepted(ACTIVATIONS.find(name).of(library), **settings)
            for name in slots(act_type, replace_act, act_layers, act_order)]


def slots(act_type: str, replace_act: str, act_layers: int, act_order: str) -> list[str]:
    """Return the name of the activation in each of the four slots.

    Raises
    ------
    ValueError
        For an unknown name, ``act_layers`` outside 0..4 or an unknown ``act_order``.
    """
    chosen = ACTIVATIONS.name_of(act_type)
    other = ACTIVATIONS.name_of(replace_act, 'replace_act')
    check_whole('act_layers', act_layers, 0, SLOTS)
    if act_order not in ('bac', 'pre'):
        raise ArgumentError('act_order', 'act_order must be bac (from the back) or pre (from the front), not '
                            f'{act_order!r}')
    first = [other] * (SLOTS - act_layers)
    last = [chosen] * act_layers
    return first + last if act_order == 'bac' else last + first
