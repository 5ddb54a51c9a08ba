"""What a network costs: parameters, multiply-adds for one image and the memory of its activations.

All are read off the symbol graph, a network's own or that of a symbol file, so nothing has to be told
about its layers.
"""
import json
from typing import NamedTuple, Tuple

import mxnet as mx
import numpy as np

# Operators that compute nothing: what they give is what they got, in another shape.
VIEWS = ('Flatten', 'Reshape', 'reshape', 'expand_dims', 'squeeze', 'identity', '_copy')


class Costs(NamedTuple):
    """parameters: all arrays' elements, running statistics included; trainable: without those.

    multiply_adds: of convolutions and dense layers, as in the papers; one multiplication with its
    addition counts as one.
    activations: elements of all operators' outputs for one image, which training keeps for its
    backward pass (without views of others; times 4 in bytes of float32).
    """

    parameters: int
    trainable: int
    multiply_adds: int
    activations: int


class Layer(NamedTuple):
    """One operator: ``output`` is the shape that it gives for one image, the rest is as in `Costs`."""

    name: str
    operator: str
    output: Tuple[int, ...]
    parameters: int
    multiply_adds: int
    activations: int


def costs(net, image_shape, published=False):
    """Costs of an initialised network for one image of ``image_shape`` (C, H, W).

    published: count a dense layer as 2 * inputs * outputs - inputs + outputs, as the count behind
        the paper's 4.4 G does, instead of inputs * outputs.
    """
    parameters = net._collect_params_with_prefix().values()
    sizes = {parameter.name: int(np.prod(parameter.shape)) for parameter in parameters}
    trainable = sum(sizes[parameter.name] for parameter in parameters if parameter.grad_req != 'null')
    every = layers(net(mx.sym.var('data')), image_shape, published)
    return Costs(sum(sizes.values()), trainable, sum(layer.multiply_adds for layer in every),
                 sum(layer.activations for layer in every))


def symbol_costs(symbol, image_shape, published=False):
    """Costs of a symbol with the input ``data``, such as a symbol file's.

    It does not tell what is trained: taken are all arrays but running statistics and fixed gammas.
    """
    shapes, _, statistics = symbol.infer_shape(data=(1,) + tuple(image_shape))
    sizes = {name: int(np.prod(shape)) for name, shape in zip(symbol.list_arguments(), shapes)
             if name != 'data'}
    nodes = json.loads(symbol.tojson())['nodes']
    fixed = {nodes[node['inputs'][1][0]]['name'] for node in nodes
             if node['op'] == 'BatchNorm' and node['attrs'].get('fix_gamma') == 'True'}
    trainable = sum(size for name, size in sizes.items() if name not in fixed)
    every = layers(symbol, image_shape, published)
    return Costs(sum(sizes.values()) + sum(int(np.prod(shape)) for shape in statistics), trainable,
                 sum(layer.multiply_adds for layer in every), sum(layer.activations for layer in every))


def layers(symbol, image_shape, published=False):
    """The `Layer`s of a symbol with the input ``data``, in the order of computation; see `costs`."""
    internals = symbol.get_internals()
    _, shapes, _ = internals.infer_shape(data=(1,) + tuple(image_shape))
    shape_of = dict(zip(internals.list_outputs(), shapes))
    nodes = json.loads(symbol.tojson())['nodes']
    return [_layer(node, nodes, shape_of, published) for node in nodes if node['op'] != 'null']


def _layer(node, nodes, shape_of, published):
    inputs = [nodes[source[0]] for source in node['inputs']]
    arrays = [shape_of[source['name']] for source in inputs
              if source['op'] == 'null' and source['name'] != 'data']
    output = shape_of.get(node['name'] + '_output') or shape_of[node['name'] + '_output0']
    return Layer(node['name'], node['op'], output[1:], sum(int(np.prod(shape)) for shape in arrays),
                 _multiply_adds(node['op'], output, arrays, published),
                 0 if node['op'] in VIEWS else int(np.prod(output)))


def _multiply_adds(operator, output, arrays, published):
    if operator == 'Convolution':  # each output element is one dot product with its filter
        return int(np.prod(output)) * int(np.prod(arrays[0][1:]))
    if operator == 'FullyConnected':
        outputs, inputs = arrays[0]
        return 2 * inputs * outputs - inputs + outputs if published else inputs * outputs
    return 0
