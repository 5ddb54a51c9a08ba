"""Count the costs of a PyTorch network, as `openatac.study.costs.gluon_costs` does in a graph."""
from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode


def module_costs(net: torch.nn.Module, image_shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (trainable parameters, multiply-adds for one image); leave the network in evaluation mode.

    PyTorch counts two operations for each multiply-add of convolutions, linear layers and matrix products,
    except for products with one pixel (in attention-augmented convolutions, less than 0.01%).
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.eval()(torch.zeros(1, *image_shape))
    return sum(parameter.numel() for parameter in net.parameters()), counter.get_total_flops() // 2
