"""Symbols in MXNet: read and write their files, and build blocks."""
from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import Any

import mxnet as mx
import numpy as np

from openatac.errors import OpenatacError, last_line
from openatac.files.export_file_names import PARAMS_SUFFIX, SYMBOL_SUFFIX
from openatac.files.writing import write_text
from openatac.graph.nodes import INPUT, MXNET_VERSION
from openatac.graph.untrusted_symbols import read_checked_json
from openatac.zoo.weights.mxnet_format import write_params
from openatac.zoo.weights.parameter_files import ARG, AUX, without_kind

NDArrays = dict[str, mx.nd.NDArray]  # {name: values}


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


def with_kinds(symbol: mx.sym.Symbol, arrays: NDArrays) -> NDArrays:
    """Convert the {name: NDArray} of ``symbol`` to {'arg:NAME' or 'aux:NAME': NDArray}, as in files."""
    return {key: arrays[without_kind(key)] for key in array_keys(symbol)}


def array_keys(symbol: mx.sym.Symbol) -> list[str]:
    """Return the names of a symbol's arrays, as in its files."""
    return [*(ARG + name for name in symbol.list_arguments() if name != INPUT),
            *(AUX + name for name in symbol.list_auxiliary_states())]


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
