"""The gates of a Gluon network and their statistics.

The gated units and their gates are found in the symbol graph, so ATAC, SE and any other unit of that form
(Swish and xUnit too) need no special code here.
"""
from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import mxnet as mx
import numpy as np
from mxnet.gluon import nn

from openatac.graph.gates import Gate, find_gates
from openatac.graph.nodes import INPUT, Graph, Node, Output
from openatac.nn.atac import ChaATAC
from openatac.study.gates.gate_sums import GateSums
from openatac.zoo.names import stage_of


class UnitGate(NamedTuple):
    """A gate that multiplies a unit's input.

    Attributes
    ----------
    layer, stage, unit : str
        See `openatac.study.gates.gate_sums.GateSums`.
    x, factor : Output
        The unit's input, and the gate.
    """

    layer: str
    stage: str
    unit: str
    x: Output
    factor: Output


def unit_gates(net: mx.gluon.HybridBlock) -> list[UnitGate]:
    """Find the gates of a network that takes images, in graph order; [] if it has none."""
    calls: list[tuple[Any, ...]] = []
    with contextlib.ExitStack() as hooks:
        for layer, stage, block in _blocks(net):
            hooks.enter_context(block.register_forward_hook(
                lambda unit, inputs, output, layer=layer, stage=stage: calls.append(
                    (layer, stage, unit, inputs[0].name, output.name))))
        graph = Graph.of(net(mx.sym.var(INPUT)))
    nodes = {node.name: node for node in graph.nodes()}
    gates = {gate.product: gate for gate in find_gates(graph)}
    units = []
    for layer, stage, unit, x, output in calls:
        chain = _chain(nodes.get(x), nodes.get(output), gates)
        for number, gate in enumerate(chain, 1):
            name = layer if len(chain) == 1 else f'{layer}:{number}'
            units.append(UnitGate(name, stage, _kind(unit), chain[0].x, gate.factor))
    return units


def _blocks(block: mx.gluon.Block, path: str = '', stage: str = ''
            ) -> Iterator[tuple[str, str, mx.gluon.Block]]:
    """Yield (structural name, stage, block) of all blocks in a block; prefixes identify the stages."""
    for name, child in block._children.items():
        child_stage = stage_of(child.prefix) or stage
        yield path + name, child_stage, child
        yield from _blocks(child, path + name + '.', child_stage)


def _chain(x: Node | None, output: Node | None, gates: dict[Node, Gate]) -> list[Gate]:
    """Return the gates [g1, g2, ...] if ``output`` is x * g1 * g2 * ..., else []."""
    chain: list[Gate] = []
    while output is not x:
        if output not in gates:
            return []
        chain.insert(0, gates[output])
        output = chain[0].x.node
    return chain


def _kind(unit: mx.gluon.Block) -> str:
    """Return 'ChaATAC', 'global ChaATAC', 'SEBlock', ..."""
    name = type(unit).__name__
    pools = isinstance(unit, ChaATAC) and isinstance(unit.module[0], nn.GlobalAvgPool2D)
    return 'global ' + name if pools else name


def gate_statistics(net: mx.gluon.HybridBlock, batches: Iterable[np.ndarray]) -> list[dict[str, Any]]:
    """Compute the statistics of all gates of a network over images; [] for a network without gates.

    Parameters
    ----------
    net : HybridBlock
        An initialised network on the CPU; it runs in evaluation mode.
    batches : iterable of float32 (B, C, H, W)
        Held in memory, with their gates, one at a time.

    Returns
    -------
    list of dict
        `GateSums.statistics` of each gate, in graph order.

    Raises
    ------
    FloatingPointError
        If inputs or gates are not finite.
    """
    gates = unit_gates(net)
    if not gates:
        return []
    wanted = Graph([output for gate in gates for output in (gate.x, gate.factor)])
    inside = mx.gluon.SymbolBlock(wanted.symbol(), mx.sym.var(INPUT, dtype='float32'),
                                  params=net.collect_params())
    sums = [GateSums(gate.layer, gate.stage, gate.unit) for gate in gates]
    for images in batches:
        values = [value.asnumpy() for value in inside(mx.nd.array(images))]
        for total, x, value in zip(sums, values[::2], values[1::2]):
            total.add(x, value)
    return [total.statistics() for total in sums]
