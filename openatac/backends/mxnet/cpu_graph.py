"""Rewrite a network for training on the CPU: the same values from faster operators.

MXNet 1.9.1 computes the gradients of some operators slowly on CPUs: of global average pooling (up to a
hundred times more slowly than necessary), of sums and means, and of products that repeat one factor over
images, channels or pixels, whose gradient is also a sum. Other operators compute the same values fast, among
them matrix products with ones, which sum or repeat. The network itself, which is evaluated and exported, does
not change (ATAC's graph is part of what was published). Only training steps run through a copy of its graph
that replaces the slow operators and shares the parameters.
"""
from __future__ import annotations

import mxnet as mx
from mxnet import gluon

from openatac.graph.nodes import INPUT, Graph, Node, Output, SymbolicShape


def faster_network(net: gluon.HybridBlock, image_shape: SymbolicShape) -> gluon.HybridBlock:
    """Return a faster equivalent of ``net`` for images (B, *image_shape), sharing its parameters.

    Parameters
    ----------
    net : HybridBlock
        An initialised network; returned unchanged if it contains no slow operators.
    image_shape : (C, H, W)
    """
    data = mx.sym.var(INPUT, dtype='float32')
    symbol = net(data)
    faster = faster_symbol(symbol, image_shape)
    return net if faster is symbol else gluon.SymbolBlock(faster, data, params=net.collect_params())


def faster_symbol(symbol: mx.sym.Symbol, image_shape: SymbolicShape) -> mx.sym.Symbol:
    """Return ``symbol`` with its slow operators replaced; ``symbol`` itself if it contains none."""
    graph = Graph.of(symbol)
    graph.infer_shapes(**{INPUT: (2, *image_shape)})
    replacements = [(node, faster) for node in graph.nodes() if (faster := _replacement(node)) is not None]
    for node, (faster, inputs) in replacements:
        node.inputs = inputs
        node.replace(Graph.of(faster))
    return graph.symbol() if replacements else symbol


def _replacement(node: Node) -> tuple[mx.sym.Symbol, list[Output]] | None:
    """Return the replacement for a node, (a symbol of variables ``0``, ``1``..., their values), or None."""
    x, gate = mx.sym.var('0'), mx.sym.var('1')
    if node.operator == 'Pooling' and node.get('global_pool') and len(node.shape) == 4:
        pooling = _POOLINGS.get(node.get('pool_type'))
        return (pooling(x), node.inputs) if pooling else None
    if node.operator == 'mean' and node.get('axis') == 3 and len(node.shape) == 3:
        transposed = node.inputs[0].node
        if transposed.operator == 'transpose' and transposed.get('axes') == (0, 2, 3, 1):
            return _mean_of_channels(x, transposed.inputs[0].shape[1]), transposed.inputs
    if node.operator == 'broadcast_mul':
        left, right = (source.shape for source in node.inputs)
        if len(left) == len(right) == 4 and left != right:
            repeated = {(*left[:2], 1, 1): _scale_channels, (*left[:1], 1, *left[2:]): _scale_pixels,
                        (1, *left[1:]): _scale_images}.get(right)
            return (repeated(x, gate), node.inputs) if repeated else None
    return None


def _scale_channels(x: mx.sym.Symbol, gate: mx.sym.Symbol) -> mx.sym.Symbol:
    """Multiply x (B, C, H, W) by gate (B, C, 1, 1)."""
    repeated = mx.sym.dot(mx.sym.reshape(gate, (0, 0, 1)), _pixels(_planes(x)), transpose_b=True)
    return x * mx.sym.reshape_like(repeated, x)


def _scale_pixels(x: mx.sym.Symbol, gate: mx.sym.Symbol) -> mx.sym.Symbol:
    """Multiply x (B, C, H, W) by gate (B, 1, H, W)."""
    repeated = mx.sym.batch_dot(_channels(_planes(x)), mx.sym.reshape(gate, (0, 1, -1)))
    return x * mx.sym.reshape_like(repeated, x)


def _scale_images(x: mx.sym.Symbol, factor: mx.sym.Symbol) -> mx.sym.Symbol:
    """Multiply x (B, C, H, W) by factor (1, C, H, W)."""
    images = mx.sym.ones_like(mx.sym.slice_axis(mx.sym.flatten(x), axis=1, begin=0, end=1))  # (B, 1)
    repeated = mx.sym.dot(images, mx.sym.reshape(factor, (1, -1)))
    return x * mx.sym.reshape_like(repeated, x)


def _mean_of_channels(x: mx.sym.Symbol, channels: int) -> mx.sym.Symbol:
    """Average over channels: (B, C, H, W) to (B, H, W)."""
    planes = _planes(x)
    mean = mx.sym.batch_dot(_channels(planes), planes, transpose_a=True) / channels
    return mx.sym.reshape_like(mean, x, lhs_begin=1, lhs_end=3, rhs_begin=2, rhs_end=4)


def _sum_of_pixels(x: mx.sym.Symbol) -> mx.sym.Symbol:
    """Sum over pixels: (B, C, H, W) to (B, C, 1, 1)."""
    planes = _planes(x)
    return mx.sym.expand_dims(mx.sym.dot(planes, _pixels(planes)), axis=3)


def _largest_pixel(x: mx.sym.Symbol) -> mx.sym.Symbol:
    """Take the maximum over pixels: (B, C, H, W) to (B, C, 1, 1)."""
    for axis in (3, 2):
        x = mx.sym.pick(x, mx.sym.argmax(x, axis=axis), axis=axis)
    return mx.sym.reshape(x, (0, 0, 1, 1))


_POOLINGS = {'avg': lambda x: mx.sym.contrib.AdaptiveAvgPooling2D(x, output_size=1), 'sum': _sum_of_pixels,
             'max': _largest_pixel}


def _planes(x: mx.sym.Symbol) -> mx.sym.Symbol:
    return mx.sym.reshape(x, (0, 0, -1))


def _pixels(planes: mx.sym.Symbol) -> mx.sym.Symbol:
    """Return ones (n, 1), one per pixel of planes (B, C, n)."""
    one = mx.sym.slice_axis(mx.sym.slice_axis(planes, axis=0, begin=0, end=1), axis=1, begin=0, end=1)
    return mx.sym.ones_like(mx.sym.reshape(one, (-1, 1)))


def _channels(planes: mx.sym.Symbol) -> mx.sym.Symbol:
    """Return ones (B, C, 1), one per channel of planes (B, C, n)."""
    return mx.sym.ones_like(mx.sym.slice_axis(planes, axis=2, begin=0, end=1))
