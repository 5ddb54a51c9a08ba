"""What a network costs: its parameters and its multiply-adds for one image.

Both are read off the symbol graph that the network exports, so nothing has to be told about its
layers. Only convolutions and dense layers count, as in the papers.
"""
import json
from typing import NamedTuple

import mxnet as mx
import numpy as np


class Costs(NamedTuple):
    """parameters: all arrays' elements, running statistics included; trainable: without those.

    multiply_adds: one multiplication with its addition counts as one.
    """

    parameters: int
    trainable: int
    multiply_adds: int


def costs(net, image_shape, published=False):
    """Costs of an initialised network for one image of ``image_shape`` (C, H, W).

    published: count a dense layer as 2 * inputs * outputs - inputs + outputs, as the count behind
        the paper's 4.4 G does, instead of inputs * outputs.
    """
    symbol = net(mx.sym.var('data'))
    parameters = net._collect_params_with_prefix().values()
    sizes = {parameter.name: int(np.prod(parameter.shape)) for parameter in parameters}
    trainable = sum(sizes[parameter.name] for parameter in parameters if parameter.grad_req != 'null')
    return Costs(sum(sizes.values()), trainable, multiply_adds(symbol, image_shape, published))


def multiply_adds(symbol, image_shape, published=False):
    """Multiply-adds of a symbol with the input ``data`` for one image; see `costs`."""
    internals = symbol.get_internals()
    _, shapes, _ = internals.infer_shape(data=(1,) + tuple(image_shape))
    shape_of = dict(zip(internals.list_outputs(), shapes))
    total = 0
    nodes = json.loads(symbol.tojson())['nodes']
    for node in nodes:
        if node['op'] not in ('Convolution', 'FullyConnected'):
            continue
        weight = shape_of[nodes[node['inputs'][1][0]]['name']]
        if node['op'] == 'Convolution':  # each output element is one dot product with its filter
            total += int(np.prod(shape_of[node['name'] + '_output'])) * int(np.prod(weight[1:]))
        else:
            outputs, inputs = weight
            total += 2 * inputs * outputs - inputs + outputs if published else inputs * outputs
    return total
