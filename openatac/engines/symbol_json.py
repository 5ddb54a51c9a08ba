"""Symbols made of their nodes, as MXNet's JSON has them, and read from files."""
import contextlib
import io
import json
import math
import warnings

import mxnet as mx

from openatac.engines.foreign_symbol import LARGEST_TENSOR, read_graph
from openatac.errors import OpenatacError


def symbol_of(graph, nodes, heads):
    """The Symbol of ``nodes`` with the outputs ``heads``.

    graph : parsed JSON of a symbol, whose version of MXNet is kept
    nodes : list of nodes, each behind those that it reads
    heads : list of entries, [index of a node, number of its output, 0]
    """
    variables = [index for index, node in enumerate(nodes) if node['op'] == 'null']
    return mx.sym.load_json(json.dumps(
        {'nodes': nodes, 'arg_nodes': variables, 'heads': heads, 'attrs': graph['attrs']}))


def load_symbol_file(path):
    """The Symbol of the file ``path``; OpenatacError if it is missing, damaged or beyond the limits."""
    graph = read_graph(path, count_outputs)
    try:
        return mx.sym.load_json(json.dumps(graph))
    except mx.MXNetError as error:
        raise OpenatacError('%s is not a symbol file, or is damaged (MXNet says %s): export it again'
                            % (path, _last_line(error))) from None


def count_outputs(node):
    """The number of a node's outputs, found by making a graph of it alone; ValueError if it makes none."""
    inputs = range(len(node['inputs']))
    nodes = [{'op': 'null', 'name': str(index), 'inputs': []} for index in inputs]
    nodes.append({**node, 'inputs': [[index, 0, 0] for index in inputs]})
    try:
        alone = symbol_of({'attrs': {'mxnet_version': ['int', 10901]}}, nodes, [[len(inputs), 0, 0]])
        return len(alone.get_internals().list_outputs()) - len(inputs)
    except mx.MXNetError as error:
        raise ValueError('node %s: MXNet says %s' % (node['name'], _last_line(error))) from None


def check_sizes(symbol, image_shape, **known):
    """Raise OpenatacError unless one image fits the network, and what it computes of it fits into memory.

    known : {name: shape} of variables
    """
    inside = symbol.get_internals()
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():  # MXNet says it twice
            warnings.simplefilter('ignore')
            shapes = inside.infer_shape(data=(1, *image_shape), **known)[1]
    except (mx.MXNetError, ValueError) as error:
        raise OpenatacError('the network does not take images of shape %s (MXNet says %s): export again'
                            % (tuple(image_shape), _last_line(error))) from None
    for name, shape in zip(inside.list_outputs(), shapes or ()):
        if math.prod(shape) > LARGEST_TENSOR:
            raise OpenatacError(f'{name} has the shape {shape} for images of shape {tuple(image_shape)}, and '
                                f'the limit is {LARGEST_TENSOR} elements: export again')


def _last_line(error):
    return str(error).strip().splitlines()[-1]
