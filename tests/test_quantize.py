"""INT8 networks compute nearly what the float32 ones do, also after a round through files."""
import collections
import json

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon

from openatac import get_model
from openatac.data.digits import load_digits
from openatac.data.imageset import ImageSet
from openatac.data.loader import EvaluationBatches, TrainingBatches
from openatac.deploy.quantize import MODES, accuracies, accuracy, float_layers, quantize
from openatac.deploy.symbol import load_symbol, trace, write_symbol
from openatac.errors import OpenatacError
from tests.cifar_slice import decode
from tests.fresh_python import output_of

Trained = collections.namedtuple('Trained', 'net symbol params images labels')


def train(name, images, steps, **settings):
    """The network after some steps, and what a test needs of it."""
    mx.random.seed(1)
    net = get_model(name, **settings)
    net.initialize(mx.init.MSRAPrelu())
    net.hybridize()
    trainer = gluon.Trainer(net.collect_params(), 'nag', {'learning_rate': 0.1, 'momentum': 0.9})
    loss = gluon.loss.SoftmaxCELoss()
    batches = (batch for epoch in range(steps + 20) for batch in TrainingBatches(images, 32, 1).epoch(epoch))
    for _, (pixels, labels) in zip(range(steps), batches):
        with autograd.record():
            value = loss(net(mx.nd.array(pixels)), mx.nd.array(labels))
        value.backward()
        trainer.step(32)
    for _, (pixels, _) in zip(range(20), batches):
        with autograd.record():  # the running statistics catch up
            net(mx.nd.array(pixels)).wait_to_read()
    symbol, arrays = trace(net)
    pixels, labels = next(iter(EvaluationBatches(images, 200)))
    return Trained(net, symbol, {key[4:]: array for key, array in arrays.items()}, pixels, labels)


def made_up(size=32):
    random = np.random.RandomState(0)
    labels = random.randint(0, 10, 200).astype(np.int32)
    pixels = random.randint(0, 128, (200, 3, size, size)) + labels[:, None, None, None] * 12
    return ImageSet(pixels.astype(np.uint8), labels, tuple('0123456789'), mirror=False)


@pytest.fixture(scope='module')
def atac():
    return train('cifar_resnet8_v2_atac', load_digits(), 100)


@pytest.fixture(scope='module')
def quantized(atac):
    """{mode: (symbol, params)}."""
    return {mode: quantize(atac.symbol, atac.params, [atac.images[:100]], mode) for mode in MODES}


def write(symbol, params, folder):
    """Write the symbol files; their path."""
    states = set(symbol.list_auxiliary_states())
    write_symbol(str(folder / 'int8'), symbol, {
        ('aux:' if name in states else 'arg:') + name: array for name, array in params.items()})
    return str(folder / 'int8')


def nodes(symbol):
    return [node for node in json.loads(symbol.tojson())['nodes'] if node['op'] != 'null']


def is_int8(node):
    """MXNet's fused operators say it by an attribute, the others by their name."""
    return node['op'].startswith('_contrib_quantized_') or node.get('attrs', {}).get('quantized') == 'true'


def compare(trained, network):
    """The logits' error, relative to their spread, and the share of images of the same top-1 class."""
    images = mx.nd.array(trained.images)
    expected, found = trained.net(images).asnumpy(), network(images).asnumpy()
    return (np.sqrt(((found - expected) ** 2).mean()) / expected.std(),
            (found.argmax(axis=1) == expected.argmax(axis=1)).mean())


BOUND = {'naive': (0.03, 0.95), 'entropy': (0.2, 0.8)}  # seen: (0.013, 0.975) and (0.10, 0.90)


@pytest.mark.parametrize('mode', MODES)
def test_the_int8_network_agrees_with_the_float32_one(atac, quantized, mode, tmp_path):
    error, agreement = compare(atac, load_symbol(write(*quantized[mode], tmp_path)))
    assert error < BOUND[mode][0] and agreement > BOUND[mode][1]


