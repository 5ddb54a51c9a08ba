"""What the gates of a network do over a data set.

A gated unit gives back its input times something: x * g(x), section III of "Attention as Activation".
Which units of a network are gated, and by what, is read off its symbol graph, so that ATAC, SE and any
other unit of that form (Swish and xUnit too) need nothing said of them here.
"""
from __future__ import annotations

import math
from typing import NamedTuple

import mxnet as mx
import numpy as np
from mxnet.gluon import nn

from openatac.graph.gates import Gate, find_gates
from openatac.graph.nodes import Graph, Node, Output
from openatac.models.zoo import stage_of
from openatac.nn.atac import ChaATAC

LOW, HIGH = 0.1, 0.9  # near 0 and near 1, as the columns' names say
CONSTANT = float(np.finfo('float32').eps)  # a smaller deviation is rounding
COLUMNS = ('layer', 'stage', 'unit', 'channels', 'height', 'width', 'images', 'mean', 'standard_deviation',
           'between_channels', 'between_images', 'between_pixels', 'share_below_0.1', 'share_above_0.9',
           'relu_mask_mean', 'relu_mask_correlation')


class UnitGate(NamedTuple):
    """A factor of a unit's output.

    layer: the unit's structural name, such as 'features.2.0.msAA1', with ':1', ':2' behind it where a
    unit has several gates; stage: its number as text, '' outside of the stages; unit: what it is;
    x: its input; factor: the gate.
    """

    layer: str
    stage: str
    unit: str
    x: Output
    factor: Output


def unit_gates(net: mx.gluon.HybridBlock) -> list[UnitGate]:
    """The gates of a network that takes images, in the order of computation; [] if it has none."""
    calls, hooks = [], []
    for layer, stage, block in _blocks(net):
        hooks.append(block.register_forward_hook(
            lambda unit, inputs, output, place=(layer, stage): calls.append(
                (*place, unit, inputs[0].name, output.name))))
    try:
        graph = Graph.of(net(mx.sym.var('data')))
    finally:
        for hook in hooks:
            hook.detach()
    nodes = {node.name: node for node in graph.nodes()}
    gates = {gate.product: gate for gate in find_gates(graph)}
    found = []
    for layer, stage, unit, x, output in calls:
        chain = _chain(nodes.get(x), nodes.get(output), gates)
        for number, gate in enumerate(chain, 1):
            name = layer if len(chain) == 1 else f'{layer}:{number}'
            found.append(UnitGate(name, stage, _kind(unit), chain[0].x, gate.factor))
    return found


def _blocks(block, path='', stage=''):
    """(structural name, stage, block) of all blocks in a block; hosts' stages have it in their prefix."""
    for name, child in block._children.items():
        child_stage = stage_of(child.prefix) or stage
        yield path + name, child_stage, child
        yield from _blocks(child, path + name + '.', child_stage)


def _chain(x: Node | None, output: Node | None, gates: dict[Node, Gate]) -> list[Gate]:
    """The gates [g1, g2, ...] if ``output`` is x * g1 * g2 * ..., else []."""
    chain: list[Gate] = []
    while output is not x:
        if output not in gates:
            return []
        chain.insert(0, gates[output])
        output = chain[0].x.node
    return chain


def _kind(unit):
    """'ChaATAC', 'global ChaATAC', 'SEBlock', ..."""
    name = type(unit).__name__
    pools = isinstance(unit, ChaATAC) and isinstance(unit.module[0], nn.GlobalAvgPool2D)
    return 'global ' + name if pools else name


def gate_statistics(net, batches):
    """The statistics of all gates of ``net`` over ``batches`` of images, each a dict of COLUMNS.

    net : HybridBlock with its parameters, on the CPU; it runs as in testing
    batches : NumPy arrays (B, C, H, W), of which one at a time is in memory with its gates

    All are over all elements of a gate, spread to the shape of the unit's input (C, H, W):

    mean, standard_deviation, share_below_0.1, share_above_0.9
    between_channels, between_images, between_pixels
        Shares of the variance that add up to 1: of the channels' means, of one channel's means over
        different images, and of the pixels within one channel of one image. The last is 0 for a gate
        that serves all pixels alike, such as SE's.
    relu_mask_mean
        Of the mask [x > 0] of the unit's input, the gate that a ReLU would have there.
    relu_mask_correlation
        Pearson's, of the gate with that mask.

    A statistic that a constant gate or mask does not have is None. [] for a network without gates.
    Raises FloatingPointError if inputs or gates are not finite.
    """
    gates = unit_gates(net)
    if not gates:
        return []
    wanted = Graph([output for gate in gates for output in (gate.x, gate.factor)])
    inside = mx.gluon.SymbolBlock(wanted.symbol(), mx.sym.var('data', dtype='float32'),
                                  params=net.collect_params())
    sums = [_Sums() for _ in gates]
    for images in batches:
        values = [value.asnumpy() for value in inside(mx.nd.array(images))]
        for gate, total, x, value in zip(gates, sums, values[::2], values[1::2]):
            if not (np.isfinite(x).all() and np.isfinite(value).all()):
                raise FloatingPointError('%s has values that are not finite' % gate.layer)
            total.add(x, value)
    return [{'layer': gate.layer, 'stage': gate.stage, 'unit': gate.unit, **total.statistics()}
            for gate, total in zip(gates, sums)]


class _Sums:
    """Over images, of seven means over the pixels of each channel, in float64: (7, C)."""

    def __init__(self):
        self.images, self.shape, self.sums = 0, None, 0.0

    def add(self, x, gate):
        """Take in the unit's input (B, C, H, W) and a gate that broadcasts to it."""
        self.shape = x.shape[1:]
        gate, mask = np.broadcast_to(gate, x.shape).astype('float64'), x > 0
        means = [values.mean((2, 3)) for values in (
            gate, gate ** 2, gate < LOW, gate > HIGH, mask, gate * mask)]
        self.sums = self.sums + np.sum([*means, means[0] ** 2], axis=1)
        self.images += len(x)

    def statistics(self):
        """{column: value} of COLUMNS from 'channels' on."""
        gate, square, low, high, mask, product, squared_mean = self.sums / self.images
        mean, open_share = gate.mean(), mask.mean()
        # The law of total variance, twice; rounding may leave a zero below zero.
        parts = [(gate ** 2).mean() - mean ** 2, (squared_mean - gate ** 2).mean(),
                 (square - squared_mean).mean()]
        parts = [max(0.0, part) for part in parts]
        deviation = math.sqrt(sum(parts))
        shares, correlation = [None] * 3, None
        if deviation > CONSTANT:
            shares = [part / sum(parts) for part in parts]
            if 0 < open_share < 1:
                correlation = (product.mean() - mean * open_share) / (
                    deviation * math.sqrt(open_share * (1 - open_share)))
        return dict(zip(COLUMNS[3:], (*self.shape, self.images, mean, deviation, *shares, low.mean(),
                                      high.mean(), open_share, correlation)))
