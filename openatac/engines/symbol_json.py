"""Symbols made of their nodes, as MXNet's JSON has them."""
import json

import mxnet as mx


def symbol_of(graph, nodes, heads):
    """The Symbol of ``nodes`` with the outputs ``heads``.

    graph : parsed JSON of a symbol, whose version of MXNet is kept
    nodes : list of nodes, each behind those that it reads
    heads : list of entries, [index of a node, number of its output, 0]
    """
    variables = [index for index, node in enumerate(nodes) if node['op'] == 'null']
    return mx.sym.load_json(json.dumps(
        {'nodes': nodes, 'arg_nodes': variables, 'heads': heads, 'attrs': graph['attrs']}))
