"""The form in which a network is trained on the CPU: the same values from faster operators.

MXNet 1.9.1 computes two gradients of global gates slowly on CPUs: that of the global average pooling (up
to a hundred times as slowly as need be) and that of the product of a feature map and one number for each
channel. Both operators have equals that are fast. ATAC's graph is part of what was published, so the
network itself, what is evaluated and what is exported, stays as it is; only the training steps run
through a copy of its graph with those operators exchanged, on the very same parameters.
"""
import json

import mxnet as mx
from mxnet import gluon

from openatac.graph.symbol import symbol_of
from openatac.nn.attention import scale_channels


def training_form(net, image_shape):
    """A block that computes what ``net`` does for images (B, *image_shape), with ``net``'s own parameters.

    net : HybridBlock whose values are drawn. It is returned itself if there is nothing to exchange.
    """
    data = mx.sym.var('data', dtype='float32')
    symbol = net(data)
    faster = exchange(symbol, image_shape)
    return net if faster is symbol else gluon.SymbolBlock(faster, data, params=net.collect_params())


def exchange(symbol, image_shape):
    """``symbol``, whose input is ``data``, with its slow operators exchanged; itself if it has none."""
    shape_of = output_shapes(symbol, image_shape)
    graph = json.loads(symbol.tojson())
    nodes, place = [], []  # the new nodes, and the place of each old one among them
    exchanged = False
    for old in graph['nodes']:
        inputs = [[place[source], *rest] for source, *rest in old['inputs']]
        faster = _faster(old, graph['nodes'], shape_of)
        exchanged |= faster is not None
        nodes += [dict(old, inputs=inputs)] if faster is None else _spliced(faster, old, inputs, len(nodes))
        place.append(len(nodes) - 1)
    if not exchanged:
        return symbol
    return symbol_of(graph, nodes, [[place[source], *rest] for source, *rest in graph['heads']])


def output_shapes(symbol, image_shape):
    """{name of an operator's output: its shape} for two images."""
    internals = symbol.get_internals()
    _, shapes, _ = internals.infer_shape(data=(2, *image_shape))
    return dict(zip(internals.list_outputs(), shapes))


def _faster(node, nodes, shape_of):
    """What is to take the node's place, a symbol of the variables ``0``, ``1``...; None if nothing."""
    attributes = node.get('attrs', {})
    if (node['op'], attributes.get('pool_type'), attributes.get('global_pool')) == ('Pooling', 'avg', 'True'):
        return mx.sym.contrib.AdaptiveAvgPooling2D(mx.sym.var('0'), output_size=1)
    if node['op'] == 'broadcast_mul':
        left, right = (shape_of.get(nodes[source]['name'] + '_output', ()) for source, *_ in node['inputs'])
        if len(left) == 4 and right == left[:2] + (1, 1) != left:
            return scale_channels(mx.sym, mx.sym.var('0'), mx.sym.flatten(mx.sym.var('1')))
    return None


def _spliced(symbol, old, inputs, start):
    """The operators of ``symbol`` as nodes from ``start`` on, fed by ``inputs``; ``old`` names the last."""
    place, spliced = {}, []
    for index, node in enumerate(json.loads(symbol.tojson())['nodes']):
        if node['op'] == 'null':
            place[index] = inputs[int(node['name'])]
            continue
        place[index] = [start + len(spliced), 0, 0]
        spliced.append(dict(node, name='%s_%s' % (old['name'], node['name']),
                            inputs=[place[source] for source, *_ in node['inputs']]))
    spliced[-1]['name'] = old['name']
    return spliced
