"""The oracle: what the authors' published code computes, and how to build the same case from ours.

``cases/*.json`` and ``*.npz`` are recorded numbers (no weights: `fill` draws them).
"""
import json
from pathlib import Path

import mxnet as mx
import numpy as np

from tests.helpers.networks.parameters import parameters_of
from tests.oracle import fill

CASES = Path(__file__).parent / 'cases'
NAMES = sorted(path.stem for path in CASES.glob('*.json'))


def load(name):
    """Return (description, arrays) of a case."""
    description = json.loads((CASES / (name + '.json')).read_text())
    return description, dict(np.load(CASES / (name + '.npz'), allow_pickle=False))


def build(description):
    """Build our network for a case, without initialising it."""
    from openatac.models.cifar_resnet import ResNet20V2ATAC
    from openatac.models.resnet_v1b import ResNet50_v1bATAC
    from openatac.nn.atac import ChaATAC
    arguments = dict(description['arguments'])
    if description['kind'] == 'unit':
        return ChaATAC(**{'channels': description['input_shape'][1], 'r': 2, **arguments})
    if description['kind'] == 'cifar':
        blocks, width = arguments.pop('blocks', 1), arguments.pop('width', 1)
        channels = [width * c for c in (16, 16, 32, 64)]
        return ResNet20V2ATAC(layers=[blocks] * 3, channels=channels, **arguments)
    return ResNet50_v1bATAC(**{'layers': [1, 1, 1, 1], **arguments})


def prepare(net, mode):
    """Return the network in a mode: imperative, hybridized or static."""
    if mode != 'imperative':
        net.hybridize(static_alloc=mode == 'static', static_shape=mode == 'static')
    return net


def images(name, description):
    """Return a case's input."""
    return mx.nd.array(fill.images(name, description['input_shape']))


def filled(name, mode='imperative'):
    """Return a case's network with the oracle's parameters."""
    description, arrays = load(name)
    net = build(description)
    net.initialize()
    net(images(name, description))
    for key, parameter in parameters_of(net).items():
        parameter.set_data(mx.nd.array(fill.parameter(key, parameter.shape)))
    return prepare(net, mode), description, arrays


def graph_of(symbol):
    """Return a symbol's nodes without names, as in a case's ``graph``."""
    nodes = json.loads(symbol.tojson())['nodes']
    return [[node['op'], node.get('attrs', {}) if node['op'] != 'null' else {},
             [entry[:2] for entry in node['inputs']]] for node in nodes]
