"""The fused form: symbol files with oneDNN's fused operators, for CPUs.

A convolution and the BatchNorm, activation and addition that follow it become one operator, whose weights
MXNet folds when it first runs. The parameters keep their names and values.
"""
from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Any

from openatac.errors import OpenatacError
from openatac.export.forms.base import Form, TracedNetwork
from openatac.export.parity import ParityCheck
from openatac.graph.nodes import Graph, Node, Output

if TYPE_CHECKING:
    import mxnet as mx

SUMS = ('elemwise_add', 'broadcast_add')


class Fused(Form):
    """PREFIX-fused-symbol.json and PREFIX-fused-0000.params."""

    name = 'fused'
    suffixes = ('-fused-symbol.json', '-fused-0000.params')
    runtime = 'fused'
    flags = ('--fuse',)
    help = "also write OUT-fused-..., with oneDNN's fused operators, for CPUs"
    precisions = ('float32',)

    def write(self, network: TracedNetwork, prefix: str) -> None:
        from openatac.export.symbol_files import write_symbol
        write_symbol(prefix + '-fused', fuse(network.symbol), network.arrays)

    def details(self, network: TracedNetwork, prefix: str, check: ParityCheck) -> dict[str, Any]:
        """Return the numbers of operators and of BatchNorms, before and after."""
        from openatac.graph.symbol import load_symbol_file
        before, after = operators(network.symbol), operators(load_symbol_file(self.files(prefix)[0]))
        return {'operators': [sum(before.values()), sum(after.values())],
                'batch_norms': [before['BatchNorm'], after['BatchNorm']]}

    def remarks(self, report: dict[str, Any]) -> list[str]:
        (operators, left), (norms, norms_left) = report['operators'], report['batch_norms']
        return [f'{operators} operators became {left}, {norms} BatchNorms {norms_left}']


def fuse(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """Return the fused graph of ``symbol``, a float32 network.

    Raises
    ------
    OpenatacError
        If no BatchNorm can be folded, or this MXNet has no oneDNN.
    """
    import mxnet as mx
    try:
        fused = unbranched(symbol).get_backend_symbol('MKLDNN')
    except mx.MXNetError:
        raise OpenatacError('this MXNet has no oneDNN to fuse operators with: export where the CPU build of '
                            'mxnet 1.9.1 is installed') from None
    if operators(fused)['BatchNorm'] >= operators(symbol)['BatchNorm']:
        raise OpenatacError('the network has no BatchNorm after a convolution to be folded: '
                            'leave this form out')
    return fused


def unbranched(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """Return a graph that computes the same as ``symbol`` and that MXNet fuses, or quantizes, correctly.

    MXNet 1.9.1 folds a BatchNorm even into a convolution whose raw output is also added elsewhere, as the
    shortcut does in a pre-activation ResNet's first block, and then adds the normalised output. Here such a
    sum reads the convolution through an identity (BlockGrad; _copy would be optimised away), which keeps the
    BatchNorm from being folded.
    """
    graph = Graph.of(symbol)
    for node, readers in graph.readers().items():
        sums = [reader for reader in readers if reader.operator in SUMS]
        if node.operator == 'Convolution' and sums and len(readers) > 1:
            kept = Output(Node('BlockGrad', node.name + '_kept', [Output(node)]))
            for reader in sums:
                reader.inputs = [kept if source.node is node else source for source in reader.inputs]
    return graph.symbol()


def operators(symbol: mx.sym.Symbol) -> collections.Counter[str]:
    """Return {operator: its number in the graph}, not counting those inside fused operators."""
    return collections.Counter(node.operator for node in Graph.of(symbol).nodes() if not node.is_variable)
