"""What a network costs: parameters, multiply-adds for one image and the memory of its activations.

All are read off the symbol graph, a network's own or that of a symbol file, so nothing has to be told
about its layers.
"""
import json
from typing import NamedTuple, Tuple

import mxnet as mx
import numpy as np

# Operators that compute nothing: what they give is what they got, in another shape.
VIEWS = ('Flatten', 'Reshape', 'reshape', 'reshape_like', 'expand_dims', 'squeeze', 'identity', '_copy')
PRODUCTS = ('dot', 'batch_dot', '_linalg_gemm2')  # of two matrices
SLICES = ('slice', 'slice_axis')


class Costs(NamedTuple):
    """parameters: all arrays' elements, running statistics included; trainable: without those.

    multiply_adds: of convolutions, dense layers and matrix products, as in the papers; one multiplication
    with its addition counts as one. A matrix product with ones is a way of adding up or repeating and, as
    poolings and element-wise operators, counts as none.
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
             if node['op'] == 'BatchNorm' and node.get('attrs', {}).get('fix_gamma', 'True') == 'True'}
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
    uncounted = {node['name']: int(np.prod(shape_of[node['name']])) for node in nodes
                 if node['op'] == 'null' and node['name'] != 'data'}
    return [_layer(node, nodes, shape_of, uncounted, published) for node in nodes if node['op'] != 'null']


def _layer(node, nodes, shape_of, uncounted, published):
    """The `Layer` of a node; takes its arrays off ``uncounted``, so that shared ones count once."""
    parameters = sum(uncounted.pop(nodes[source[0]]['name'], 0) for source in node['inputs'])
    output = _shape(node, shape_of)
    return Layer(node['name'], node['op'], output[1:], parameters,
                 _multiply_adds(node, nodes, shape_of, published),
                 0 if node['op'] in VIEWS else int(np.prod(output)))


def _shape(node, shape_of):
    name = node['name']
    return next(shape_of[key] for key in (name, name + '_output', name + '_output0') if key in shape_of)


def _multiply_adds(node, nodes, shape_of, published):
    operator, outputs = node['op'], int(np.prod(_shape(node, shape_of)))
    if operator not in ('Convolution', 'FullyConnected', *PRODUCTS):
        return 0
    inputs = [nodes[source[0]] for source in node['inputs'][:2]]
    first, weight = (_shape(source, shape_of) for source in inputs)
    if operator == 'Convolution':  # each output element is one dot product with its filter
        return outputs * int(np.prod(weight[1:]))
    if operator == 'FullyConnected':
        units, length = weight
        return 2 * length * units - length + units if published else outputs * length
    if any(_is_ones(source, nodes) for source in inputs):
        return 0
    return outputs * first[-2 if node.get('attrs', {}).get('transpose_a') in ('True', '1') else -1]


def _is_ones(node, nodes):
    if node['op'] in VIEWS + SLICES:
        return _is_ones(nodes[node['inputs'][0][0]], nodes)
    return node['op'] in ('ones_like', '_ones')
