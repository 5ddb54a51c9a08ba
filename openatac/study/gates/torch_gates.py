"""The gates of a PyTorch network and their statistics, like `openatac.study.gates.gluon_gates` for Gluon.

Products are recorded while the network runs: a unit is gated if its output is its input times something.
"""
from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from openatac.pytorch.models.parts import Stage
from openatac.pytorch.nn.atac import ATAC
from openatac.study.gates.gate_sums import GateSums

PRODUCTS = (Tensor.mul, Tensor.__mul__, torch.mul)
# Functions that multiply internally, with the gate of each.
GATED: dict[Callable[..., Tensor], Callable[[Tensor], Tensor]] = {
    F.silu: torch.sigmoid, F.mish: lambda x: torch.tanh(F.softplus(x))}


class _Products(TorchFunctionMode):
    """Records the factors of each product computed within its context."""

    def __init__(self) -> None:
        super().__init__()
        self.factors: dict[int, tuple[Tensor, tuple[Tensor, ...]]] = {}  # {id: the product, its factors}

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        factors = (*args, *(kwargs[name] for name in ('input', 'other') if name in kwargs))
        if function in GATED:
            factors = factors[0], GATED[function](factors[0])
        elif function not in PRODUCTS or not all(isinstance(factor, Tensor) for factor in factors):
            return result
        self.factors[id(result)] = result, factors  # the product too, to prevent the reuse of its id
        return result

    def gates(self, x: Tensor, output: Tensor) -> list[Tensor] | None:
        """Return [g1, g2, ...] if ``output`` is x * g1 * g2 * ..., else None."""
        if output is x:
            return []
        _, factors = self.factors.get(id(output), (output, ()))
        for factor, gate in (factors, factors[::-1]) if factors else ():
            before = self.gates(x, factor)
            if before is not None:
                return [*before, gate]
        return None


def gate_statistics(net: nn.Module, batches: Iterable[np.ndarray]) -> list[dict[str, Any]]:
    """Compute the statistics of all gates of a network on the CPU, in evaluation mode.

    For the other arguments, the result and the errors, see
    `openatac.study.gates.gluon_gates.gate_statistics`.
    """
    net.eval()
    sums: dict[str, GateSums] = {}
    for images in batches:
        for layer, stage, unit, x, gate in _gates(net, torch.from_numpy(images)):
            sums.setdefault(layer, GateSums(layer, stage, unit)).add(x.numpy(), gate.numpy())
    return [total.statistics() for total in sums.values()]


def _gates(net: nn.Module, images: Tensor) -> Iterator[tuple[str, str, str, Tensor, Tensor]]:
    """Run the network; yield (layer, stage, unit, the unit's input, gate) for each gate."""
    calls: list[tuple[str, nn.Module, Any, Any]] = []  # a module's input and output can be anything
    names = {module: name for name, module in net.named_modules() if name}
    products = _Products()
    with contextlib.ExitStack() as hooks, torch.no_grad(), products:
        for module in names:
            hook = module.register_forward_hook(
                lambda module, inputs, named, output: calls.append(
                    (names[module], module, next(iter((*inputs, *named.values())), None), output)),
                with_kwargs=True)
            hooks.callback(hook.remove)
        net(images)
    stages = {name: str(module.number) for module, name in names.items() if isinstance(module, Stage)}
    for layer, module, x, output in calls:
        gates = products.gates(x, output) or []
        stage = next((number for name, number in stages.items() if layer.startswith(name + '.')), '')
        for number, gate in enumerate(gates, 1):
            yield (layer if len(gates) == 1 else f'{layer}:{number}'), stage, _gluon_class(module), x, gate


def _gluon_class(unit: nn.Module) -> str:
    if type(unit) is ATAC:
        return 'global ChaATAC' if isinstance(unit.module[0], nn.AdaptiveAvgPool2d) else 'ChaATAC'
    return 'Swish' if isinstance(unit, nn.SiLU) else type(unit).__name__