def test_a_badly_quantized_gate_would_be_seen(atac, quantized, tmp_path):
    """The bounds fail where the range of what goes into the sigmoids is an eighth of what it should be."""
    symbol, params = quantized['naive']
    graph = json.loads(symbol.tojson())
    gates = [graph['nodes'][graph['nodes'][node['inputs'][0][0]]['inputs'][0][0]]
             for node in graph['nodes'] if node['op'] == 'Activation']
    assert len(gates) == 7
    for gate in gates:
        for bound in ('min_calib_range', 'max_calib_range'):
            gate['attrs'][bound] = str(float(gate['attrs'][bound]) / 8)
    worse = mx.sym.load_json(json.dumps(graph))
    error, agreement = compare(atac, load_symbol(write(worse, params, tmp_path)))
    assert error > BOUND['entropy'][0] and agreement < BOUND['entropy'][1]


def test_what_is_int8_and_what_is_not(quantized):
    found = nodes(quantized['naive'][0])
    kinds = collections.Counter((node['op'], is_int8(node)) for node in found)
    assert kinds['_sg_mkldnn_conv', True] == 23 and kinds['_contrib_quantized_batch_norm', True] == 5
    assert not kinds['_sg_mkldnn_conv', False]
    for floats, count in (('Pooling', 1), ('_sg_mkldnn_fully_connected', 1), ('Activation', 7),
                          ('broadcast_mul', 7)):
        assert kinds[floats, False] == count and not kinds[floats, True]


def test_the_default_is_better_than_everything_in_int8(atac, quantized, tmp_path):
    everything = quantize(atac.symbol, atac.params, [atac.images[:100]], 'naive', excluded=())
    assert '_contrib_quantized_pooling' in {node['op'] for node in nodes(everything[0])}
    assert (compare(atac, load_symbol(write(*everything, tmp_path)))[0]
            > 1.2 * compare(atac, load_symbol(write(*quantized['naive'], tmp_path)))[0])


def test_float_layers(atac):
    names = float_layers(atac.symbol, atac.params, (3, 32, 32))
    kinds = [node['op'] for node in nodes(atac.symbol) if node['name'] in names]
    assert kinds == ['Pooling', 'Flatten', 'FullyConnected']


def test_a_new_process_computes_the_same(atac, quantized, tmp_path):
    path = write(*quantized['entropy'], tmp_path)
    images = atac.images[:8]
    np.save(str(tmp_path / 'images.npy'), images)
    found = output_of(
        'import openatac, mxnet as mx, numpy as np;'
        'net = mx.gluon.SymbolBlock.imports("{0}-symbol.json", ["data"], "{0}-0000.params");'
        'images = mx.nd.array(np.load("{1}"));'
        'print(net(images).asnumpy().tobytes().hex())'.format(path, tmp_path / 'images.npy'),
        OMP_NUM_THREADS='1')
    expected = load_symbol(path)(mx.nd.array(images)).asnumpy()
    assert np.array_equal(np.frombuffer(bytes.fromhex(found), np.float32).reshape(expected.shape), expected)


def test_the_shortcut_of_a_pre_activation_network_stays_raw(atac, tmp_path):
    """With one INT8 convolution the rest is the fused float32 network, which MXNet itself gets wrong."""
    others = [node['name'] for node in nodes(atac.symbol)]
    others.remove([node['name'] for node in nodes(atac.symbol) if node['op'] == 'Convolution'][0])
    symbol, params = quantize(atac.symbol, atac.params, [atac.images[:100]], 'naive', excluded=others)
    assert sum(map(is_int8, nodes(symbol))) == 1
    assert compare(atac, load_symbol(write(symbol, params, tmp_path)))[0] < 0.03  # MXNet's error: above 0.3


