"""Count the costs of a Gluon network or a symbol: parameters, multiply-adds for one image, activations.

They are counted in the symbol graph, so layers need not declare their costs.
"""
from __future__ import annotations

import math
from typing import NamedTuple

import mxnet as mx

from openatac.graph.nodes import INPUT, Graph, Node

# Operators that only change the shape.
VIEWS = ('Flatten', 'Reshape', 'reshape', 'reshape_like', 'expand_dims', 'squeeze', 'identity', '_copy')
MATRIX_PRODUCTS = ('dot', 'batch_dot', '_linalg_gemm2')
SLICES = ('slice', 'slice_axis')


class Layer(NamedTuple):
    """The costs of one operator.

    Attributes
    ----------
    name, operator : str
    output : tuple of int
        The shape of its output for one image.
    parameters : int
        Elements of its arrays, running statistics included.
    multiply_adds : int
        Multiply-adds of a convolution, dense layer or matrix product, counted as in the papers: one
        multiplication with its addition counts as one. A matrix product with ones only sums or repeats, and
        counts as zero, like pooling and element-wise operators.
    activations : int
        Elements of its output for one image; 0 for a view of another output.
    """

    name: str
    operator: str
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int
    activations: int


class Costs(NamedTuple):
    """The costs of a network.

    Attributes
    ----------
    parameters : int
        Elements of all arrays, running statistics included.
    trainable : int
        Elements of the trained arrays.
    layers : list of Layer
        In the order of computation.
    """

    parameters: int
    trainable: int
    layers: list[Layer]

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of all layers for one image."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def activations(self) -> int:
        """Elements of all outputs for one image, which training keeps (times 4 in bytes of float32)."""
        return sum(layer.activations for layer in self.layers)


def costs(net: mx.gluon.HybridBlock, image_shape: tuple[int, ...], published: bool = False) -> Costs:
    """Return the costs of a network, which need not be initialised.

    Parameters
    ----------
    net : HybridBlock
    image_shape : (C, H, W)
        The shape of the image, used to infer unknown shapes of parameters.
    published : bool
        Count a dense layer as 2 * inputs * outputs - inputs + outputs, as for the paper's 4.4 G, instead of
        inputs * outputs.
    """
    net.infer_shape(mx.nd.zeros((1, *image_shape)))
    parameters = net._collect_params_with_prefix().values()
    sizes = {parameter.name: math.prod(parameter.shape) for parameter in parameters}
    trainable = sum(sizes[parameter.name] for parameter in parameters if parameter.grad_req != 'null')
    return Costs(sum(sizes.values()), trainable, layers(net(mx.sym.var(INPUT)), image_shape, published))


def symbol_costs(symbol: mx.sym.Symbol, image_shape: tuple[int, ...], published: bool = False) -> Costs:
    """Return the costs of a symbol with the input ``data``, such as a symbol file's.

    A symbol does not record what is trained, so all arrays except running statistics and fixed gammas count
    as trainable.
    """
    nodes = _nodes(symbol, image_shape)
    sizes = _sizes(nodes)
    fixed = {node.inputs[1].node.name for node in nodes
             if node.operator == 'BatchNorm' and node.get('fix_gamma')}
    fixed.update(symbol.list_auxiliary_states())
    trainable = sum(size for name, size in sizes.items() if name not in fixed)
    return Costs(sum(sizes.values()), trainable, layers(symbol, image_shape, published))


def layers(symbol: mx.sym.Symbol, image_shape: tuple[int, ...], published: bool = False) -> list[Layer]:
    """Return the `Layer`s of a symbol with the input ``data``, in the order of computation; see `costs`."""
    nodes = _nodes(symbol, image_shape)
    uncounted = _sizes(nodes)
    return [_layer(node, uncounted, published) for node in nodes if not node.is_variable]


def _nodes(symbol: mx.sym.Symbol, image_shape: tuple[int, ...]) -> list[Node]:
    """Return the nodes with their shapes for one image."""
    graph = Graph.of(symbol)
    graph.infer_shapes(**{INPUT: (1, *image_shape)})
    return graph.nodes()


def _sizes(nodes: list[Node]) -> dict[str, int]:
    return {node.name: math.prod(node.shape) for node in nodes if node.is_variable and node.name != INPUT}


def _layer(node: Node, uncounted: dict[str, int], published: bool) -> Layer:
    """Return the `Layer` of a node; remove its arrays from ``uncounted``, so shared ones count once."""
    parameters = sum(uncounted.pop(source.node.name, 0) for source in node.inputs)
    return Layer(node.name, node.operator, node.shape[1:], parameters, _multiply_adds(node, published),
                 0 if node.operator in VIEWS else math.prod(node.shape))


def _multiply_adds(node: Node, published: bool) -> int:
    if node.operator not in ('Convolution', 'FullyConnected', *MATRIX_PRODUCTS):
        return 0
    first, second = node.inputs[:2]
    outputs = math.prod(node.shape)
    if node.operator == 'Convolution':  # each output element is one dot product with its filter
        filter_size = math.prod(second.shape[1:])
        return outputs * filter_size
    if node.operator == 'FullyConnected':
        units, length = second.shape
        return 2 * length * units - length + units if published else outputs * length
    if _is_ones(first.node) or _is_ones(second.node):
        return 0
    summed_axis = -1
    if node.get('transpose_a'):
        summed_axis = 0 if node.operator == 'dot' else -2
    return outputs * first.shape[summed_axis]


def _is_ones(node: Node) -> bool:
    if node.operator in VIEWS + SLICES:
        return _is_ones(node.inputs[0].node)
    return node.operator in ('ones_like', '_ones')
