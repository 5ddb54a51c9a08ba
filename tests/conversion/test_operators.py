"""Each operator computes in PyTorch as in MXNet, in training and in inference."""
import inspect

import mxnet as mx
import numpy as np
import pytest
from mxnet import gluon

from openatac.errors import OpenatacError
from openatac.graph.nodes import DEFAULTS
from tests.helpers.networks.both_libraries import differences

torch = pytest.importorskip('torch')
pytestmark = pytest.mark.usefixtures('one_torch_thread')

from openatac.conversion.networks import to_torch  # noqa: E402  (needs torch)
from openatac.conversion.operators import OPERATORS, batch_norm  # noqa: E402  (needs torch)

X, Y = mx.sym.var('data'), mx.sym.var('other')


def same_values(symbol, inference_only=False, **shapes):
    """Assert that a symbol has the same values and input gradients in both frameworks."""
    random = np.random.RandomState(0)
    arrays = {name: random.randn(*shape) for name, shape in shapes.items()}
    bound = {name: mx.nd.array(array, dtype='float64') for name, array in arrays.items()}
    gradients = {name: mx.nd.zeros(array.shape, dtype='float64') for name, array in arrays.items()}
    executor = symbol.bind(mx.cpu(), bound, gradients)
    expected, = executor.forward(is_train=True)
    module = to_torch(symbol, {name: array for name, array in arrays.items() if name != 'data'})
    data = torch.tensor(arrays['data'], requires_grad=True)
    found = module(data)
    np.testing.assert_allclose(found.detach().numpy(), expected.asnumpy(), rtol=1e-6, atol=1e-6)
    if inference_only:
        return
    head = random.randn(*expected.shape)
    executor.backward(mx.nd.array(head, dtype='float64'))
    found.backward(torch.tensor(head))
    for name, tensor in dict(module.named_parameters(), data=data).items():
        found = np.zeros(tensor.shape) if tensor.grad is None else tensor.grad.numpy()
        np.testing.assert_allclose(found, gradients[name].asnumpy(), rtol=1e-6, atol=1e-6, err_msg=name)


@pytest.mark.parametrize('codes, shape', [
    ((0, -1), (2, 3, 4)), ((-1, 0, 2), (4, 3, 2)), ((0, 0, -1), (2, 3, 4, 5)), ((-2,), (2, 3, 4)),
    ((6, -2), (6, 3)), ((-3, 0), (2, 3, 4)), ((0, -3), (2, 3, 4)), ((-3, -3), (2, 3, 4, 5)),
    ((0, -4, 2, -1, -2), (3, 8, 5, 2)), ((-4, -1, 2, 0), (6, 5)), ((-4, 2, 3, -2), (6, 5, 2)),
    ((-1, 1, 0, 0), (2, 3, 4, 5)), ((0, 2, 2, -1), (3, 4, 6))])
def test_reshape_codes(codes, shape):
    same_values(mx.sym.reshape(X, codes), data=shape)


@pytest.mark.parametrize('limits', [
    {}, {'lhs_begin': 2, 'lhs_end': 3, 'rhs_begin': 2, 'rhs_end': 4}, {'lhs_begin': 1, 'rhs_begin': 1},
    {'lhs_end': 1, 'rhs_end': 1}])
def test_reshape_like(limits):
    shape = {2: (2, 3, 20), 1: (2, 60)}.get(limits.get('lhs_begin'), (2, 3, 4, 5))
    same_values(mx.sym.reshape_like(X, mx.sym.BlockGrad(Y), **limits), data=shape, other=(2, 3, 4, 5))


@pytest.mark.parametrize('kind', ['max', 'avg'])
@pytest.mark.parametrize('settings', [
    {'kernel': (3, 3), 'stride': (2, 2), 'pad': (1, 1)}, {'kernel': (2, 2), 'stride': (2, 2)},
    {'kernel': (3, 3), 'stride': (2, 2), 'pad': (1, 1), 'pooling_convention': 'full'},
    {'kernel': (2, 2), 'stride': (2, 2), 'pooling_convention': 'full'}, {'kernel': (3, 2)},
    {'kernel': (3, 3), 'stride': (2, 2), 'pad': (1, 1), 'count_include_pad': False},
    {'kernel': (2, 2), 'stride': (2, 2), 'pooling_convention': 'full', 'count_include_pad': False},
    {'kernel': (1, 1), 'global_pool': True}])
def test_pooling(kind, settings):
    same_values(mx.sym.Pooling(X, pool_type=kind, **settings), data=(2, 3, 7, 8))


@pytest.mark.parametrize('settings', [{'global_pool': True},
                                      {'kernel': (3, 3), 'stride': (2, 2), 'pad': (1, 1)},
                                      {'kernel': (3, 3), 'stride': (2, 2), 'pooling_convention': 'full'}])
