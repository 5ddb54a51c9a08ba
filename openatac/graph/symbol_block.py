"""Build a Gluon block from a symbol and its arrays."""
from __future__ import annotations

import warnings

import mxnet as mx

from openatac.graph.nodes import INPUT

NDArrays = dict[str, mx.nd.NDArray]  # {name: values}


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
