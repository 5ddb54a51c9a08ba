"""A symbol's operators with their shapes for any number of images, and with what in them is constant.

MXNet infers the shapes, for two images and for three: a dimension that differs belongs to the batch. So
no rule of an operator's shape (Reshape's codes, reshape_like, the conventions of poolings) is repeated
here. MXNet also computes whatever does not depend on the images' values, such as tables of relative
positions and ones of the size of a feature map: those become constants.
"""
import ast
import contextlib
import dataclasses
import io
import json
import re
import warnings
from typing import Any, Dict, List, Optional, Tuple, Union

import mxnet as mx
import numpy as np

from openatac.errors import OpenatacError
from openatac.graph.symbol import symbol_of

BY_SHAPE = ('ones_like', 'zeros_like', '_contrib_arange_like')  # of their input they see the shape only


@dataclasses.dataclass(eq=False)
class Node:
    """One operator, or a variable (operator 'null').

    attributes : those given, as Python values; see `get` for the others.
    shape : of its output; the strings in it depend on the number of images: 'N', '8*N'.
    value : of its output where that is constant (parameters are), else None.
    """

    operator: str
    name: str
    attributes: Dict[str, Any]
    inputs: List['Node']
    shape: Tuple[Union[int, str], ...]
    value: Optional[np.ndarray] = None

    def get(self, attribute, default=None):
        """The attribute's value; ``default``, which is MXNet's, where it is not given."""
        return self.attributes.get(attribute, default)


def read_symbol(symbol, arrays, image_shape):
    """The `Node`s that the output of ``symbol`` needs, in order; the last one gives it.

    symbol : of one output and the input ``data``; arrays : {name: NumPy array} of all its other variables;
    image_shape : (C, H, W) of one image.

    Raises OpenatacError if the three do not fit each other.
    """
    graph = json.loads(symbol.tojson())
    if len(graph['heads']) != 1:
        raise OpenatacError('a network of %d outputs can not be exported, only of one' % len(graph['heads']))
    _check_variables(symbol, arrays)
    nodes = []
    for entry, shape in zip(graph['nodes'], _shapes(symbol, graph['nodes'], arrays, image_shape)):
        attributes = {key: _parse(text) for key, text in entry.get('attrs', {}).items()}
        node = Node(entry['op'], entry['name'], attributes, [nodes[source] for source, *_ in entry['inputs']],
                    shape)
        node.value = arrays.get(node.name) if node.operator == 'null' else _constant(node, entry, graph)
        nodes.append(node)
    return _needed(nodes[:graph['heads'][0][0] + 1])


def _needed(nodes):
    """Those that the last one needs: not what leads to constants and nowhere else."""
    needed = {nodes[-1]}
    for node in reversed(nodes):
        if node in needed and node.value is None:
            needed.update(node.inputs)
    return [node for node in nodes if node in needed]


def _check_variables(symbol, arrays):
    if 'data' not in symbol.list_arguments():
        raise OpenatacError("the network's input must be called data, and its variables are: %s"
                            % ', '.join(symbol.list_arguments()[:5]))
    missing = [name for name in symbol.list_inputs() if name != 'data' and name not in arrays]
    if missing:
        raise OpenatacError('the parameters are of another network: %s is not among them' % missing[0])


def _parse(text):
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _shapes(symbol, entries, arrays, image_shape):
    """The shape of each node's output."""
    internals = symbol.get_internals()
    for entry, output in zip(entries, internals.list_outputs()):  # by place: names need not be unique
        if output not in (entry['name'], entry['name'] + '_output'):
            raise OpenatacError('%s (node %s) has several outputs, which can not be exported'
                                % (entry['op'], entry['name']))
    known = {name: arrays[name].shape for name in symbol.list_arguments() if name in arrays}
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():  # MXNet says it twice
            warnings.simplefilter('ignore')
            pairs = [internals.infer_shape(data=(images, *image_shape), **known) for images in (2, 3)]
    except mx.MXNetError as error:
        where = re.search('Error in operator ([^:]+)', str(error))
        raise OpenatacError('images of shape %r or these parameters do not fit the network%s' % (
            tuple(image_shape), ': see its node ' + where[1] if where else '')) from None
    if None in pairs[0]:
        raise OpenatacError('images of shape %r do not tell all shapes of the network'
                            % (tuple(image_shape),))
    for name, shape in zip(symbol.list_auxiliary_states(), pairs[0][2]):
        if shape != arrays[name].shape:
            raise OpenatacError('the parameters are of another network: %s has shape %s there and %s here'
                                % (name, arrays[name].shape, shape))
    return [tuple(map(_dimension, *shapes)) for shapes in zip(pairs[0][1], pairs[1][1])]


def _dimension(of_two, of_three):
    """A dimension, for any number of images, that is so large for two and for three."""
    if of_two == of_three:
        return of_two
    each = of_three - of_two
    if of_two != 2 * each:
        raise OpenatacError('the network does not treat images alike: where two give %d rows, three give %d'
                            % (of_two, of_three))
    return 'N' if each == 1 else '%d*N' % each


def _constant(node, entry, graph):
    """The value of a node that is the same for all images, None of others."""
    values = [source.value for source in node.inputs]
    if node.operator in BY_SHAPE and not any(isinstance(size, str) for size in node.inputs[0].shape):
        values = [np.zeros(node.inputs[0].shape, np.float32)]
    if any(value is None for value in values):
        return None
    inputs = range(len(values))
    nodes = [{'op': 'null', 'name': str(index), 'inputs': []} for index in inputs]
    nodes.append(dict(entry, inputs=[[index, 0, 0] for index in inputs]))
    alone = symbol_of(graph, nodes, [[len(values), 0, 0]])
    return mx.nd.CachedOp(alone)(*[mx.nd.array(value, dtype=value.dtype) for value in values]).asnumpy()
