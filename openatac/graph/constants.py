"""Infer the shapes of a symbol's operators for any number of images, and fold its constants.

MXNet infers the shapes for two images and for three: a dimension that differs belongs to the batch. So no
operator's shape rule (Reshape's codes, reshape_like, pooling conventions) is repeated here. MXNet also
computes everything that does not depend on the values of the images, such as tables of relative positions and
arrays of ones with the size of a feature map.
"""
from __future__ import annotations

import re
from typing import Any

import mxnet as mx
import numpy as np

from openatac.errors import OpenatacError, ParameterFileError
from openatac.graph.nodes import INPUT, Graph, Node, Output, SymbolicShape, UnknownShapesError


def fold_constants(symbol: mx.sym.Symbol, arrays: dict[str, np.ndarray], image_shape: SymbolicShape
                   ) -> list[Node]:
    """Return the nodes required for the output of ``symbol``, each after the nodes it reads, the output last.

    Sizes that depend on the number of images are strings: 'N', '8*N'. Constants, including parameters, have a
    ``value`` and require no other nodes.

    Parameters
    ----------
    symbol : mxnet.Symbol
        A symbol with one output and the input ``data``.
    arrays : {str: numpy.ndarray}
        The values of all its other variables.
    image_shape : (C, H, W)
        The shape of one image.

    Raises
    ------
    OpenatacError
        If the three do not fit together.
    """
    graph = Graph.of(symbol)
    if len(graph.outputs) != 1:
        raise OpenatacError(f'a network with {len(graph.outputs)} outputs cannot be exported, only one with '
                            'a single output')
    nodes = graph.nodes()
    _check_variables(nodes, arrays)
    for node in nodes:
        if any(source.index for source in node.inputs) or graph.outputs[0].index:
            raise OpenatacError(f'node {node.name} reads one of several outputs, and cannot be exported')
    for node, shape in zip(nodes, _shapes(graph, nodes, arrays, image_shape)):
        node.shapes = (shape,)
        node.value = arrays.get(node.name) if node.is_variable else _constant(node)
    needed = {nodes[-1]}
    for node in reversed(nodes):  # drop nodes that lead only to constants
        if node in needed and node.value is None:
            needed.update(source.node for source in node.inputs)
    return [node for node in nodes if node in needed]


def _check_variables(nodes: list[Node], arrays: dict[str, np.ndarray]) -> None:
    names = [node.name for node in nodes if node.is_variable]
    if INPUT not in names:
        raise OpenatacError(f"the network's input must be called {INPUT}, but its variables are: "
                            f"{', '.join(names[:5])}")
    missing = [name for name in names if name != INPUT and name not in arrays]
    if missing:
        raise ParameterFileError.missing(missing[0])


def _shapes(graph: Graph, nodes: list[Node], arrays: dict[str, np.ndarray],
            image_shape: SymbolicShape) -> list[SymbolicShape]:
    """Return the shape of each node's output."""
    statistics = set(graph.symbol().list_auxiliary_states())  # MXNet infers their shapes and accepts none
    known = {node.name: arrays[node.name].shape for node in nodes
             if node.is_variable and node.name in arrays and node.name not in statistics}
    shapes_by_count = []
    for images in (2, 3):
        try:
            graph.infer_shapes(**{**known, INPUT: (images, *image_shape)})
        except mx.MXNetError as error:
            where = re.search('Error in operator ([^:]+)', str(error))
            raise OpenatacError(f'images of shape {tuple(image_shape)} or these parameters do not fit the '
                                f'network{": see its node " + where[1] if where else ""}') from None
        except UnknownShapesError:
            raise OpenatacError(f'images of shape {tuple(image_shape)} do not determine all shapes of the '
                                'network') from None
        shapes_by_count.append([node.shape for node in nodes])
    for node, shape in zip(nodes, shapes_by_count[0]):
        if node.name in statistics and shape != arrays[node.name].shape:
            raise ParameterFileError.wrong_shape(node.name, arrays[node.name].shape, shape)
    return [tuple(map(_dimension, *shapes)) for shapes in zip(*shapes_by_count)]


def _dimension(of_two: int, of_three: int) -> Any:
    """Derive a dimension for any number of images from its sizes for two and for three."""
    per_image = of_three - of_two
    if not per_image:
        return of_two
    if of_two != 2 * per_image:
        raise OpenatacError(f'the network does not treat images alike: where two give {of_two} rows, three '
                            f'give {of_three}')
    return 'N' if per_image == 1 else f'{per_image}*N'


def _constant(node: Node) -> np.ndarray | None:
    """Compute the value of a node that does not depend on the images; None for other nodes."""
    values = [np.zeros(source.shape, np.float32)
              if source not in node.valued_inputs() and all(isinstance(size, int) for size in source.shape)
              else source.node.value for source in node.inputs]
    if any(value is None for value in values):
        return None
    variables = [Output(Node('null', str(index))) for index in range(len(values))]
    graph = Graph([Output(Node(node.operator, node.name, variables, node.attributes, node.subgraphs))])
    return mx.nd.CachedOp(graph.symbol())(
        *[mx.nd.array(value, dtype=value.dtype) for value in values]).asnumpy()
