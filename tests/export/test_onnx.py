"""Every network of the zoo agrees in ONNX Runtime with MXNet."""
import re
import sys

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon

from openatac.errors import OpenatacError
from openatac.export.onnx.files import IR_VERSION, OPSET, write_model
from openatac.export.onnx.gluon_export import to_onnx
from openatac.export.runtimes.base import RUNTIMES
from openatac.models.cifar_resnet import ResNet20V2ATAC
from openatac.models.networks_by_name import get_model
from openatac.nn.group_norm import GroupNorm
from openatac.trained.manifest import Manifest
from openatac.version import __version__
from openatac.zoo.names import get_model_list
from tests.helpers.exports.exporting import write_symbol
from tests.helpers.exports.onnx_files import difference, run_onnx, write_onnx
from tests.helpers.images.random_images import random_images
from tests.helpers.networks.imagenet_hosts import in_resnets_place, shallow_host

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


def train_two_steps(net, image_shape, rate=0.02):
    """Train a network for two steps, so that its scales leave their initial values; return it."""
    mx.random.seed(1)
    np.random.seed(1)
    net.initialize(mx.init.MSRAPrelu())
    trainer = gluon.Trainer(net.collect_params(), 'sgd', {'learning_rate': rate})
    for step in range(2):
        with autograd.record():
            outputs = net(random_images(8, *image_shape, seed=step))
            loss = gluon.loss.SoftmaxCrossEntropyLoss()(outputs, mx.nd.arange(8))
        loss.backward()
        trainer.step(8)
    for name, parameter in net.collect_params().items():
        if name.endswith('gamma'):
            parameter.set_data(parameter.data() * mx.nd.random.uniform(0.7, 1.3, shape=parameter.shape))
    mx.nd.waitall()
    return net


def shape_of(value):
    return [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]


@pytest.mark.kernels
@pytest.mark.parametrize('name', SMALLEST)
def test_network_computes_the_same_in_onnx_and_mxnet(name, tmp_path):
    net, image_shape = small(name)
    train_two_steps(net, image_shape)
    path = str(tmp_path / 'net.onnx')
    write_onnx(net, path, image_shape)
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
    net(random_images(1, *image_shape))
    for parameter in net.collect_params('.*gamma').values():
        parameter.set_data(0.3 * parameter.data())
    net.apply(soften_attention)
    with autograd.record():
        outputs = net(random_images(3, *image_shape, seed=3))
    outputs.backward()  # MXNet 1.9.1 updates the statistics here, with momentum 0.9 from 0 and 1
    for name, statistic in net.collect_params('.*running_').items():
        initial = float(name.endswith('running_var'))
        statistic.set_data(mx.nd.maximum(10 * (statistic.data() - 0.9 * initial), 0 if initial else -np.inf))
    mx.nd.waitall()
    path = str(tmp_path / 'net.onnx')
    write_onnx(net, path, image_shape)
    x = random_images(3, *image_shape, seed=3)
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
    net(random_images(1, *image_shape))
    path = tmp_path / 'net.onnx'
    write_onnx(net, str(path), image_shape, name=name, metadata={'model': name, 'mean': [0.5, 1, 2]})
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
    net(random_images(1, *image_shape))
    write_onnx(net, str(tmp_path / 'net.onnx'), image_shape)
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
    net(random_images(1, *image_shape))
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
    net(random_images(1, *image_shape))
    write_onnx(net, str(tmp_path / 'net.onnx'), image_shape)
    assert difference(net, str(tmp_path / 'net.onnx'), image_shape, (1, 3)) < 1e-4


def test_symbol_files_and_float16_parameters_are_converted(tmp_path):
    """Parameters may be named as in MXNet's files; float16 becomes float32."""
    net, image_shape = small('cifar_resnet8_v2_atac')
    train_two_steps(net, image_shape)
    prefix = str(tmp_path / 'net')
    write_symbol(net, prefix)
    arrays = {name: array.astype('float16') for name, array in mx.nd.load(prefix + '-0000.params').items()}
    assert all(name.startswith(('arg:', 'aux:')) for name in arrays)
    write_onnx((mx.sym.load(prefix + '-symbol.json'), arrays), prefix + '.onnx', image_shape)
    for parameter in net.collect_params().values():
        parameter.set_data(parameter.data().astype('float16').astype('float32'))
    assert difference(net, prefix + '.onnx', image_shape, (3,)) < 1e-5


# -------------------------------------------------------------------------------------------- errors

def test_failed_write_leaves_no_file(tmp_path):
    model = to_onnx(S.var('data') + 1, {}, CIFAR)
    (tmp_path / 'folder').mkdir()
    with pytest.raises(OpenatacError, match=str(tmp_path / 'folder')):
        write_model(model, str(tmp_path / 'folder'))
    with pytest.raises(OpenatacError, match='none/net.onnx'):
        write_model(model, str(tmp_path / 'none' / 'net.onnx'))
    assert [path.name for path in tmp_path.rglob('*')] == ['folder']


def test_wrong_images_and_files_are_named(tmp_path):
    manifest = Manifest('small', 10, CIFAR, (0,) * 3, (1,) * 3)
    net, _ = small('cifar_resnet8_v2_atac')
    net.initialize()
    net(random_images(1, *CIFAR))
    path = tmp_path / 'net.onnx'
    write_onnx(net, path, CIFAR)
    run = RUNTIMES.find('onnxruntime')
    with pytest.raises(OpenatacError, match=r'\(3, 32, 32\).*\(3, 32, 31\)'):
        run(str(tmp_path / 'net'), manifest)(np.zeros((2, 3, 32, 31), np.float32))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(OpenatacError, match='net.onnx'):
        run(str(tmp_path / 'net'), manifest)
    with pytest.raises(OpenatacError, match='other.onnx'):
        run(str(tmp_path / 'other'), manifest)


def test_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnx', None)
    with pytest.raises(OpenatacError, match=r"onnx .*pip install 'openatac\[onnx\]'"):
        to_onnx(S.var('data') + 1, {}, CIFAR)
