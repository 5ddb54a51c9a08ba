"""Recognise activations among the modules and functions of PyTorch."""
from __future__ import annotations

import functools

import torch
from torch import nn

from openatac.registry import Factories
from openatac.zoo.units import ACTIVATIONS

ACTIVATION_CLASSES = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.RReLU, nn.PReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU,
                      nn.SiLU, nn.Mish, nn.Hardswish, nn.Softplus)
# From timm and others, some under the same names as PyTorch's.
ACTIVATION_CLASS_NAMES = ('GELU', 'PReLU', 'Mish', 'Swish', 'HardSwish', 'HardMish', 'QuickGELU', 'GELUTanh')
GATE_CLASS_NAMES = ('HardSigmoid',)  # timm's, which calls relu6
FUNCTIONS = ('relu', 'relu6', 'leaky_relu', 'rrelu', 'prelu', 'elu', 'celu', 'selu', 'gelu', 'silu', 'mish',
             'hardswish', 'softplus')


def is_activation(module: nn.Module) -> bool:
    """Return whether a module is an activation."""
    return isinstance(module, (*ACTIVATION_CLASSES, *_classes_of(ACTIVATIONS.values()))) or (
        type(module).__name__ in ACTIVATION_CLASS_NAMES)


def is_activation_or_gate(module: nn.Module) -> bool:
    """Return whether a module is an activation or a gate; its parts then do not count as activations."""
    return is_activation(module) or type(module).__name__ in GATE_CLASS_NAMES


@functools.cache
def _classes_of(units: tuple[Factories, ...]) -> tuple[type, ...]:
    with torch.random.fork_rng(devices=[]):
        ours = {type(unit.torch(64)) for unit in units if unit.has('torch')}
    return tuple(ours - {nn.Sequential})