def test_sum_pooling(settings):
    same_values(mx.sym.Pooling(X, pool_type='sum', **settings), data=(2, 3, 7, 8))


def test_sum_pooling_of_1d_arrays():
    same_values(mx.sym.Pooling(X, pool_type='sum', kernel=(3,), stride=(2,), pad=(1,)), data=(2, 3, 8))


@pytest.mark.parametrize('symbol, data, other', [
    (mx.sym.dot(X, Y), (3, 4), (4, 5)),
    (mx.sym.dot(X, Y), (2, 3, 4), (4, 5, 6)),
    (mx.sym.dot(X, Y, transpose_a=True), (4, 3), (4, 5)),
    (mx.sym.dot(X, Y, transpose_b=True), (2, 3, 4), (5, 4)),
    (mx.sym.batch_dot(X, Y, transpose_a=True), (2, 4, 3), (2, 4, 5)),
    (mx.sym.batch_dot(X, Y, transpose_b=True), (2, 3, 4), (2, 5, 4)),
    (mx.sym.slice_like(X, mx.sym.BlockGrad(Y)), (3, 4, 5), (2, 3, 4)),
    (mx.sym.slice_like(X, mx.sym.BlockGrad(Y), axes=(1, -1)), (3, 4, 5), (9, 3, 4)),
    (mx.sym.concat(X, Y, dim=2), (2, 3, 4), (2, 3, 1)),
    (mx.sym.broadcast_maximum(X, Y), (2, 3, 4), (1, 3, 1)),
    (mx.sym.minimum(X, Y), (2, 3), (2, 3)),
    (mx.sym.broadcast_div(X, Y * Y + 1), (2, 3, 4), (1, 3, 1)),
    (mx.sym.contrib.BilinearResize2D(X, mx.sym.BlockGrad(Y), mode='like'), (2, 3, 4, 5), (2, 3, 7, 9)),
    (mx.sym.LeakyReLU(X, Y, act_type='prelu'), (2, 3, 4, 4), (3,)),
    (mx.sym.FullyConnected(X, Y, num_hidden=5, no_bias=True, flatten=False), (2, 3, 4), (5, 4)),
    (mx.sym.FullyConnected(X, Y, num_hidden=5, no_bias=True), (2, 3, 4), (5, 12)),
    (mx.sym.take(Y, mx.sym.BlockGrad(X * 9), mode='wrap'), (2, 3), (4, 5)),
    (mx.sym.take(Y, mx.sym.BlockGrad(X * 9)), (2, 3), (4, 5)),
    (mx.sym.pick(X, mx.sym.BlockGrad(Y * 9), axis=1), (2, 3, 4), (2, 4)),
    (mx.sym.Convolution(X, Y, kernel=(3, 3), num_filter=4, num_group=2, no_bias=True, dilate=(2, 2)),
     (2, 4, 9, 9), (4, 2, 3, 3)),
    (mx.sym.Convolution(X, Y, kernel=(3,), num_filter=2, no_bias=True, pad=(1,)), (2, 3, 9), (2, 3, 3)),
])
def test_operators_of_two_arrays(symbol, data, other):
    same_values(symbol, data=data, other=other)


@pytest.mark.parametrize('symbol, shape', [
    (mx.sym.LeakyReLU(X), (2, 3)),
    (mx.sym.LeakyReLU(X, act_type='elu', slope=0.7), (2, 3)),
    (mx.sym.LeakyReLU(X, act_type='gelu'), (2, 30)),
    (mx.sym.Activation(30 * X, act_type='softrelu'), (2, 30)),
    (mx.sym.Activation(X, act_type='softsign'), (2, 30)),
    (mx.sym.clip(X, -0.5, 1), (2, 30)),
    (3 - X / 2, (2, 3)),
    ((X * X) ** 1.5, (2, 3)),
    (mx.sym.softmax(X), (2, 3, 4)),
    (mx.sym.softmax(X, axis=1), (2, 3, 4)),
    (mx.sym.transpose(X), (2, 3, 4)),
    (mx.sym.transpose(X, (0, 2, 1)), (2, 3, 4)),
    (mx.sym.swapaxes(X, 0, 2), (2, 3, 4)),
    (mx.sym.expand_dims(X, axis=-1), (2, 3)),
    (mx.sym.broadcast_axis(X, axis=(0, 2), size=(3, 4)), (1, 2, 1)),
    (mx.sym.slice(X, begin=(None, 1), end=(None, -1)), (2, 5, 3)),
    (mx.sym.slice_axis(X, axis=1, begin=-3, end=None), (2, 5)),
    (mx.sym.space_to_depth(X, 2), (2, 3, 4, 6)),
    (mx.sym.depth_to_space(X, 2), (2, 12, 2, 3)),
    (mx.sym.im2col(X, kernel=(3, 2), stride=(1, 2), dilate=(2, 1), pad=(1, 1)), (2, 3, 6, 7)),
    (mx.sym.UpSampling(X, scale=2, sample_type='nearest'), (2, 3, 4, 5)),
    (mx.sym.contrib.AdaptiveAvgPooling2D(X, output_size=(2, 3)), (2, 3, 5, 7)),
    (mx.sym.pick(X, mx.sym.argmax(X, axis=2), axis=2, keepdims=True), (2, 3, 4)),
    (mx.sym.BlockGrad(X) * X, (2, 3)),
    (mx.sym.mean(X, axis=0), (2, 3, 4)), (mx.sym.mean(X, axis=(1, 2), keepdims=True), (2, 3, 4)),
    (mx.sym.mean(X), (2, 3, 4)),
    (mx.sym.Cast(mx.sym.Cast(X, dtype='float16'), dtype='float64'), (2, 3)),
])
def test_operators_of_one_array(symbol, shape):
    same_values(symbol, data=shape)