@pytest.mark.parametrize('name, settings', [
    ('cifar_resnet8_v2_relu', {}), ('cifar_resnet8_v2_se', {}), ('cifar_resnet8_v2_gelu', {}),
    ('cifar_resnet8_v2_eca', {}), ('cifar_resnet8_v2_cbam', {}), ('cifar_resnet8_v2_swish', {}),
    ('cifar_resnet18_v1_atac', {'layers': (1, 1, 1, 1)}), ('resnet50_v1b_atac', {'layers': (1, 1, 1, 1)}),
    ('resnet50_v1b_se', {'layers': (1, 1, 1, 1)}), ('resnet50_v1b_aa', {'layers': (1, 1, 1, 1)}),
])
def test_other_networks(name, settings, tmp_path):
    trained = train(name, made_up(32), 4, classes=10, **settings)
    trained = trained._replace(images=trained.images[:32])
    symbol, params = quantize(trained.symbol, trained.params, [trained.images], 'naive')
    error, _ = compare(trained, load_symbol(write(symbol, params, tmp_path)))
    assert error < 0.15 and sum(map(is_int8, nodes(symbol))) > 5


def test_real_images(shared_data, tmp_path):
    with np.load(shared_data / 'cifar10_jpeg.npz') as archive:
        records = decode(archive, 'train', 2000)
    images = ImageSet(records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int32),
                      tuple('0123456789'))
    trained = train('cifar_resnet8_v2_atac', images, 80)
    symbol, params = quantize(trained.symbol, trained.params, [trained.images[:100]])
    network = load_symbol(write(symbol, params, tmp_path))
    assert compare(trained, network)[1] >= 0.93
    batches = list(EvaluationBatches(images, 200))[:5]
    before, after = accuracy(trained.net, batches), accuracy(network, batches)
    assert before > 0.2 and abs(before - after) <= 0.02


def test_accuracy():
    images = np.eye(3, dtype=np.float32)
    batches = [(images, np.array([0, 1, 0])), (images[:1], np.array([0]))]
    assert accuracy(lambda images: images, batches) == 0.75
    assert accuracies([lambda images: images, lambda images: -images], batches) == ([0.75, 0.25], 4)
    with pytest.raises(OpenatacError, match='no images'):
        accuracy(lambda images: images, [])


@pytest.mark.parametrize('batches, words', [
    ([], 'there are no images to calibrate with'),
    ([np.zeros((0, 3, 32, 32), np.float32)], 'there are no images to calibrate with'),
    ([np.zeros((3, 32, 32), np.float32)], r'arrays \(B, C, H, W\), not float32 \(3, 32, 32\)'),
    ([np.zeros((2, 3, 32, 32), np.uint8)], 'normalised float32 arrays .* not uint8'),
    ([np.zeros((2, 4, 32, 32), np.float32)], r'images of shape \(4, 32, 32\) do not fit the network'),
    ([np.zeros((2, 3, 32, 32), np.float32), np.zeros((2, 3, 16, 16), np.float32)],
     r'must have the shape of the first, \(3, 32, 32\), not \(3, 16, 16\)'),
    ([np.full((2, 3, 32, 32), np.nan, np.float32)], 'computes nan at data'),
])
def test_images_that_cannot_calibrate(atac, batches, words):
    with pytest.raises(OpenatacError, match=words):
        quantize(atac.symbol, atac.params, batches, 'naive')


def test_what_the_caller_can_get_wrong(atac):
    with pytest.raises(ValueError, match="must be one of entropy, naive, not 'percentile'"):
        quantize(atac.symbol, atac.params, [atac.images], 'percentile')
    with pytest.raises(ValueError, match="no operator 'conv99'"):
        quantize(atac.symbol, atac.params, [atac.images], 'naive', excluded=['conv99'])
    with pytest.raises(OpenatacError, match='is left to quantize'):
        everything = [node['name'] for node in nodes(atac.symbol)]
        quantize(atac.symbol, atac.params, [atac.images], excluded=everything)
    with pytest.raises(OpenatacError, match='parameters are of another network'):
        quantize(atac.symbol, {}, [atac.images], 'naive')
