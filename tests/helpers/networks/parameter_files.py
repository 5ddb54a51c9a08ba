"""A small network, and its parameter files of every kind."""
import mxnet as mx
import numpy as np
import pytest

from openatac import get_model
from openatac.files.mxnet_arrays import write_params
from openatac.graph.named_graph import export_graph
from tests.helpers.networks.parameters import parameters_of, with_statistics
from tests.helpers.networks.safetensors import write_safetensors

MODEL = 'cifar_resnet8_v2_atac'
IMAGES = np.random.RandomState(0).randn(2, 3, 32, 32).astype('float32')


def network_with_statistics(name=MODEL, seed=1):
    """Return a network with random values whose running statistics differ from their initial values."""
    return with_statistics(get_model(name), seed, mx.nd.array(IMAGES))


def values_of(net):
    return {name: parameter.data().asnumpy() for name, parameter in parameters_of(net).items()}


def write_parameters(kind, net, folder):
    """Write the network's parameters to a file of that kind; return its path."""
    path = str(folder / 'net')
    if kind == 'structural':
        net.save_parameters(path + '.params')
        return path + '.params'
    if kind == 'prefixed':
        net.collect_params().save(path + '.params')
        return path + '.params'
    if kind == 'gluon export':
        net.hybridize()
        net(mx.nd.array(IMAGES))
        net.export(path)
    elif kind == 'structural export':
        export_graph(net, path)
    elif kind == 'float16':
        write_params(path + '.params', {name: array.astype('float16') for name, array in
                                        values_of(net).items()})
        return path + '.params'
    elif kind == 'safetensors':
        write_safetensors(path + '.safetensors', values_of(net))
        return path + '.safetensors'
    else:
        torch = pytest.importorskip('torch')
        from openatac import to_torch
        torch.save(to_torch(net).state_dict(), path + '.pt')
        return path + '.pt'
    return path + '-0000.params'


KINDS = ('structural', 'prefixed', 'gluon export', 'structural export', 'float16', 'safetensors', 'pt')
