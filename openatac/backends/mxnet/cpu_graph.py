"""The form in which a network is trained on the CPU: the same values from faster operators.

MXNet 1.9.1 computes two gradients of global gates slowly on CPUs: that of the global average pooling (up
to a hundred times as slowly as need be) and that of the product of a feature map and one number for each
channel. Both operators have equals that are fast. ATAC's graph is part of what was published, so the
network itself, what is evaluated and what is exported, stays as it is; only the training steps run
through a copy of its graph with those operators exchanged, on the very same parameters.
"""
from __future__ import annotations

from typing import Optional, Tuple

import mxnet as mx
from mxnet import gluon

from openatac.graph.nodes import Graph, Node
from openatac.nn.attention import scale_channels


def training_form(net: gluon.HybridBlock, image_shape: Tuple[int, ...]) -> gluon.HybridBlock:
    """A block that computes what ``net`` does for images (B, *image_shape), with ``net``'s own parameters.

    net : HybridBlock whose values are drawn. It is returned itself if there is nothing to exchange.
    """
    data = mx.sym.var('data', dtype='float32')
    symbol = net(data)
    faster = exchange(symbol, image_shape)
    return net if faster is symbol else gluon.SymbolBlock(faster, data, params=net.collect_params())


def exchange(symbol: mx.sym.Symbol, image_shape: Tuple[int, ...]) -> mx.sym.Symbol:
    """``symbol``, whose input is ``data``, with its slow operators exchanged; itself if it has none."""
    graph = Graph.of(symbol)
    graph.infer_shapes(data=(2, *image_shape))
    exchanges = [(node, faster) for node in graph.nodes() if (faster := _faster(node)) is not None]
    for node, faster in exchanges:
        node.replace(Graph.of(faster))
    return graph.symbol() if exchanges else symbol


def _faster(node: Node) -> Optional[mx.sym.Symbol]:
    """What is to take the node's place, a symbol of the variables ``0``, ``1``...; None if nothing."""
    if node.operator == 'Pooling' and node.get('pool_type') == 'avg' and node.get('global_pool'):
        return mx.sym.contrib.AdaptiveAvgPooling2D(mx.sym.var('0'), output_size=1)
    if node.operator == 'broadcast_mul':
        left, right = (source.shape for source in node.inputs)
        if len(left) == 4 and right == left[:2] + (1, 1) != left:
            return scale_channels(mx.sym, mx.sym.var('0'), mx.sym.flatten(mx.sym.var('1')))
    return None
