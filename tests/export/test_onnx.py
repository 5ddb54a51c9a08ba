"""Every network of the zoo and every operator agrees in ONNX Runtime with MXNet."""
import re
import sys

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon

from openatac.errors import OpenatacError
from openatac.export.forms.symbol_files import trace
from openatac.export.manifest import Manifest
from openatac.export.onnx.model import IR_VERSION, OPSET, to_onnx, write_model
from openatac.export.runtimes.base import RUNTIMES
from openatac.models.cifar_resnet import ResNet20V2ATAC
from openatac.models.networks_by_name import get_model
from openatac.nn.gather_excite import GatherExcite
from openatac.nn.group_norm import GroupNorm
from openatac.version import __version__
from openatac.zoo.names import get_model_list
from openatac.zoo.unit_arguments import GATHER_EXCITE_VARIANTS
from tests.helpers.networks.exporting import write_symbol
from tests.helpers.networks.imagenet_hosts import in_resnets_place, shallow_host
from tests.helpers.networks.run_onnx import run_onnx

onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')

SMALLEST = [name for name in get_model_list() if re.match(  # every unit in one host, and some in the others
    'cifar_resnet8_|(cifar_resnet18_v1|resnet50_v1b)_(atac|se|aa|fa)$', name)]
CIFAR, IMAGENET = (3, 32, 32), (3, 32, 48)
S = mx.sym


def small(name):
    """Return the network ``name`` with one block per stage, and few channels if the zoo has no small one."""
    if name.startswith('resnet50'):
        with in_resnets_place(shallow_host()):
            return get_model(name, classes=10), IMAGENET
    if name.startswith('cifar_resnet18'):
        return get_model(name, layers=(1,) * 4, channels=(16, 16, 32, 64)), CIFAR
    return get_model(name), CIFAR


def trained(net, image_shape, rate=0.02):
    """Train ``net`` for two steps, so that its scales leave their initial values; return it."""
    mx.random.seed(1)
    np.random.seed(1)
    net.initialize(mx.init.MSRAPrelu())
    trainer = gluon.Trainer(net.collect_params(), 'sgd', {'learning_rate': rate})
    for step in range(2):
        with autograd.record():
            loss = gluon.loss.SoftmaxCrossEntropyLoss()(net(images(8, image_shape, step)), mx.nd.arange(8))
        loss.backward()
        trainer.step(8)
    for name, parameter in net.collect_params().items():
        if name.endswith('gamma'):
            parameter.set_data(parameter.data() * mx.nd.random.uniform(0.7, 1.3, shape=parameter.shape))
    mx.nd.waitall()
    return net


def write(net, path, image_shape, **described):
    """Write an initialised network or (symbol, arrays) as the ONNX file ``path``."""
    symbol, arrays = net if isinstance(net, tuple) else trace(net)
    write_model(to_onnx(symbol, arrays, image_shape, **described), str(path))


def images(count, image_shape, seed=0):
    return mx.nd.array(np.random.RandomState(seed).randn(count, *image_shape))


def difference(net, path, image_shape, batches):
    """Return the largest difference between the network's outputs and the file's."""
    found = []
    for batch in batches:
        x = images(batch, image_shape, batch)
        expected = net(x).asnumpy()
        output = run_onnx(path, x.asnumpy())
        assert output.shape == expected.shape and np.isfinite(expected).all() and np.ptp(expected) > 0
        found.append(np.abs(output - expected).max())
    return max(found)


def shape_of(value):
    return [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]


@pytest.mark.kernels
@pytest.mark.parametrize('name', SMALLEST)
def test_network_computes_the_same_in_onnx_and_mxnet(name, tmp_path):
    net, image_shape = small(name)
    trained(net, image_shape)
    path = str(tmp_path / 'net.onnx')
    write(net, path, image_shape)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    assert difference(net, path, image_shape, (1, 7, 64) if image_shape == CIFAR else (1, 7)) < 1e-4


def soften_attention(block):
    """Scale a block's queries down: a saturated softmax amplifies rounding without bound."""
    for name in 'query', 'project':
        if hasattr(block, name):
            weight = getattr(block, name).weight
            weight.set_data(0.03 * weight.data())


