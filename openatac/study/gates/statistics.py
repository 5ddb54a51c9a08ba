"""Statistics of the gates of a network over a data set.

A gated unit multiplies its input by a gate: x * g(x), section III of "Attention as Activation". The gated
units and their gates are found in the symbol graph, so ATAC, SE and any other unit of that form (Swish and
xUnit too) need no code of their own here.
"""
from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import mxnet as mx
import numpy as np
from mxnet.gluon import nn

from openatac.graph.gates import Gate, find_gates
from openatac.graph.nodes import INPUT, Graph, Node, Output
from openatac.models.zoo import stage_of
from openatac.nn.atac import ChaATAC

LOW, HIGH = 0.1, 0.9  # as in the column names
CONSTANT = float(np.finfo('float32').eps)  # smaller deviations are rounding
COLUMNS = ('layer', 'stage', 'unit', 'channels', 'height', 'width', 'images', 'mean', 'standard_deviation',
           'between_channels', 'between_images', 'between_pixels', 'share_below_0.1', 'share_above_0.9',
           'relu_mask_mean', 'relu_mask_correlation')


class UnitGate(NamedTuple):
    """A gate that a unit multiplies its input by.

    Attributes
    ----------
    layer : str
        The unit's structural name, such as 'features.2.0.msAA1', followed by ':1', ':2' if it has several
        gates.
    stage : str
        The number of its stage, '' outside the stages.
    unit : str
        Its class, such as 'ChaATAC' or 'global ChaATAC'.
    x, factor : Output
        The unit's input, and the gate.
    """

    layer: str
    stage: str
    unit: str
    x: Output
    factor: Output


def unit_gates(net: mx.gluon.HybridBlock) -> list[UnitGate]:
    """Find the gates of a network that takes images, in the order of computation; [] if it has none."""
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
        A network with values on the CPU; it runs in testing mode.
    batches : iterable of float32 (B, C, H, W)
        Held in memory, with their gates, one at a time.

    Returns
    -------
    list of dict
        {column of COLUMNS: value} of each gate, over all its elements, broadcast to the shape (C, H, W) of
        the unit's input. The variance has three shares: ``between_channels``, of the channels' means;
        ``between_images``, of one channel's means over different images; ``between_pixels``, within one
        channel of one image: 0 for a gate that is the same for all pixels, such as SE's. The ReLU mask is [x
        > 0] of the unit's input, and the correlation of the gate with it is Pearson's. A statistic that is
        undefined for a constant gate or mask is None.

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
    sums = [_Sums() for _ in gates]
    for images in batches:
        values = [value.asnumpy() for value in inside(mx.nd.array(images))]
        for gate, total, x, value in zip(gates, sums, values[::2], values[1::2]):
            if not (np.isfinite(x).all() and np.isfinite(value).all()):
                raise FloatingPointError(f'{gate.layer} has values that are not finite')
            total.add(x, value)
    return [{'layer': gate.layer, 'stage': gate.stage, 'unit': gate.unit, **total.statistics()}
            for gate, total in zip(gates, sums)]


class _Sums:
    """Sums over images of seven means over the pixels of each channel, in float64: (7, C)."""

    def __init__(self) -> None:
        self.images, self.sums = 0, np.zeros(())
        self.shape: tuple[int, ...] = ()

    def add(self, x: np.ndarray, gate: np.ndarray) -> None:
        """Add the unit's input (B, C, H, W) and a gate that broadcasts to it."""
        self.shape = x.shape[1:]
        gate, mask = np.broadcast_to(gate, x.shape).astype('float64'), x > 0
        means = [values.mean((2, 3)) for values in (
            gate, gate ** 2, gate < LOW, gate > HIGH, mask, gate * mask)]
        self.sums = self.sums + np.sum([*means, means[0] ** 2], axis=1)
        self.images += len(x)

    def statistics(self) -> dict[str, Any]:
        """Return {column: value} for the COLUMNS from 'channels' on."""
        gate, square, low, high, mask, product, squared_mean = self.sums / self.images
        mean, open_share = gate.mean(), mask.mean()
        # The law of total variance, twice; rounding may make a zero negative.
        parts = [(gate ** 2).mean() - mean ** 2, (squared_mean - gate ** 2).mean(),
                 (square - squared_mean).mean()]
        parts = [max(0.0, part) for part in parts]
        deviation = math.sqrt(sum(parts))
        shares: list[Any] = [None] * 3
        correlation = None
        if deviation > CONSTANT:
            shares = [part / sum(parts) for part in parts]
            if 0 < open_share < 1:
                correlation = (product.mean() - mean * open_share) / (
                    deviation * math.sqrt(open_share * (1 - open_share)))
        return dict(zip(COLUMNS[3:], (*self.shape, self.images, mean, deviation, *shares, low.mean(),
                                      high.mean(), open_share, correlation)))
