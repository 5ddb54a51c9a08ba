"""Symbols made of their nodes, as MXNet's JSON has them, and read from files."""
import contextlib
import io
import json
import math
import warnings

import mxnet as mx

from openatac.errors import OpenatacError
from openatac.graph.checks import LARGEST_TENSOR, read_graph

# Operators that divide by sizes of their inputs to find the one that is written as -1.
_RESHAPING = ('Reshape', 'reshape', '_np_reshape', '_npi_reshape', '_npx_reshape', 'reshape_like',
              '_npx_reshape_like', '_contrib_reshape_like')
_MOST_RESHAPED = 256  # of them behind each other


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
    try:
        infer_sizes(symbol, image_shape, **known)
    except ValueError as error:
        raise OpenatacError('the network does not take images of shape %s (%s): export again'
                            % (tuple(image_shape), error)) from None


def infer_sizes(symbol, image_shape, **known):
    """As `check_sizes`, but raises ValueError with the reason alone."""
    known['data'] = (1, *image_shape)
    inside = symbol.get_internals()
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():  # MXNet says it twice
            warnings.simplefilter('ignore')
            _check_reshaped(json.loads(symbol.tojson()), known)
            shapes = inside.infer_shape(**known)[1]
    except mx.MXNetError as error:
        raise ValueError('MXNet says ' + _last_line(error)) from None
    for name, shape in zip(inside.list_outputs(), shapes or ()):
        if math.prod(shape) > LARGEST_TENSOR:
            raise ValueError(f'{name} has the shape {shape}, and the limit is {LARGEST_TENSOR} elements')


def _check_reshaped(graph, known):
    """Raise ValueError if an operator that reshapes gets a size of 0, by which MXNet would divide.

    Asking MXNet for all shapes at once would divide as well. So the inputs of those that read no other such
    operator are asked for first, then of those behind them, and so on.
    """
    nodes, behind, levels = graph['nodes'], [], {}
    for node in nodes:
        level = max((behind[source] for source, *_ in node['inputs']), default=0)
        if node['op'] in _RESHAPING:
            levels.setdefault(level, []).append(node)
            level += 1
        behind.append(level)
    if len(levels) > _MOST_RESHAPED:
        raise ValueError(f'more than {_MOST_RESHAPED} operators reshape behind each other')
    for level in sorted(levels):
        before = symbol_of(graph, nodes, [entry for node in levels[level] for entry in node['inputs']])
        given = {name: known[name] for name in before.list_arguments() if name in known}
        shapes = iter(before.infer_shape_partial(**given)[1])
        for node in levels[level]:
            if any(0 in shape for _, shape in zip(node['inputs'], shapes)):
                raise ValueError(f"{node['name'][:80]} reshapes what has no elements")


def _last_line(error):
    return str(error).strip().splitlines()[-1]