@pytest.mark.slow
@pytest.mark.parametrize('name', get_model_list())
def test_full_size_network_computes_the_same_in_onnx_and_mxnet(name, tmp_path):
    """Use the images of the running statistics, and small branches and attention logits, as after training.

    Deep networks of random weights amplify rounding. If necessary, compare with float64: the file must be
    about as close to MXNet's outputs in float64 as those in float32 are.
    """
    net, image_shape = get_model(name), (3, 224, 224) if name.startswith('resnet50') else CIFAR
    mx.random.seed(1)
    net.initialize(mx.init.MSRAPrelu())
    net(images(1, image_shape))
    for parameter in net.collect_params('.*gamma').values():
        parameter.set_data(0.3 * parameter.data())
    net.apply(soften_attention)
    with autograd.record():
        outputs = net(images(3, image_shape, 3))
    outputs.backward()  # MXNet 1.9.1 updates the statistics here, with momentum 0.9 from 0 and 1
    for name, statistic in net.collect_params('.*running_').items():
        initial = float(name.endswith('running_var'))
        statistic.set_data(mx.nd.maximum(10 * (statistic.data() - 0.9 * initial), 0 if initial else -np.inf))
    mx.nd.waitall()
    path = str(tmp_path / 'net.onnx')
    write(net, path, image_shape)
    x = images(3, image_shape, 3)
    found, expected = run_onnx(path, x.asnumpy()), net(x).asnumpy()
    net.cast('float64')
    exact = net(x.astype('float64')).asnumpy()
    rounding = np.abs(expected - exact).max()
    assert np.abs(found - expected).max() < 1e-4 or np.abs(found - exact).max() < 3 * rounding


@pytest.mark.parametrize('name', ['cifar_resnet8_v2_atac', 'cifar_resnet8_v2_cbam', 'cifar_resnet8_v2_ge',
                                  'resnet50_v1b_aa'])
def test_file_suits_older_runtimes_and_describes_itself(name, tmp_path):
    """The file is small, has weights only as initializers, and describes itself; older runtimes accept it."""
    net, image_shape = small(name)
    net.initialize()
    net(images(1, image_shape))
    path = tmp_path / 'net.onnx'
    write(net, str(path), image_shape, name=name, metadata={'model': name, 'mean': [0.5, 1, 2]})
    model = onnx.load(str(path))
    assert model.ir_version == IR_VERSION == 8
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [('', OPSET)] == [('', 17)]
    assert (model.producer_name, model.producer_version) == ('openatac', __version__)
    assert name in model.doc_string and model.graph.name == name
    assert {entry.key: entry.value for entry in model.metadata_props} == {
        'model': name, 'mean': '[0.5, 1, 2]'}
    assert [(value.name, shape_of(value)) for value in model.graph.input] == [('data', ['N', *image_shape])]
    assert [(value.name, shape_of(value)) for value in model.graph.output] == [('output', ['N', 10])]
    known = {value.name for value in model.graph.value_info if all(shape_of(value))} | {'output'}
    assert known == {tensor for node in model.graph.node for tensor in node.output}
    used = {tensor for node in model.graph.node for tensor in node.input}
    assert {tensor.name for tensor in model.graph.initializer} <= used
    weights = 4 * sum(np.prod(parameter.shape) for parameter in net.collect_params().values())
    assert path.stat().st_size < weights + 800 * len(model.graph.node)


@pytest.mark.parametrize('name, left', [('cifar_resnet18_v1_atac', 0), ('resnet50_v1b_atac', 0),
                                        ('cifar_resnet18_v1_frelu', 0), ('cifar_resnet8_v2_atac', 5)])
def test_batch_norms_fold_into_the_convolutions_before_them(name, left, tmp_path):
    """In pre-activation networks some remain: one in each block, the first and the last."""
    net, image_shape = small(name)
    net.initialize()
    net(images(1, image_shape))
    write(net, str(tmp_path / 'net.onnx'), image_shape)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / 'optimized.onnx')
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    onnxruntime.InferenceSession(str(tmp_path / 'net.onnx'), options, ['CPUExecutionProvider'])
    kinds = [node.op_type for node in onnx.load(str(tmp_path / 'optimized.onnx')).graph.node]
    assert kinds.count('BatchNormalization') == left


@pytest.mark.parametrize('unit', ['se', 'ge', 'eca', 'cbam'])
def test_gates_are_broadcast_and_not_repeated_for_every_pixel(unit):
    """The file has no products with ones, and computes maxima directly."""
    net, image_shape = small('cifar_resnet8_v2_' + unit)
    net.initialize()
    net(images(1, image_shape))
    arrays = {name: parameter.data() for name, parameter in net.collect_params().items()}
    model = to_onnx(net(S.var('data')), arrays, image_shape)
    kinds = {node.op_type for node in model.graph.node}
    assert kinds.isdisjoint(['MatMul', 'Expand', 'Shape', 'ArgMax', 'GatherElements'])
    assert max(np.prod(shape_of(value)[1:]) for value in model.graph.value_info) == 16 * 32 * 32


NETWORKS = {
    'group norm': (lambda: shallow_host().gluon(act_type='relu', classes=10, norm_layer=GroupNorm,
                                                norm_kwargs={'num_groups': 8}), IMAGENET),
    'global gates and dropout': (lambda: ResNet20V2ATAC([1] * 3, useGlobal=True, drop_rate=0.3), CIFAR),
    'avg_down, dilated': (lambda: shallow_host().gluon(act_type='relu', classes=10, avg_down=True,
                                                       dilated=True, deep_stem=True), (3, 53, 61)),
    'MobileNet v2': (lambda: gluon.model_zoo.vision.mobilenet_v2_0_25(classes=10), (3, 96, 96)),
    'SqueezeNet': (lambda: gluon.model_zoo.vision.squeezenet1_1(classes=10), (3, 224, 224)),
}


