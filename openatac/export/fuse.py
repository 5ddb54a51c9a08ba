"""A network's graph with oneDNN's fused operators, for CPUs.

A convolution takes up the BatchNorm, the activation and the addition behind it and becomes one operator,
whose weights MXNet folds when it first runs. The parameters keep their names and values.
"""
import collections
import json

import mxnet as mx

from openatac.errors import OpenatacError
from openatac.graph.symbol import symbol_of

SUMS = ('elemwise_add', 'broadcast_add')


def fuse(symbol):
    """The fused graph of ``symbol``, a float32 network.

    Raises OpenatacError if no BatchNorm can be folded or this MXNet has no oneDNN.
    """
    try:
        fused = unbranched(symbol).get_backend_symbol('MKLDNN')
    except mx.MXNetError:
        raise OpenatacError('this MXNet has no oneDNN to fuse operators for: export where the CPU build of '
                            'mxnet 1.9.1 is installed') from None
    if operators(fused)['BatchNorm'] >= operators(symbol)['BatchNorm']:
        raise OpenatacError('the network has no BatchNorm behind a convolution to be folded: leave this form '
                            'out')
    return fused


def unbranched(symbol):
    """A graph that computes the same as ``symbol`` and that MXNet can fuse, or quantize, without a mistake.

    MXNet 1.9.1 folds a BatchNorm also into a convolution whose raw output is added somewhere else, as that of
    a pre-activation ResNet's first one is by the shortcut, and then adds the normalised output. Here such
    a sum gets its input by way of an identity (BlockGrad; _copy would be optimised away), which keeps the
    BatchNorm from being folded.
    """
    graph = json.loads(symbol.tojson())
    branching = _branching_convolutions(graph['nodes'])
    nodes, place, copy = [], {}, {}  # the new nodes, and by its old index where a node and its copy are
    for index, node in enumerate(graph['nodes']):
        sources = {**place, **copy} if node['op'] in SUMS else place
        nodes.append(dict(node, inputs=[[sources[source], *rest] for source, *rest in node['inputs']]))
        place[index] = len(nodes) - 1
        if index in branching:
            copy[index] = len(nodes)
            nodes.append({'op': 'BlockGrad', 'name': node['name'] + '_kept',
                          'inputs': [[place[index], 0, 0]]})
    return symbol_of(graph, nodes, [[place[index], *rest] for index, *rest in graph['heads']])


def _branching_convolutions(nodes):
    """The indices of convolutions whose output goes into a sum and somewhere else."""
    users = collections.defaultdict(list)
    for node in nodes:
        for source, *_ in node['inputs']:
            users[source].append(node['op'])
    return {index for index, node in enumerate(nodes)
            if node['op'] == 'Convolution' and len(users[index]) > 1 and set(users[index]) & set(SUMS)}


def operators(symbol):
    """{operator: how often it is in the graph}, a Counter; what is inside a fused operator does not count."""
    return collections.Counter(node['op'] for node in json.loads(symbol.tojson())['nodes']
                               if node['op'] != 'null')
