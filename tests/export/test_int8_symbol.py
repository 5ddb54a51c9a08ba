"""INT8 networks compute nearly the same as float32 ones, also after saving and loading."""
import collections

import mxnet as mx
import numpy as np
import pytest

from openatac.data.small.transforms import normalise
from openatac.errors import OpenatacError
from openatac.export.accuracy import accuracies
from openatac.export.exported_symbol import load_block
from openatac.export.int8.symbol_quantization import CALIBRATION_METHODS, float_nodes, quantize_symbol
from openatac.export.parity import MIN_AGREEMENT
from openatac.graph.fusion import separate_shortcuts
from openatac.graph.nodes import Graph
from openatac.graph.symbol_files import write_symbol_files
from tests.helpers.images.cifar_slice import decode
from tests.helpers.networks.digits_network import KNOWS, digit_batches, train
from tests.helpers.networks.imagenet_hosts import in_resnets_place, shallow_host
from tests.helpers.processes.fresh_python import output_of

RANGE = 'min_calib_range', 'max_calib_range'
WEIGHTS_TOO = 2  # a factor of `rounding`, which omits the rounding of the weights


@pytest.fixture(scope='module')
def quantized(digits_network):
    """{mode: (symbol, params)}."""
    return {mode: quantize_symbol(digits_network.symbol, digits_network.params, [digits_network.images], mode)
            for mode in CALIBRATION_METHODS}


def write(symbol, params, folder):
    """Write the symbol files; return their path."""
    states = set(symbol.list_auxiliary_states())
    write_symbol_files(str(folder / 'int8'), symbol, {
        ('aux:' if name in states else 'arg:') + name: array for name, array in params.items()})
    return str(folder / 'int8')


def nodes(symbol):
    return [node for node in Graph.of(symbol).nodes() if not node.is_variable]


def is_int8(node):
    """Return whether a node computes in INT8: fused operators have an attribute, others a name prefix."""
    return node.operator.startswith('_contrib_quantized_') or node.get('quantized') == 'true'


def compare(network, quantized):
    """Return the logits' error relative to their spread, and the share of equal top-1 classes."""
    images = mx.nd.array(network.images)
    expected, found = network.net(images).asnumpy(), quantized(images).asnumpy()
    return (np.sqrt(((found - expected) ** 2).mean()) / expected.std(),
            (found.argmax(axis=1) == expected.argmax(axis=1)).mean())


def rounding(network, symbol, folder):
    """Return the logits' relative error if every 8-bit tensor's own error reached them undiminished.

    Rounding a value to a multiple of the tensor's scale causes an error of scale / sqrt(12).
    """
    fused = separate_shortcuts(network.symbol).get_backend_symbol('MKLDNN_QUANTIZE')
    scales = {node.name.replace('quantized_', '') + '_output': scale_of(node.attributes)
              for node in nodes(symbol) if 'min_calib_range' in node.attributes}
    names = [name for name in fused.get_internals().list_outputs() if name in scales]
    assert names
    group = mx.sym.Group([fused.get_internals()[name] for name in names])
    arrays = {name: network.params[name] for name in group.list_inputs() if name != 'data'}
    outputs = load_block(write(group, arrays, folder))(mx.nd.array(network.images))
    return float(np.sqrt(sum(scales[name] ** 2 / 12 / output.asnumpy().var()
                             for name, output in zip(names, outputs))))


def scale_of(attributes):
    low, high = (float(attributes[bound]) for bound in RANGE)
    return high / 255 if low >= 0 else max(-low, high) / 127


def accuracy(network):
    """Return the share of the test digits that a Gluon network classifies correctly."""
    (share,), _ = accuracies([lambda images: network(mx.nd.array(images)).asnumpy()],
                             digit_batches(train=False))
    return share


@pytest.mark.kernels
def test_float32_network_is_accurate(digits_network):
    assert accuracy(digits_network.net) > KNOWS


