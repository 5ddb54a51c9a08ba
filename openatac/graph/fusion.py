"""Fuse a graph's operators into oneDNN's, for CPUs.

A convolution and the BatchNorm, activation and addition that follow it become one operator; MXNet folds its
weights on the first run. The parameters keep their names and values.
"""
from __future__ import annotations

from collections import Counter

import mxnet as mx

from openatac.errors import OpenatacError
from openatac.graph.nodes import Graph, Node, Output

SUMS = ('elemwise_add', 'broadcast_add')


class NothingToFuseError(OpenatacError):
    """A network has no BatchNorm that can be folded into a convolution."""


def fuse(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """Return the fused graph of a float32 network.

    Raises
    ------
    NothingToFuseError
        If no BatchNorm can be folded.
    OpenatacError
        If this MXNet was built without oneDNN.
    """
    try:
        fused = separate_shortcuts(symbol).get_backend_symbol('MKLDNN')
    except mx.MXNetError:
        raise OpenatacError('this MXNet has no oneDNN to fuse operators with: export where the CPU build of '
                            'mxnet 1.9.1 is installed') from None
    if count_operators(fused)['BatchNorm'] >= count_operators(symbol)['BatchNorm']:
        raise NothingToFuseError('the network has no BatchNorm after a convolution to be folded: '
                            'leave this form out')
    return fused


def separate_shortcuts(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """Return a graph equivalent to ``symbol`` that MXNet fuses, or quantizes, correctly.

    MXNet 1.9.1 folds a BatchNorm into a convolution even if its raw output is also added elsewhere, as in the
    shortcut of a pre-activation ResNet's first block, and then adds the normalised output. To prevent this
    folding, let such a sum read the convolution through an identity (BlockGrad; _copy would be optimised
    away).
    """
    graph = Graph.of(symbol)
    for conv, readers in graph.readers().items():
        sums = [reader for reader in readers if reader.operator in SUMS]
        if conv.operator != 'Convolution' or not sums or len(readers) == 1:
            continue
        shortcut = Output(Node('BlockGrad', conv.name + '_kept', [Output(conv)]))
        for node in sums:
            node.inputs = [shortcut if source.node is conv else source for source in node.inputs]
    return graph.symbol()


def count_operators(symbol: mx.sym.Symbol) -> Counter[str]:
    """Return {operator: number of occurrences}, without operators inside fused ones."""
    return Counter(node.operator for node in Graph.of(symbol).nodes() if not node.is_variable)
