"""Trace networks, and read symbol files, ``NAME-symbol.json`` and ``NAME-0000.params``."""
from __future__ import annotations

import os

import mxnet as mx
import numpy as np

from openatac.errors import OpenatacError
from openatac.export.forms.base import prefix_of
from openatac.graph.nodes import INPUT, SYMBOL_SUFFIX, Graph, Shape
from openatac.graph.symbol import NDArrays, check_takes_images, load_symbol_file, symbol_block
from openatac.models.weights import read_arrays, wait_for_layouts
from openatac.zoo.weights.export_checksums import check_files
from openatac.zoo.weights.mxnet_format import PARAMS_SUFFIX
from openatac.zoo.weights.parameter_files import ARG, AUX, without_kind

FLOAT16 = '2'  # MXNet's number for it


# -------------------------------------------------------------------------------------- traced

def trace(net: mx.gluon.HybridBlock) -> tuple[mx.sym.Symbol, NDArrays]:
    """Return the symbol and the arrays of a network whose parameters have values.

    Returns
    -------
    (Symbol, dict)
        The arrays are {'arg:NAME' or, for running statistics, 'aux:NAME': NDArray}, as in the files.
    """
    wait_for_layouts()
    symbol = net(mx.sym.var(INPUT))
    return symbol, with_kinds(symbol, {parameter.name: parameter._reduce()
                                       for parameter in net.collect_params().values()})


def trace_half(net: mx.gluon.HybridBlock) -> tuple[mx.sym.Symbol, NDArrays]:
    """Trace a network in float16, as in training: BatchNorm's vectors stay in float32.

    The network itself ends in float32 with unchanged values.
    """
    values = {name: parameter._reduce() for name, parameter in net.collect_params().items()}
    net.cast('float16')
    try:
        symbol, arrays = trace(net)
    finally:
        net.cast('float32')
        for name, parameter in net.collect_params().items():
            parameter.set_data(values[name])
    graph = Graph.of(symbol)
    half = {without_kind(key) for key, array in arrays.items() if array.dtype == np.float16}
    for node in graph.nodes():  # Gluon's variables keep the type they were created with
        if node.is_variable and node.name in half:
            node.attributes['__dtype__'] = FLOAT16
    return graph.symbol(), arrays


def with_kinds(symbol: mx.sym.Symbol, arrays: NDArrays) -> NDArrays:
    """Convert the {name: NDArray} of ``symbol`` to {'arg:NAME' or 'aux:NAME': NDArray}, as in files."""
    return {key: arrays[without_kind(key)] for key in _keys(symbol)}


def _keys(symbol: mx.sym.Symbol) -> list[str]:
    """Return the names of a symbol's arrays, as in its files."""
    return [*(ARG + name for name in symbol.list_arguments() if name != INPUT),
            *(AUX + name for name in symbol.list_auxiliary_states())]


# ---------------------------------------------------------------------------------------- read

def load_exported_symbol(path: str) -> mx.sym.Symbol:
    """Load the Symbol in the file ``path``; raise OpenatacError if it is damaged or has no input `INPUT`."""
    check_files(prefix_of(path), [path])
    symbol = load_symbol_file(path)
    if INPUT not in symbol.list_arguments():
        raise OpenatacError(f'{path} has no input called {INPUT!r}: give a file that openatac has exported')
    return symbol


def read_symbol(path: str) -> tuple[mx.sym.Symbol, NDArrays]:
    """Read the symbol and the arrays from the two files of ``path``.

    Raises
    ------
    OpenatacError
        If a file is missing or damaged, or the two do not belong together.
    """
    check_files(prefix_of(path + SYMBOL_SUFFIX), [path + PARAMS_SUFFIX])
    symbol, arrays = load_exported_symbol(path + SYMBOL_SUFFIX), read_arrays(path + PARAMS_SUFFIX)
    wrong = sorted(set(_keys(symbol)) ^ set(arrays))
    if wrong:
        raise _not_a_pair(path, f', since {wrong[0]} is in one of them only')
    return symbol, arrays


def load_block(path: str, ctx: mx.Context | None = None, image_shape: Shape | None = None
               ) -> mx.gluon.SymbolBlock:
    """Load ``path-symbol.json`` and ``path-0000.params`` as a SymbolBlock; raise as `read_symbol` does.

    Parameters
    ----------
    path : str
    ctx : Context, optional
    image_shape : (C, H, W), optional
        The shape of the images that the network must accept, checked before it runs.
    """
    symbol, arrays = read_symbol(path)
    if image_shape:
        check_takes_images(symbol, image_shape, **{without_kind(key): array.shape
                                                   for key, array in arrays.items() if key.startswith(ARG)})
    try:
        return symbol_block(symbol, arrays, ctx)
    except (AssertionError, ValueError, TypeError, mx.MXNetError) as error:  # wrong shapes, types or storage
        raise _not_a_pair(path, f' ({error})') from None


def _not_a_pair(path: str, reason: str) -> OpenatacError:
    return OpenatacError(f'{path + SYMBOL_SUFFIX} and {os.path.basename(path + PARAMS_SUFFIX)} do not '
                         f'belong together{reason}: export again')