def test_arange_like():
    same_values(mx.sym.contrib.arange_like(X, axis=1), data=(2, 5), inference_only=True)


def test_selu_has_the_right_gradient():
    """The gradient belongs to the values, unlike MXNet's."""
    symbol = mx.sym.LeakyReLU(X, act_type='selu')
    module = to_torch(symbol, {})
    x = torch.linspace(-3, 3, 50, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(module, x)
    same_values(symbol, data=(2, 30), inference_only=True)


@pytest.mark.parametrize('settings', [
    {}, {'fix_gamma': False, 'eps': 1e-5, 'momentum': 0.7}, {'use_global_stats': True, 'fix_gamma': False},
    {'axis': 2, 'fix_gamma': False}])
@pytest.mark.parametrize('shape', [(4, 3, 3, 5), (5, 3, 3), (1, 3, 3)])
def test_batch_norm(settings, shape):
    net = gluon.SymbolBlock(mx.sym.BatchNorm(X, name='bn', **settings), X)
    net.initialize()
    x = np.random.RandomState(0).randn(*shape).astype('float32') + 3
    net(mx.nd.array(x))
    for parameter in net.collect_params().values():
        parameter.set_data(mx.nd.random.uniform(0.5, 1.5, (3,)))
    if settings.get('fix_gamma', True):
        net.collect_params()['bn_gamma'].set_data(mx.nd.ones(3))
        net.collect_params()['bn_gamma'].grad_req = 'null'
    outputs, gradients, rest, worst = differences(net, to_torch(net), x)
    assert outputs < 1e-5 and gradients < 1e-4 and rest < 1e-5, (outputs, gradients, worst, rest)


def test_batch_norm_of_one_value():
    """The variance is 0, which PyTorch's own layer refuses."""
    test_batch_norm({}, (1, 3, 1))


def test_defaults_of_the_functions_are_those_of_the_operators():
    ours = {name: function for name, function in OPERATORS.items()
            if getattr(function, '__module__', None) == batch_norm.__module__}
    for name, function in ours.items():
        defaults, parameters = DEFAULTS.get(name.split()[0], {}), inspect.signature(function).parameters
        for attribute in defaults.keys() & parameters:
            assert parameters[attribute].default == defaults[attribute], (name, attribute)
    assert len(ours) > 20


def test_dropout_drops_and_scales_only_in_training():
    module = to_torch(mx.sym.Dropout(X, p=0.25), {})
    x = torch.ones(100, 1000)
    y = module(x)
    assert sorted(y.unique().tolist()) == [0, pytest.approx(1 / 0.75)]
    assert float((y == 0).float().mean()) == pytest.approx(0.25, abs=0.01)
    assert torch.equal(module.eval()(x), x)


@pytest.mark.parametrize('symbol, named', [
    (mx.sym.arctan(X, name='angle'), 'arctan .*angle'),
    (mx.sym.LeakyReLU(X, act_type='rrelu'), 'LeakyReLU rrelu'),
    (mx.sym.Pooling(X, kernel=(2, 2), pool_type='lp', p_value=2), 'Pooling lp'),
    (mx.sym.Pooling(X, kernel=(2, 2), pooling_convention='same'), 'pooling_convention=same'),
    (mx.sym.softmax(X, temperature=2), 'softmax .*temperature=2'),
    (mx.sym.Dropout(X, mode='always'), 'Dropout .*mode=always'),
    (mx.sym.reshape(X, (-1, 0), reverse=True), 'reverse=True'),
    (mx.sym.Convolution(X, Y, kernel=(1, 1), num_filter=2, no_bias=True, layout='NHWC'), 'layout=NHWC'),
])
def test_unsupported_operator_is_named(symbol, named):
    params = {name: np.ones((2, 2, 1, 1), 'float32') for name in symbol.list_arguments() if name != 'data'}
    with pytest.raises(OpenatacError, match=named):
        to_torch(symbol, params)
