"""Read and write symbol files, ``PREFIX-symbol.json``: the graphs of networks as MXNet's JSON.

Every reader begins with `read_checked_json`. What is checked, and where:

- size, JSON, and the structure of the graph: `read_checked_json`, by `openatac.graph.untrusted_symbols`;
- for use without MXNet, that the file is from MXNet 1.0 or later: `read_graph`;
- for use in MXNet, that it loads the graph: `read_symbol`;
- for files of an export, the checksums in the manifest, the input, and that symbol and arrays belong
  together: `openatac.export.exported_symbol`;
- before MXNet runs a symbol on images, the sizes of its tensors: `openatac.graph.tensor_sizes`.
"""
from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from openatac.errors import OpenatacError, last_line, reason
from openatac.files.export_file_names import PARAMS_SUFFIX, SYMBOL_SUFFIX
from openatac.files.mxnet_arrays import write_params
from openatac.files.reading import MAX_TEXT_BYTES, PathLike, read_input
from openatac.files.schema import parse_json
from openatac.files.writing import write_text
from openatac.graph.nodes import INPUT, MXNET_VERSION, Graph
from openatac.graph.untrusted_symbols import CountOutputs, check_graph
from openatac.zoo.weights.parameter_files import ARG, AUX, without_kind

if TYPE_CHECKING:
    import mxnet as mx


# ------------------------------------------------------------------------------------- reading

def read_checked_json(path: PathLike, count_outputs: CountOutputs | None = None) -> dict[str, Any]:
    """Return the checked graph of the symbol file ``path``, as parsed JSON.

    Parameters
    ----------
    path : str or path
    count_outputs : callable, optional
        As in `check_graph`.

    Raises
    ------
    OpenatacError
        For a missing or damaged file, or a graph that `check_graph` refuses.
    """
    try:
        return check_graph(parse_json(read_input(path, MAX_TEXT_BYTES).decode('utf-8')), count_outputs)
    except FileNotFoundError:
        raise OpenatacError(f'there is no symbol file {path}') from None
    except OSError as error:
        raise OpenatacError(f'the symbol file {path} cannot be read: {reason(error)}') from None
    except ValueError as error:
        raise OpenatacError(f'{path} is not a symbol file, or is damaged ({error}): export it again'
                            ) from None


def read_graph(path: PathLike) -> Graph:
    """Read the graph of a symbol file, without MXNet.

    Raises
    ------
    OpenatacError
        As in `read_checked_json`, and for a file from an MXNet before 1.0.
    """
    graph = read_checked_json(path)
    if any('param' in node or 'attr' in node for node in graph['nodes']):
        raise OpenatacError(f'{path} is from an MXNet before 1.0: load and save it with MXNet 1.9.1')
    return Graph.parse(graph)


def read_symbol(path: PathLike) -> mx.sym.Symbol:
    """Read the Symbol in a symbol file, with MXNet.

    Raises
    ------
    OpenatacError
        As in `read_checked_json`, and if MXNet cannot load it.
    """
    import mxnet as mx
    graph = read_checked_json(path, _count_outputs)
    try:
        return mx.sym.load_json(json.dumps(graph))
    except mx.MXNetError as error:
        raise OpenatacError(f'{path} is not a symbol file, or is damaged (MXNet says {last_line(error)}): '
                            'export it again') from None


def _count_outputs(node: dict[str, Any]) -> int:
    """Count the outputs of a node in parsed JSON by loading a graph with only this node.

    Raises
    ------
    ValueError
        For a node that MXNet cannot load.
    """
    import mxnet as mx
    inputs = [[index, 0, 0] for index in range(len(node['inputs']))]
    variables = [{'op': 'null', 'name': str(index), 'inputs': []} for index, *_ in inputs]
    try:
        symbol = mx.sym.load_json(json.dumps({
            'nodes': [*variables, {**node, 'inputs': inputs}], 'arg_nodes': [index for index, *_ in inputs],
            'heads': [[len(inputs), 0, 0]], 'attrs': MXNET_VERSION}))
        return len(symbol.get_internals().list_outputs()) - len(inputs)
    except mx.MXNetError as error:
        raise ValueError(f"node {node['name']}: MXNet says {last_line(error)}") from None


# ------------------------------------------------------------------------------------- writing

def write_symbol_files(path: str, symbol: mx.sym.Symbol, arrays: Mapping[str, Any]) -> None:
    """Write ``path-symbol.json`` and ``path-0000.params``; raise OSError if they cannot be written.

    The arrays can be MXNet's or NumPy's.
    """
    write_params(path + PARAMS_SUFFIX, {
        name: array if isinstance(array, np.ndarray) else array.asnumpy() for name, array in arrays.items()})
    write_text(path + SYMBOL_SUFFIX, symbol.tojson())


# ------------------------------------------------------------------------- names of the arrays

def array_keys(symbol: mx.sym.Symbol) -> list[str]:
    """Return the names of a symbol's arrays, as in its files."""
    return [*(ARG + name for name in symbol.list_arguments() if name != INPUT),
            *(AUX + name for name in symbol.list_auxiliary_states())]


def with_kinds(symbol: mx.sym.Symbol, arrays: dict[str, mx.nd.NDArray]) -> dict[str, mx.nd.NDArray]:
    """Convert the {name: NDArray} of ``symbol`` to {'arg:NAME' or 'aux:NAME': NDArray}, as in files."""
    return {key: arrays[without_kind(key)] for key in array_keys(symbol)}
