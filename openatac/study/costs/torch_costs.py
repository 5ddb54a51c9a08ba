"""Count the costs of a PyTorch network, as `openatac.study.costs.gluon_costs` does in a graph."""
from __future__ import annotations

from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode


class TotalCosts(NamedTuple):
    """The costs of a network: trainable parameters, and multiply-adds for one image."""

    trainable: int
    multiply_adds: int


def costs(net: torch.nn.Module, image_shape: tuple[int, ...]) -> TotalCosts:
    """Return the `TotalCosts` of a network, which is left in evaluation mode.

    PyTorch counts two operations for each multiply-add of convolutions, linear layers and matrix products,
    except for products with one pixel (in attention-augmented convolutions, less than 0.01%).
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.eval()(torch.zeros(1, *image_shape))
    trainable = sum(parameter.numel() for parameter in net.parameters())
    return TotalCosts(trainable, counter.get_total_flops() // 2)
