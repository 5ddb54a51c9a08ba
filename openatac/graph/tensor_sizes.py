"""Check the sizes of the tensors in a symbol before MXNet runs it."""
from __future__ import annotations

import math

import mxnet as mx

from openatac.errors import OpenatacError, last_line
from openatac.graph.nodes import INPUT, Graph, Node, Output, SymbolicShape, UnknownShapesError
from openatac.graph.untrusted_symbols import MAX_TENSOR

# Operators that divide by sizes of their inputs to infer the one written as -1.
_RESHAPING = ('Reshape', 'reshape', '_np_reshape', '_npi_reshape', '_npx_reshape', 'reshape_like',
              '_npx_reshape_like', '_contrib_reshape_like')
_MAX_RESHAPED = 256  # such operators in a row


def check_takes_images(symbol: mx.sym.Symbol, image_shape: SymbolicShape, **known: SymbolicShape) -> None:
    """Raise OpenatacError unless the network accepts such images and its feature maps fit into memory.

    Parameters
    ----------
    symbol : mxnet.Symbol
    image_shape : (C, H, W)
    **known
        {name: shape} of variables.
    """
    try:
        check_tensor_sizes(symbol, image_shape, **known)
    except ValueError as error:
        raise OpenatacError(f'the network does not take images of shape {tuple(image_shape)} ({error}): '
                            'export again') from None


def check_tensor_sizes(symbol: mx.sym.Symbol, image_shape: SymbolicShape, **known: SymbolicShape) -> None:
    """Check as `check_takes_images` does, but raise ValueError with only the reason."""
    known[INPUT] = (1, *image_shape)
    graph = Graph.of(symbol)
    try:
        _check_reshaped(graph.nodes(), known)
        graph.infer_shapes(**known)
    except UnknownShapesError:
        return  # nothing known is too large
    except mx.MXNetError as error:
        raise ValueError(f'MXNet says {last_line(error)}') from None
    for node in graph.nodes():
        for shape in node.shapes:
            if math.prod(shape) > MAX_TENSOR:
                raise ValueError(f'{node.name} has the shape {shape}, but the limit is {MAX_TENSOR} '
                                 'elements')


def _check_reshaped(nodes: list[Node], known: dict[str, SymbolicShape]) -> None:
    """Raise ValueError if an operator reshapes a size of 0 or changes the number of elements.

    MXNet would divide by the zero, or write beyond the end of its memory. Inferring all shapes at once would
    divide too. So the shapes are inferred level by level: first for reshaping operators that depend on no
    other such operator, then for the operators that depend on these, and so on.
    """
    behind: dict[Node, int] = {}
    levels: dict[int, list[Node]] = {}
    for node in nodes:
        behind[node] = max((behind[source.node] for source in node.inputs), default=0)
        if node.operator in _RESHAPING:
            levels.setdefault(behind[node], []).append(node)
            behind[node] += 1
    if len(levels) > _MAX_RESHAPED:
        raise ValueError(f'more than {_MAX_RESHAPED} operators reshape in a row')
    for _, level in sorted(levels.items()):
        _check_level(level, known)


def _check_level(level: list[Node], known: dict[str, SymbolicShape]) -> None:
    shapes = iter(_infer_partly([source for node in level for source in node.inputs], known))
    before = [[next(shapes) for _ in node.inputs] for node in level]
    for node, inputs in zip(level, before):
        if any(0 in shape for shape in inputs):
            raise ValueError(f'{node.name[:80]} reshapes an array that has no elements')
    after = _infer_partly([Output(node) for node in level], known)
    for node, inputs, output in zip(level, before, after):
        if inputs[0] and math.prod(inputs[0]) != math.prod(output):
            raise ValueError(f'{node.name[:80]} reshapes {inputs[0]} to {output}, which has a different '
                             'number of elements')


def _infer_partly(outputs: list[Output], known: dict[str, SymbolicShape]) -> list[SymbolicShape]:
    """Infer the shape of each output; () where MXNet cannot."""
    symbol = Graph(outputs).symbol()
    arguments = set(symbol.list_arguments())
    return symbol.infer_shape_partial(**{name: known[name] for name in arguments & known.keys()})[1]
