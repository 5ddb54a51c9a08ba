"""INT8 networks in ONNX compute nearly the same as float32, and quantizing leaves no files."""
import logging
import sys
import tempfile

import mxnet as mx
import numpy as np
import pytest

from openatac.errors import OpenatacError
from openatac.export.int8.onnx_quantization import quantize_onnx
from openatac.export.onnx.files import write_model
from openatac.export.onnx.gluon_export import to_onnx
from openatac.models.networks_by_name import get_model
from tests.helpers.exports.onnx_files import run_onnx
from tests.helpers.networks.digits_network import KNOWS, digits

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')


@pytest.fixture(scope='module')
def model(digits_network):
    return to_onnx(digits_network.symbol, digits_network.params, (3, 8, 8), 'atac', {'labels': ['0', '1']})


@pytest.fixture(scope='module')
def quantized(model, digits_network):
    return quantize_onnx(model, [digits_network.images])


def run(model, images, folder):
    write_model(model, str(folder / 'net.onnx'))
    return run_onnx(str(folder / 'net.onnx'), images)


def kinds(model):
    return [node.op_type for node in model.graph.node]


@pytest.mark.kernels
def test_int8_network_is_as_accurate_as_the_float32_one(model, quantized, tmp_path):
    images, labels = digits(train=False)
    expected, found = run(model, images, tmp_path), run(quantized, images, tmp_path)
    assert (expected.argmax(1) == labels).mean() > KNOWS and (found.argmax(1) == labels).mean() > KNOWS
    assert (found.argmax(1) == expected.argmax(1)).mean() > KNOWS
    # Some 50 tensors in sequence, each rounded to 1/128 of a range that spans a few standard deviations.
    assert np.sqrt(((found - expected) ** 2).mean()) < np.sqrt(50) / 128 * 4 * expected.std()


def test_weights_are_per_channel_and_of_seven_bits(model, quantized):
    assert 'BatchNormalization' not in kinds(quantized)
    weights = {node.input[0]: node for node in quantized.graph.node if node.op_type == 'DequantizeLinear'}
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in quantized.graph.initializer}
    in_int8 = [tensors[name] for name in weights if name in tensors and tensors[name].ndim == 4]
    assert len(in_int8) == kinds(quantized).count('Conv') == 28
    assert all(weight.dtype == np.int8 and np.abs(weight.astype(int)).max() <= 64 for weight in in_int8)
    assert quantized.metadata_props == model.metadata_props and quantized.producer_name == 'openatac'


def test_vectors_of_whole_images_stay_in_float32():
    """What follows a global average pool: channel attention, and the classifier."""
    net = get_model('cifar_resnet8_v2_atac_global')
    net.initialize(mx.init.MSRAPrelu())
    images = np.random.RandomState(0).randn(4, 3, 32, 32).astype('float32')
    net(mx.nd.array(images))
    arrays = {key: parameter.data() for key, parameter in net.collect_params().items()}
    quantized = quantize_onnx(to_onnx(net(mx.sym.var('data')), arrays, (3, 32, 32)), [images])
    vectors, following = set(), []
    for node in quantized.graph.node:
        if node.op_type == 'GlobalAveragePool':
            vectors.update(node.output)
        elif node.input[0] in vectors and node.op_type != 'QuantizeLinear':  # for the product with the image
            vectors.update(node.output)
            following.append(node)
    assert {'Conv', 'Sigmoid', 'Gemm'} <= {node.op_type for node in following}
    dequantized = {node.output[0] for node in quantized.graph.node if node.op_type == 'DequantizeLinear'}
    assert not dequantized & {tensor for node in following for tensor in node.input}
    assert not vectors & dequantized


@pytest.mark.kernels
@pytest.mark.parametrize('name', ['cifar_resnet8_v2_atac', 'cifar_resnet8_v2_se', 'cifar_resnet18_v1_atac'])
def test_batch_norms_become_convolutions_that_compute_the_same(name, tmp_path):
    mx.random.seed(1)
    net = get_model(name, **({'layers': (1,) * 4} if '18' in name else {}))
    net.initialize(mx.init.MSRAPrelu())
    images = np.random.RandomState(0).randn(4, 3, 32, 32).astype('float32')
    net(mx.nd.array(images))
    for parameter in net.collect_params('.*(gamma|beta|mean|var)').values():
        parameter.set_data(mx.nd.random.uniform(0.5, 1.5, shape=parameter.shape))
    arrays = {key: parameter.data() for key, parameter in net.collect_params().items()}
    model = to_onnx(net(mx.sym.var('data')), arrays, (3, 32, 32))
    quantized = quantize_onnx(model, [images])
    assert 'BatchNormalization' in kinds(model) and 'BatchNormalization' not in kinds(quantized)
    found, expected = run(quantized, images, tmp_path), run(model, images, tmp_path)
    assert np.sqrt(((found - expected) ** 2).mean()) < 0.1 * expected.std()  # of INT8's rounding: 0.03


@pytest.mark.kernels
def test_switched_off_channel_is_quantized(digits_network, model, tmp_path):
    """The weights are tiny but the bias is not: in units of the weights' scale it exceeds 32 bits."""
    params = dict(digits_network.params)
    gamma, beta = (next(key for key in params if key.endswith('stage1_batchnorm0_' + name))
                   for name in ('gamma', 'beta'))
    for key, value in ((gamma, 1e-12), (beta, 3.0)):
        array = params[key].asnumpy()
        array[:4] = value
        params[key] = mx.nd.array(array)
    model = to_onnx(digits_network.symbol, params, (3, 8, 8))
    expected = run(model, digits_network.images, tmp_path)
    found = run(quantize_onnx(model, [digits_network.images]), digits_network.images, tmp_path)
    assert np.sqrt(((found - expected) ** 2).mean()) < np.sqrt(50) / 128 * 4 * expected.std()


def test_quantizing_prints_nothing_and_leaves_no_files(model, digits_network, tmp_path, monkeypatch, capfd,
                                                       caplog):
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    handlers, disabled = list(logging.root.handlers), logging.root.manager.disable
    quantize_onnx(model, [digits_network.images[:8], digits_network.images[8:16]])
    assert capfd.readouterr() == ('', '')
    assert not caplog.records
    assert not list(tmp_path.iterdir())
    assert logging.root.handlers == handlers and logging.root.manager.disable == disabled


def test_impossible_quantization_is_refused(model, monkeypatch):
    with pytest.raises(OpenatacError, match='--int8'):
        quantize_onnx(model, [np.zeros((2, 3, 9, 9), np.float32)])
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(OpenatacError, match=r'openatac\[onnx\]'):
        quantize_onnx(model, [np.zeros((2, 3, 8, 8), np.float32)])
