"""The activations that do not have a separate file.

Each maps (B, C, H, W) to the same shape. `openatac.zoo.units.ACTIVATIONS` lists them all by name.
"""
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openatac.argument_checks import check_number
from openatac.pytorch.nn.initializers import SLOPE


class PReLU(nn.Module):
    """max(0, x) - alpha * max(0, -x) with one learned slope alpha, initially 0.25.

    He, Zhang, Ren, Sun, "Delving Deep into Rectifiers", ICCV 2015, https://arxiv.org/abs/1502.01852,
    equation 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.full((1,), SLOPE))

    def forward(self, x: Tensor) -> Tensor:
        return F.prelu(x, self.alpha)


class Sine(nn.Module):
    """sin(w0 x), the activation of SIREN (Sitzmann et al., 2020, https://arxiv.org/abs/2006.09661).

    Takes the arguments of `openatac.nn.activations.Sine`.
    """

    def __init__(self, w0: float = 1) -> None:
        super().__init__()
        check_number('w0', w0, 'the frequency of the sine', above=0)
        self.w0 = w0

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(self.w0 * x)


# ------------------------------------------------------------------------ built from ``channels``

def relu(channels: int) -> nn.Module:
    """Build max(0, x)."""
    return nn.ReLU()


def prelu(channels: int) -> nn.Module:
    """Build `PReLU`."""
    return PReLU()


def elu(channels: int) -> nn.Module:
    """Build PyTorch's ELU."""
    return nn.ELU()


def selu(channels: int) -> nn.Module:
    """Build PyTorch's SELU."""
    return nn.SELU()


def gelu(channels: int) -> nn.Module:
    """Build PyTorch's GELU."""
    return nn.GELU()


def swish(channels: int) -> nn.Module:
    """Build PyTorch's SiLU."""
    return nn.SiLU()


def mish(channels: int) -> nn.Module:
    """Build PyTorch's Mish."""
    return nn.Mish()


def sine(channels: int, w0: float = 1) -> nn.Module:
    """Build `Sine`."""
    return Sine(w0)
