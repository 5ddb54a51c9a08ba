"""Weights that take their shape from the first input."""
from __future__ import annotations

import abc
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin


class ShapedByInput(LazyModuleMixin, nn.Module):
    """A module whose ``weight`` gets its shape and values from the first input, or from a state_dict."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # about lazy modules being new in PyTorch
            super().__init__()
        self.weight = nn.UninitializedParameter()

    @abc.abstractmethod
    def shape_for(self, x: Tensor) -> tuple[int, ...]:
        """Return the weight's shape for an input."""

    @abc.abstractmethod
    def draw_weight(self) -> None:
        """Draw the weight's initial values."""

    def initialize_parameters(self, x: Tensor) -> None:
        """Shape the weight for an input and draw its values; PyTorch calls this before the first forward."""
        if self.has_uninitialized_params():
            with torch.inference_mode(False), torch.no_grad():  # to keep it trainable
                self.weight.materialize(self.shape_for(x))
                self.draw_weight()


class _LazyConv2d(nn.LazyConv2d):
    def initialize_parameters(self, x: Tensor) -> None:  # type: ignore[override]
        with torch.inference_mode(False):  # to keep it trainable
            super().initialize_parameters(x)


def conv2d(in_channels: int, channels: int, kernel_size: int, **settings: Any) -> nn.Conv2d:
    """Return a convolution without a bias; if ``in_channels`` is 0, the first input determines them."""
    if in_channels:
        return nn.Conv2d(in_channels, channels, kernel_size, bias=False, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # about lazy modules being new in PyTorch
        return _LazyConv2d(channels, kernel_size, bias=False, **settings)
