"""Every operator agrees in ONNX Runtime with MXNet."""
import mxnet as mx
import numpy as np
import pytest
from mxnet import gluon

from openatac.errors import OpenatacError
from openatac.export.onnx.gluon_export import to_onnx
from openatac.nn.gather_excite import GatherExcite
from openatac.zoo.unit_arguments import GATHER_EXCITE_VARIANTS
from tests.helpers.exports.onnx_files import difference, write_onnx
from tests.helpers.images.random_images import random_images

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

S = mx.sym
PLANES, VECTOR = (6, 9, 8), (12,)
OPERATORS = {
    'reshape 0 -1': lambda x: S.reshape(x, (0, -1, 2)),
    'reshape -2': lambda x: S.reshape(x, (-1, 3, -2)),
    'reshape -3': lambda x: S.reshape(x, (-3, -3)),
    'reshape -4': lambda x: S.reshape(x, (0, -4, 2, -1, -2)),
    'reshape, more rows': lambda x: S.reshape(S.tanh(S.reshape(x, (-1, 3, 0, 0))), (-1, 6, 0, 0)),
    'reshape in a row': lambda x: S.tanh(S.reshape(S.reshape(x, (-3, 0, 0)), (-1, 6, 72))),
    'reshape_like': lambda x: S.reshape_like(S.tanh(S.flatten(x)), x),
    'reshape_like in part': lambda x: S.reshape_like(
        S.tanh(S.flatten(x)), x, lhs_begin=1, lhs_end=2, rhs_begin=1, rhs_end=4),
    'squeeze and expand_dims': lambda x: S.squeeze(S.tanh(S.expand_dims(x, axis=2)), axis=2),
    'there and back again': lambda x: S.squeeze(S.expand_dims(x, axis=2), axis=2),
    'transposes': lambda x: S.transpose(S.swapaxes(x, 0, 2), axes=(1, 3, 0, 2)),
    'transpose of all axes': lambda x: S.transpose(S.reshape(x, (0, -1))),
    'slice': lambda x: S.slice(x, begin=(None, 1, None, -2), end=(None, None, -3, None)),
    'slice with steps': lambda x: S.slice(x, begin=(None, None, 7), end=(None, None, 1), step=(1, 2, -3)),
    'slice backwards': lambda x: S.slice(x, begin=(None, None), end=(None, None), step=(None, -1)),
    'slice_axis': lambda x: S.slice_axis(x, axis=-1, begin=-5, end=-1),
    'slice_axis of the batch': lambda x: S.broadcast_sub(x * x, S.slice_axis(x, axis=0, begin=0, end=1)),
    'slice_like': lambda x: S.slice_like(x, S.slice_axis(x, axis=2, begin=0, end=4), axes=(1, -2)),
    'concat': lambda x: S.concat(x, S.ones_like(x), S.zeros_like(x), dim=2),
    'upsampling': lambda x: S.UpSampling(x, scale=3, sample_type='nearest'),
    'bilinear up': lambda x: S.contrib.BilinearResize2D(x, height=23, width=17),
    'bilinear down': lambda x: S.contrib.BilinearResize2D(x, height=5, width=3),
    'bilinear like': lambda x: S.contrib.BilinearResize2D(
        S.slice_axis(x, axis=2, begin=0, end=4), x, mode='like'),
    'bilinear by half pixels': lambda x: S.contrib.BilinearResize2D(
        x, height=18, width=13, align_corners=False),
    'depth to space': lambda x: S.depth_to_space(S.concat(x, x * x, dim=1), 2),
    'space to depth': lambda x: S.space_to_depth(S.slice_axis(x, axis=2, begin=1, end=None), 2),
    'im2col': lambda x: S.im2col(x, kernel=(3, 2), stride=(2, 1), dilate=(1, 2), pad=(1, 2)),
    'convolution': lambda x: S.Convolution(
        x, num_filter=4, kernel=(3, 2), stride=(2, 1), pad=(1, 0), dilate=(1, 2), num_group=2),
    'convolution in 1-D': lambda x: S.Convolution(
        S.reshape(x, (0, 0, -1)), num_filter=4, kernel=(5,), pad=(2,), no_bias=True),
    'dense': lambda x: S.FullyConnected(x, num_hidden=5),
    'dense on the last axis': lambda x: S.FullyConnected(x, num_hidden=5, flatten=False),
    'dense, vectors': lambda x: S.FullyConnected(x, num_hidden=5, no_bias=True),
    'batch norm': lambda x: S.BatchNorm(x, fix_gamma=False, eps=0.1),
    'batch norm as by default': lambda x: S.BatchNorm(x * 0.01),  # eps is 1e-3, and gamma is 1
    'batch norm, vectors': lambda x: S.BatchNorm(x, fix_gamma=False),
    'group norm': lambda x: S.GroupNorm(x, num_groups=3, eps=0.1),
    'max pooling': lambda x: S.Pooling(x, kernel=(3, 3), stride=(2, 2), pad=(1, 1)),
    'max pooling, full': lambda x: S.Pooling(x, kernel=(3, 2), stride=(2, 3), pooling_convention='full'),
    'average pooling': lambda x: S.Pooling(x, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type='avg'),
    'average pooling, full': lambda x: S.Pooling(x, kernel=(2, 3), stride=(2, 2), pool_type='avg',
                                                 pooling_convention='full'),
    'average pooling, full, with pads': lambda x: S.Pooling(
        x, kernel=(4, 3), stride=(3, 2), pad=(1, 1), pool_type='avg', pooling_convention='full'),
    'average pooling, full, without pads': lambda x: S.Pooling(
        x, kernel=(4, 3), stride=(3, 2), pad=(1, 1), pool_type='avg', pooling_convention='full',
        count_include_pad=False),
    'sum pooling': lambda x: S.Pooling(x, global_pool=True, pool_type='sum'),
    'mean': lambda x: S.mean(x, axis=(1, -1)),
    'mean, one axis': lambda x: S.mean(x, axis=3, keepdims=True),
    'global pooling': lambda x: S.Pooling(x, global_pool=True, kernel=(1, 1), pool_type='max'),
    'adaptive pooling': lambda x: S.contrib.AdaptiveAvgPooling2D(x, output_size=(3, 2)),
    'dot': lambda x: S.dot(x, S.var('w', shape=(8, 3, 2))),
    'dot, transposed': lambda x: S.dot(S.transpose(x, axes=(2, 1, 3, 0)), S.var('w', shape=(3, 2, 9)),
                                       transpose_a=True, transpose_b=True),
    'dot of matrices, vectors': lambda x: S.dot(x, S.var('w', shape=(7, 12)), transpose_b=True),
    'dot of a parameter, vectors': lambda x: S.dot(S.var('w', shape=(5, 12)), S.transpose(x)),
    'batch_dot': lambda x: S.batch_dot(S.reshape(x, (0, 8, -1)), S.reshape(x, (0, -1, 8)), transpose_a=True,
                                       transpose_b=True),
    'sum by ones': lambda x: S.dot(S.reshape(x, (0, 0, -1)), S.ones_like(S.reshape(
        S.slice(x, begin=(0, 0), end=(1, 1)), (-1, 1)))),
    'batched sum by ones': lambda x: S.batch_dot(
        S.ones_like(S.reshape(S.slice_axis(x, axis=3, begin=0, end=1), (0, -1, 1))),
        S.reshape(x, (0, 8, 54)), transpose_a=True, transpose_b=True),
    'repeated by ones': lambda x: x * S.reshape_like(S.batch_dot(
        S.ones_like(S.reshape(S.slice_axis(x, axis=1, begin=0, end=1), (0, 1, -1))),
        S.slice_axis(S.reshape(x, (0, 1, -1)), axis=2, begin=0, end=6), transpose_a=True),
        S.transpose(x, axes=(0, 2, 3, 1))).reshape((0, 6, 9, 8)),
    'max by pick': lambda x: S.pick(x, S.argmax(x, axis=2), axis=2),
    'argmax': lambda x: S.argmax(x, axis=-1, keepdims=True),
    'pick': lambda x: S.pick(x, 5 * S.slice_axis(x, axis=1, begin=0, end=1), axis=1, keepdims=True),
    'pick, wrapped': lambda x: S.pick(x, S.argmax(S.square(x), axis=3) - 11, axis=3, mode='wrap'),
    'softmax': lambda x: S.softmax(3 * x, axis=1),
    'scalars': lambda x: (2 - S.clip(x, 0.1, 1)) / 3 - 1 / (4 + S.abs(x)) + 2 ** x - S.maximum(x, 0.5) ** 2,
    'pairs': lambda x: S.broadcast_div(S.maximum(x, -x), 1 + S.square(S.var('w', shape=(1, 6, 1, 1)))) - x,
    'relu after dropout': lambda x: S.relu(S.Dropout(S.identity(x), p=0.5)),
    'prelu': lambda x: S.LeakyReLU(x, S.var('w', shape=(6,)), act_type='prelu'),
    **{kind: lambda x, kind=kind: S.LeakyReLU(3 * x, act_type=kind)
       for kind in ('leaky', 'elu', 'selu', 'gelu')},
    **{kind: lambda x, kind=kind: S.Activation(30 * x, act_type=kind)
       for kind in ('relu', 'sigmoid', 'tanh', 'softrelu', 'softsign')},
}