@pytest.mark.kernels
@pytest.mark.parametrize('mode', CALIBRATION_METHODS)
def test_int8_network_agrees_with_the_float32_one(digits_network, quantized, mode, tmp_path):
    network = load_block(write(*quantized[mode], tmp_path))
    error, agreement = compare(digits_network, network)
    assert error < WEIGHTS_TOO * rounding(digits_network, quantized[mode][0], tmp_path) and agreement > KNOWS
    assert accuracy(network) > KNOWS


@pytest.mark.kernels
def test_badly_quantized_gate_is_detected(digits_network, quantized, tmp_path):
    """The bound fails if the range of the sigmoids' inputs is an eighth of the right one."""
    symbol, params = quantized['naive']
    graph = Graph.of(symbol)
    gates = [node.inputs[0].node.inputs[0].node for node in graph.nodes() if node.operator == 'Activation']
    assert len(gates) == 7
    for gate in gates:
        for bound in RANGE:
            gate.attributes[bound] = str(gate.get(bound) / 8)
    worse = load_block(write(graph.symbol(), params, tmp_path))
    assert compare(digits_network, worse)[0] > WEIGHTS_TOO * rounding(digits_network, symbol, tmp_path)


@pytest.mark.kernels
def test_convolutions_are_int8_and_gates_float32(quantized):
    found = nodes(quantized['naive'][0])
    kinds = collections.Counter((node.operator, is_int8(node)) for node in found)
    assert kinds['_sg_mkldnn_conv', True] == 23 and kinds['_contrib_quantized_batch_norm', True] == 5
    assert not kinds['_sg_mkldnn_conv', False]
    for floats, count in (('Pooling', 1), ('_sg_mkldnn_fully_connected', 1), ('Activation', 7),
                          ('broadcast_mul', 7)):
        assert kinds[floats, False] == count and not kinds[floats, True]


def test_default_leaves_the_pooling_in_float32(digits_network):
    everything, _ = quantize_symbol(digits_network.symbol, digits_network.params, [digits_network.images],
                                    'naive', excluded=())
    assert '_contrib_quantized_pooling' in {node.operator for node in nodes(everything)}


def test_layers_that_stay_in_float32_are_listed(digits_network):
    names = float_nodes(digits_network.symbol, digits_network.params, (3, 8, 8))
    kinds = [node.operator for node in nodes(digits_network.symbol) if node.name in names]
    assert kinds == ['Pooling', 'Flatten', 'FullyConnected']


def test_new_process_computes_the_same(digits_network, quantized, tmp_path):
    path = write(*quantized['entropy'], tmp_path)
    images = digits_network.images[:8]
    np.save(str(tmp_path / 'images.npy'), images)
    found = output_of(
        'import openatac, mxnet as mx, numpy as np;'
        'net = mx.gluon.SymbolBlock.imports("{0}-symbol.json", ["data"], "{0}-0000.params");'
        'images = mx.nd.array(np.load("{1}"));'
        'print(net(images).asnumpy().tobytes().hex())'.format(path, tmp_path / 'images.npy'),
        OMP_NUM_THREADS='1')
    expected = load_block(path)(mx.nd.array(images)).asnumpy()
    assert np.array_equal(np.frombuffer(bytes.fromhex(found), np.float32).reshape(expected.shape), expected)


@pytest.mark.kernels
def test_shortcut_of_a_pre_activation_network_stays_raw(digits_network, tmp_path):
    """With one INT8 convolution, the rest is the fused float32 network, which MXNet itself gets wrong."""
    others = [node.name for node in nodes(digits_network.symbol)]
    others.remove(next(node.name for node in nodes(digits_network.symbol) if node.operator == 'Convolution'))
    symbol, params = quantize_symbol(digits_network.symbol, digits_network.params, [digits_network.images],
                                     'naive', excluded=others)
    assert sum(map(is_int8, nodes(symbol))) == 1
    error, _ = compare(digits_network, load_block(write(symbol, params, tmp_path)))
    assert error < WEIGHTS_TOO * rounding(digits_network, symbol, tmp_path)  # MXNet's fusion: above 0.3


