"""Trace a Gluon network: a symbol and its arrays, as symbol files hold them."""
from __future__ import annotations

import mxnet as mx
import numpy as np

from openatac.graph.nodes import INPUT, Graph
from openatac.graph.symbol_block import NDArrays
from openatac.graph.symbol_files import with_kinds
from openatac.models.weights import wait_for_layouts
from openatac.zoo.weights.parameter_files import without_kind

FLOAT16 = '2'  # MXNet's number for it


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