@pytest.mark.kernels
@pytest.mark.filterwarnings('ignore:Cannot decide type')  # the input's type: float32
@pytest.mark.parametrize('name', list(OPERATORS))
def test_operator_computes_the_same_in_onnx_and_mxnet(name, tmp_path):
    image_shape, data = VECTOR if name.endswith('vectors') else PLANES, S.var('data')
    mx.random.seed(1)
    net = gluon.SymbolBlock(OPERATORS[name](data), data)
    net.initialize(mx.init.Normal(0.5))
    net(random_images(2, *image_shape))
    for key, parameter in net.collect_params().items():
        if key.endswith(('var', 'gamma', 'mean')):
            parameter.set_data(mx.nd.random.uniform(0.5, 2, shape=parameter.shape))
    write_onnx(net, str(tmp_path / 'net.onnx'), image_shape)
    assert difference(net, str(tmp_path / 'net.onnx'), image_shape, (1, 7)) < 2e-5


def test_gather_excite_with_a_neighbourhood_computes_the_same(tmp_path):
    for variant in GATHER_EXCITE_VARIANTS:
        unit = GatherExcite(16, extent=4, variant=variant)
        unit.initialize(mx.init.Normal(0.5))
        unit(random_images(1, 16, 10, 9))
        write_onnx(unit, str(tmp_path / 'net.onnx'), (16, 10, 9))
        assert difference(unit, str(tmp_path / 'net.onnx'), (16, 10, 9), (1, 3)) < 1e-5


