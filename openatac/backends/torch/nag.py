"""Nesterov accelerated gradient as MXNet 1.9.1 computes it, ``nag_mom_update``, in PyTorch."""
from __future__ import annotations

from typing import Any

import torch


class NAG(torch.optim.Optimizer):
    """The optimizer that Gluon's Trainer calls 'nag', on all parameters of a group at once.

    With the gradient g of a loss summed over the batch, the weight w and the momentum m::

        m <- momentum * m
        w <- w - m + (1 + momentum) * (m - rate * (rescale * g + decay * w))
        m <- m - rate * (rescale * g + decay * w)        with the new w

    torch.optim.SGD's Nesterov step differs in two ways: it multiplies the momentum by the current rate, while
    m here keeps the rate of each step that it sums, and its momentum uses the decay of the old weight.

    Parameters
    ----------
    params : iterable
        Parameters, or PyTorch's groups of them, each with its own lr_mult and wd_mult.
    lr, momentum, weight_decay : float
        As in mxnet.optimizer.NAG.
    lr_mult, wd_mult : float
        Factors on the rate and on the weight decay, as in gluon.Parameter.

    Attributes
    ----------
    learning_rate : 0-dim tensor
        On the parameters' device. Change the rate by filling it in; a step reads nothing back.
    rescale : float
        A factor on the gradients, 1 / batch size, like MXNet's rescale_grad.
    state : dict
        {parameter: {'momentum': tensor}}, the same numbers as MXNet's.
    """

    def __init__(self, params: Any, lr: float, momentum: float = 0.9, weight_decay: float = 0.0,
                 lr_mult: float = 1.0, wd_mult: float = 1.0) -> None:
        super().__init__(params, {'momentum': momentum, 'weight_decay': weight_decay,
                                  'lr_mult': lr_mult, 'wd_mult': wd_mult})
        weights = [weight for group in self.param_groups for weight in group['params']]
        # In the weights' type: only then does one kernel multiply many arrays by it.
        self.learning_rate = torch.full((), lr, dtype=weights[0].dtype, device=weights[0].device)
        self.rescale = 1.0
        for weight in weights:
            self.state[weight]['momentum'] = torch.zeros_like(weight)

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient, without changing the gradients."""
        for group in self.param_groups:
            weights = [weight for weight in group['params'] if weight.grad is not None]
            if weights:
                self._update(group, weights, [self.state[weight]['momentum'] for weight in weights])

    def _update(self, group: dict[str, Any], weights: list[Any], momenta: list[torch.Tensor]) -> None:
        # A few kernels for hundreds of arrays, where a loop over them would keep a GPU waiting for Python.
        momentum = group['momentum']
        decay = group['weight_decay'] * group['wd_mult']
        rate = self.learning_rate * group['lr_mult']
        gradients = torch._foreach_mul([weight.grad for weight in weights], self.rescale)
        descent = torch._foreach_add(gradients, weights, alpha=decay)
        torch._foreach_mul_(descent, rate)
        torch._foreach_mul_(momenta, momentum)
        torch._foreach_sub_(weights, momenta)
        torch._foreach_add_(weights, torch._foreach_sub(momenta, descent), alpha=1 + momentum)
        torch._foreach_add_(gradients, weights, alpha=decay)
        torch._foreach_mul_(gradients, rate)
        torch._foreach_sub_(momenta, gradients)