@pytest.mark.kernels
@pytest.mark.parametrize('name, settings', [
    ('cifar_resnet8_v2_relu', {}), ('cifar_resnet8_v2_se', {}), ('cifar_resnet8_v2_gelu', {}),
    ('cifar_resnet8_v2_cbam', {}),
    ('cifar_resnet18_v1_atac', {'layers': (1, 1, 1, 1), 'channels': (16, 16, 32, 64)}),
    ('resnet50_v1b_atac', {}),
    pytest.param('resnet50_v1b_aa', {}, marks=pytest.mark.slow),
])
def test_other_networks_are_quantized_within_rounding(name, settings, tmp_path):
    """The higher an image's label, the brighter it is."""
    side = 32 if name.startswith('resnet50') else 8
    random = np.random.RandomState(0)
    labels = random.randint(0, 10, 640)
    pixels = random.randint(0, 128, (640, 3, side, side)) + labels[:, None, None, None] * 12
    with in_resnets_place(shallow_host()):
        network = train(name, normalise(pixels.astype(np.uint8)), labels, epochs=1 if side > 8 else 2,
                        classes=10, **settings)
    symbol, params = quantize_symbol(network.symbol, network.params, [network.images], 'naive')
    error, agreement = compare(network, load_block(write(symbol, params, tmp_path)))
    assert agreement > MIN_AGREEMENT and sum(map(is_int8, nodes(symbol))) > 5  # chance: 0.1; observed: 0.89
    assert name.startswith('resnet50') or error < WEIGHTS_TOO * rounding(network, symbol, tmp_path)


@pytest.mark.kernels
def test_network_trained_on_real_images_is_quantized_within_rounding(shared_data, tmp_path):
    with np.load(shared_data / 'cifar10_jpeg.npz') as archive:
        records = decode(archive, 'train', 1000)
    images = normalise(records[:, 1:].reshape(-1, 3, 32, 32)[:, :, ::2, ::2])
    network = train('cifar_resnet8_v2_atac', images, records[:, 0].astype(int), epochs=2)
    symbol, params = quantize_symbol(network.symbol, network.params, [images[200:300]])
    error, _ = compare(network, load_block(write(symbol, params, tmp_path)))
    assert error < WEIGHTS_TOO * rounding(network, symbol, tmp_path)


@pytest.mark.parametrize('batches, named', [
    ([], 'images'),
    ([np.zeros((0, 3, 32, 32), np.float32)], 'images'),
    ([np.zeros((3, 32, 32), np.float32)], r'\(B, C, H, W\).*\(3, 32, 32\)'),
    ([np.zeros((2, 3, 32, 32), np.uint8)], 'float32.*uint8'),
    ([np.zeros((2, 4, 32, 32), np.float32)], r'\(4, 32, 32\)'),
    ([np.zeros((2, 3, 32, 32), np.float32), np.zeros((2, 3, 16, 16), np.float32)],
     r'\(3, 32, 32\).*\(3, 16, 16\)'),
    ([np.full((2, 3, 32, 32), np.nan, np.float32)], 'nan.*data'),
])
def test_images_that_cannot_calibrate_are_refused(digits_network, batches, named):
    with pytest.raises(OpenatacError, match=named):
        quantize_symbol(digits_network.symbol, digits_network.params, batches, 'naive')


def test_wrong_arguments_are_named(digits_network):
    with pytest.raises(ValueError, match="entropy, naive.*'percentile'"):
        quantize_symbol(digits_network.symbol, digits_network.params, [digits_network.images], 'percentile')
    with pytest.raises(ValueError, match="'conv99'"):
        quantize_symbol(digits_network.symbol, digits_network.params, [digits_network.images], 'naive',
                        excluded=['conv99'])
    everything = [node.name for node in nodes(digits_network.symbol)]
    with pytest.raises(OpenatacError, match='exclude'):
        quantize_symbol(digits_network.symbol, digits_network.params, [digits_network.images],
                        excluded=everything)
    with pytest.raises(OpenatacError, match=min(digits_network.params)):
        quantize_symbol(digits_network.symbol, {}, [digits_network.images], 'naive')