@pytest.mark.kernels
@pytest.mark.parametrize('name', list(NETWORKS))
def test_other_network_architectures_compute_the_same(name, tmp_path):
    build, image_shape = NETWORKS[name]
    net = build()
    net.initialize(mx.init.MSRAPrelu())
    net(images(1, image_shape))
    write(net, str(tmp_path / 'net.onnx'), image_shape)
    assert difference(net, str(tmp_path / 'net.onnx'), image_shape, (1, 3)) < 1e-4


# ------------------------------------------------------------------------------------ single operators

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
    net(images(2, image_shape))
    for key, parameter in net.collect_params().items():
        if key.endswith(('var', 'gamma', 'mean')):
            parameter.set_data(mx.nd.random.uniform(0.5, 2, shape=parameter.shape))
    write(net, str(tmp_path / 'net.onnx'), image_shape)
    assert difference(net, str(tmp_path / 'net.onnx'), image_shape, (1, 7)) < 2e-5


def test_gather_excite_with_a_neighbourhood_computes_the_same(tmp_path):
    for variant in GATHER_EXCITE_VARIANTS:
        unit = GatherExcite(16, extent=4, variant=variant)
        unit.initialize(mx.init.Normal(0.5))
        unit(images(1, (16, 10, 9)))
        write(unit, str(tmp_path / 'net.onnx'), (16, 10, 9))
        assert difference(unit, str(tmp_path / 'net.onnx'), (16, 10, 9), (1, 3)) < 1e-5


def test_constants_are_folded(tmp_path):
    x, w = S.var('data'), S.var('w', shape=(2, 3))
    first = S.contrib.arange_like(S.slice(S.square(x), begin=(0, 1), end=(1, 2)), axis=0)
    row = S.take(S.dot(w, w, transpose_b=True), first)
    model = to_onnx(S.broadcast_add(x, row), {'w': np.ones((2, 3))}, (2,))
    assert [node.op_type for node in model.graph.node] == ['Add']
    assert onnx.numpy_helper.to_array(model.graph.initializer[0]).tolist() == [[3, 3]]


def test_symbol_files_and_float16_parameters_are_converted(tmp_path):
    """Parameters may be named as in MXNet's files; float16 becomes float32."""
    net, image_shape = small('cifar_resnet8_v2_atac')
    trained(net, image_shape)
    prefix = str(tmp_path / 'net')
    write_symbol(net, prefix)
    arrays = {name: array.astype('float16') for name, array in mx.nd.load(prefix + '-0000.params').items()}
    assert all(name.startswith(('arg:', 'aux:')) for name in arrays)
    write((mx.sym.load(prefix + '-symbol.json'), arrays), prefix + '.onnx', image_shape)
    for parameter in net.collect_params().values():
        parameter.set_data(parameter.data().astype('float16').astype('float32'))
    assert difference(net, prefix + '.onnx', image_shape, (3,)) < 1e-5


# -------------------------------------------------------------------------------------------- errors

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


def test_failed_write_leaves_no_file(tmp_path):
    model = to_onnx(S.var('data') + 1, {}, PLANES)
    (tmp_path / 'folder').mkdir()
    with pytest.raises(OpenatacError, match='folder'):
        write_model(model, str(tmp_path / 'folder'))
    with pytest.raises(OpenatacError, match='none/net.onnx'):
        write_model(model, str(tmp_path / 'none' / 'net.onnx'))
    assert [path.name for path in tmp_path.rglob('*')] == ['folder']


def test_wrong_images_and_files_are_named(tmp_path):
    manifest = Manifest('small', 10, CIFAR, (0,) * 3, (1,) * 3)
    net, _ = small('cifar_resnet8_v2_atac')
    net.initialize()
    net(images(1, CIFAR))
    path = tmp_path / 'net.onnx'
    write(net, path, CIFAR)
    run = RUNTIMES.find('onnxruntime')
    with pytest.raises(OpenatacError, match=r'\(3, 32, 32\).*\(3, 32, 31\)'):
        run(str(tmp_path / 'net'), manifest)(np.zeros((2, 3, 32, 31), np.float32))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(OpenatacError, match='net'):
        run(str(tmp_path / 'net'), manifest)
    with pytest.raises(OpenatacError, match='other'):
        run(str(tmp_path / 'other'), manifest)


def test_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnx', None)
    with pytest.raises(OpenatacError, match=r"onnx .*pip install 'openatac\[onnx\]'"):
        to_onnx(S.var('data') + 1, {}, VECTOR)