def test_constants_are_folded(tmp_path):
    x, w = S.var('data'), S.var('w', shape=(2, 3))
    first = S.contrib.arange_like(S.slice(S.square(x), begin=(0, 1), end=(1, 2)), axis=0)
    row = S.take(S.dot(w, w, transpose_b=True), first)
    model = to_onnx(S.broadcast_add(x, row), {'w': np.ones((2, 3))}, (2,))
    assert [node.op_type for node in model.graph.node] == ['Add']
    assert onnx.numpy_helper.to_array(model.graph.initializer[0]).tolist() == [[3, 3]]


@pytest.mark.parametrize('build, named', [
    (lambda x: S.arccosh(x, name='far'), 'arccosh .*far'),
    (lambda x: S.softmax(x, temperature=2.0, name='hot'), r'temperature=2\.0 .*softmax .*hot'),
    (lambda x: S.Pooling(x, kernel=(2, 2), pool_type='sum'), 'pool_type=sum'),
    (lambda x: S.contrib.AdaptiveAvgPooling2D(x, output_size=5), 'AdaptiveAvgPooling2D'),
    (lambda x: S.split(x, num_outputs=2, axis=1)[0], 'SliceChannel'),
    (lambda x: S.Group([x, x + 1]), r'\b2\b'),
    (lambda x: S.LeakyReLU(x, act_type='rrelu')[0], 'act_type=rrelu .*LeakyReLU'),
    (lambda x: S.var('image') + 1, 'data.*image'),
    (lambda x: x + S.var('unknown', shape=(1,)), 'unknown'),
    (lambda x: S.broadcast_add(x, S.var('w', shape=(6, 2, 1))), 'broadcast_add'),
    (lambda x: S.slice_axis(x, axis=0, begin=1, end=None), r'\b1\b'),
])
def test_unsupported_operator_is_named(build, named):
    with pytest.raises(OpenatacError, match=named) as error:
        to_onnx(build(S.var('data')), {'w': np.ones((6, 2, 1))}, PLANES)
    assert '\n' not in str(error.value)


def test_parameter_of_another_shape_is_named():
    bn = S.BatchNorm(S.var('data'), name='bn')
    arrays = {'bn_' + name: np.ones(6) for name in ('gamma', 'beta', 'moving_mean', 'moving_var')}
    to_onnx(bn, arrays, PLANES)
    with pytest.raises(OpenatacError, match='bn_moving_var'):
        to_onnx(bn, dict(arrays, bn_moving_var=np.ones(5)), PLANES)
