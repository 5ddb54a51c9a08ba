"""The graph that training uses on CPUs computes the same as the network, with other operators."""
import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd

from openatac.backends.mxnet.cpu_graph import faster_network, faster_symbol
from openatac.graph.nodes import Graph
from openatac.models.cifar_resnet import ResNet20V2ATAC
from tests.helpers.networks.imagenet_hosts import shallow_host
from tests.helpers.networks.parameters import initialised, parameters_of

NETWORKS = {
    'relu': lambda: ResNet20V2ATAC([1] * 3, act_type='relu'),
    'atac': lambda: ResNet20V2ATAC([1] * 3),
    'global gate': lambda: ResNet20V2ATAC([1] * 3, useGlobal=True),
    'se': lambda: ResNet20V2ATAC([1] * 3, act_type='relu', attention='se'),
    'eca': lambda: ResNet20V2ATAC([1] * 3, act_type='relu', attention='eca'),
    'prelu and cbam': lambda: ResNet20V2ATAC([1] * 3, act_type='prelu', attention='cbam'),
    'gather-excite': lambda: ResNet20V2ATAC([1] * 3, act_type='xunit', attention='ge'),
    'ImageNet': lambda: shallow_host().gluon(classes=10, final_drop=0.2),
}


def step(net, block, x):
    """Return (outputs, gradients, running statistics) of a training pass of ``block``, a form of ``net``."""
    mx.random.seed(3)
    x.attach_grad()
    with autograd.record():
        output = block(x)
        loss = (output * output).sum()
    loss.backward()
    mx.nd.waitall()
    trained, statistics = {}, {}
    for name, parameter in parameters_of(net).items():
        if parameter.grad_req == 'null':
            statistics[name] = parameter.data().asnumpy()
        else:
            trained[name] = parameter.grad().asnumpy()
    return output.asnumpy(), trained, statistics


@pytest.mark.parametrize('name', NETWORKS)
def test_faster_network_computes_the_same(name):
    mx.random.seed(1)
    net = NETWORKS[name]()
    net.initialize(mx.init.MSRAPrelu())
    net.hybridize()
    shape = (3, 64, 64) if name == 'ImageNet' else (3, 32, 32)
    x = mx.nd.array(np.random.RandomState(0).randn(4, *shape))
    net(x)
    form = faster_network(net, shape)
    assert form is not net
    assert {id(p) for p in form.collect_params().values()} == {id(p) for p in net.collect_params().values()}
    form.hybridize(static_alloc=True)
    start = {key: p.data().copy() for key, p in net.collect_params().items()}
    expected = step(net, net, x)
    for key, parameter in net.collect_params().items():
        parameter.set_data(start[key])
    found = step(net, form, x)
    np.testing.assert_allclose(found[0], expected[0], rtol=0, atol=1e-5 * np.abs(expected[0]).max())
    for mine, theirs in zip(found[1:], expected[1:]):
        for key in theirs:
            scale = max(np.abs(theirs[key]).max(), 1e-3)
            np.testing.assert_allclose(mine[key], theirs[key], rtol=0, atol=1e-3 * scale, err_msg=key)


def first(x, *axes):
    """Return the first element of x along each of the axes."""
    for axis in axes:
        x = mx.sym.slice_axis(x, axis=axis, begin=0, end=1)
    return x


PLAIN = {
    'a factor for each channel': lambda x: mx.sym.broadcast_mul(x, first(x, 2, 3)),
    'for each pixel': lambda x: mx.sym.broadcast_mul(x, first(x, 1)),
    'the same for all images': lambda x: mx.sym.broadcast_mul(x, first(x, 0)),
    'the average pixel': lambda x: mx.sym.Pooling(x, pool_type='avg', global_pool=True),
    'the sum of pixels': lambda x: mx.sym.Pooling(x, pool_type='sum', global_pool=True),
    'the largest pixel': lambda x: mx.sym.Pooling(x, pool_type='max', global_pool=True),
    'the average channel': lambda x: mx.sym.mean(mx.sym.transpose(x, axes=(0, 2, 3, 1)), axis=3),
}


@pytest.mark.parametrize('shape', [(3, 4, 6, 5), (1, 1, 1, 1), (2, 16, 9, 33), (1, 3, 1, 8)])
@pytest.mark.parametrize('name', PLAIN)
def test_replacement_operators_compute_the_same(name, shape):
    """Compare values and gradients, including for one image, one channel and one pixel."""
    plain = PLAIN[name](mx.sym.var('data'))
    results = []
    for symbol in (plain, faster_symbol(plain, shape[1:])):
        random = np.random.RandomState(0)
        x, gradient = mx.nd.array(random.randn(*shape)), mx.nd.zeros(shape)
        executor = symbol.bind(mx.cpu(), {'data': x}, {'data': gradient})
        (output,) = executor.forward(is_train=True)
        executor.backward(mx.nd.array(random.randn(*output.shape)))
        results.append([output.asnumpy(), gradient.asnumpy()])
    for ours, expected in zip(*results):
        assert ours.shape == expected.shape
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max()))


def test_replaced_operators():
    """Replace global average pooling and products with one number per channel, but not ATAC's product."""
    def operators(net):
        faster = faster_symbol(net(mx.sym.var('data')), (3, 32, 32))
        return [node.operator for node in Graph.of(faster).nodes()]

    local, pooled = operators(NETWORKS['atac']()), operators(NETWORKS['global gate']())
    assert local.count('broadcast_mul') == 7 and local.count('_contrib_AdaptiveAvgPooling2D') == 1
    assert pooled.count('broadcast_mul') == 0 and pooled.count('_contrib_AdaptiveAvgPooling2D') == 8
    assert 'Pooling' not in local + pooled


def test_network_without_replaceable_operators_is_returned_unchanged():
    net = mx.gluon.nn.HybridSequential()
    net.add(mx.gluon.nn.Conv2D(2, 3), mx.gluon.nn.MaxPool2D(), mx.gluon.nn.AvgPool2D())
    assert faster_network(initialised(net, side=8), (3, 8, 8)) is net


def test_networks_work_after_each_other_in_one_process():
    """In one process, oneDNN's BatchNorm once crashed on GE's vectors after those of the global gate."""
    for name in ('global gate', 'gather-excite'):
        net = NETWORKS[name]()
        net.initialize(mx.init.MSRAPrelu())
        net.hybridize()
        step(net, net, mx.nd.zeros((4, 3, 32, 32)))
