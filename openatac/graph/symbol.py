"""Symbols in MXNet: read and write files, build blocks, and check sizes before a network runs."""
from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from typing import Any

import mxnet as mx
import numpy as np

from openatac.errors import OpenatacError, last_line
from openatac.files.writing import write_text
from openatac.graph.nodes import (
    INPUT,
    MXNET_VERSION,
    SYMBOL_SUFFIX,
    Graph,
    Node,
    Output,
    SymbolicShape,
    UnknownShapes,
)
from openatac.graph.untrusted_symbols import MAX_TENSOR, read_checked_json
from openatac.zoo.weights.mxnet_format import PARAMS_SUFFIX, write_params

NDArrays = dict[str, mx.nd.NDArray]  # {name: values}

# Operators that divide by sizes of their inputs to infer the one written as -1.
_RESHAPING = ('Reshape', 'reshape', '_np_reshape', '_npi_reshape', '_npx_reshape', 'reshape_like',
              '_npx_reshape_like', '_contrib_reshape_like')
_MAX_RESHAPED = 256  # such operators in a row


def load_symbol_file(path: str) -> mx.sym.Symbol:
    """Load the Symbol in ``path``; raise OpenatacError if it is missing, damaged or beyond the limits."""
    graph = read_checked_json(path, count_outputs)
    try:
        return mx.sym.load_json(json.dumps(graph))
    except mx.MXNetError as error:
        raise OpenatacError(f'{path} is not a symbol file, or is damaged (MXNet says {last_line(error)}): '
                            'export it again') from None


def write_symbol_files(path: str, symbol: mx.sym.Symbol, arrays: Mapping[str, Any]) -> None:
    """Write ``path-symbol.json`` and ``path-0000.params``; raise OSError if they cannot be written.

    The arrays can be MXNet's or NumPy's.
    """
    write_params(path + PARAMS_SUFFIX, {
        name: array if isinstance(array, np.ndarray) else array.asnumpy() for name, array in arrays.items()})
    write_text(path + SYMBOL_SUFFIX, symbol.tojson())


def count_outputs(node: dict[str, Any]) -> int:
    """Count the outputs of a node in parsed JSON by loading a graph with only this node.

    Raises
    ------
    ValueError
        For a node that MXNet cannot load.
    """
    inputs = [[index, 0, 0] for index in range(len(node['inputs']))]
    variables = [{'op': 'null', 'name': str(index), 'inputs': []} for index, *_ in inputs]
    try:
        symbol = mx.sym.load_json(json.dumps({
            'nodes': [*variables, {**node, 'inputs': inputs}], 'arg_nodes': [index for index, *_ in inputs],
            'heads': [[len(inputs), 0, 0]], 'attrs': MXNET_VERSION}))
        return len(symbol.get_internals().list_outputs()) - len(inputs)
    except mx.MXNetError as error:
        raise ValueError(f"node {node['name']}: MXNet says {last_line(error)}") from None


def symbol_block(symbol: mx.sym.Symbol, arrays: NDArrays, ctx: mx.Context | None = None
                 ) -> mx.gluon.SymbolBlock:
    """Build an initialised SymbolBlock.

    Parameters
    ----------
    symbol : mxnet.Symbol
        A symbol with the input ``data``.
    arrays : {name: NDArray}
        The values of its other variables; others are ignored. Names can begin with ``arg:`` or ``aux:``.
    ctx : Context, optional
    """
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Cannot decide type')  # about the input: it is float32
        block = mx.gluon.SymbolBlock(symbol, mx.sym.var(INPUT))
    block.collect_params().load_dict(arrays, ctx, ignore_extra=True, cast_dtype=True, dtype_source='saved')
    return block


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
    except UnknownShapes:
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
