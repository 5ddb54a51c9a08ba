"""Self-attention agrees with its equations in NumPy: outputs, gradients, parameter counts, export."""
import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd

from openatac.models.networks_by_name import get_model
from openatac.models.resnet_v1b import ResNet50_v1bATAC
from openatac.nn.augmented_conv import AttentionAugmentedConv2D
from openatac.nn.local_self_attention import AttentionStem, StandAloneSelfAttention
from tests.helpers.images.random_images import random_images
from tests.helpers.networks.numpy_layers import (
    check_export,
    close,
    conv1x1,
    convolve,
    fill,
    numeric_gradient,
    trainable,
)
from tests.helpers.networks.parameters import parameters_of


def softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def average(x, window, stride, pad):
    """Average over the pixels of each window that lie in the image."""
    height, width = ((side - 1) // stride + 1 for side in x.shape[2:])
    result = np.zeros((*x.shape[:2], height, width))
    for row in range(height):
        for column in range(width):
            top, left = row * stride - pad, column * stride - pad
            result[:, :, row, column] = x[:, :, max(0, top):top + window,
                                          max(0, left):left + window].mean((2, 3))
    return result


def interpolated(x, height, width):
    """Interpolate bilinearly, with aligned corners."""
    for axis, size in ((2, height), (3, width)):
        place = np.linspace(0, x.shape[axis] - 1, size)
        low = np.minimum(place.astype(int), max(x.shape[axis] - 2, 0))
        high = np.minimum(low + 1, x.shape[axis] - 1)
        share = (place - low).reshape((-1,) + (1,) * (3 - axis))
        x = x.take(low, axis) * (1 - share) + x.take(high, axis) * share
    return x


def augmented(x, p, heads, values, stride=1, pools=0, downsample=False):
    """Compute equations 1 to 5 pixel by pixel."""
    local = convolve(x, p['conv.weight'], stride=stride)
    for _ in range(pools):
        x = average(x, 3, 2, 1)
    projected = conv1x1(p['project.weight'], x)
    keys = (len(p['project.weight']) - values) // 2
    q, k, v = projected[:, :keys], projected[:, keys:2 * keys], projected[:, 2 * keys:]
    rows, columns = p['rows.weight'], p['columns.weight']
    d, (height, width) = keys // heads, x.shape[2:]
    pixels = [(row, column) for row in range(height) for column in range(width)]
    mixed = np.zeros((len(x), values, height, width))
    for head in range(heads):
        qs, ks = (part[:, head * d:(head + 1) * d] for part in (q, k))
        vs = v[:, head * values // heads:(head + 1) * values // heads]
        for y0, x0 in pixels:
            query = qs[:, :, y0, x0]
            logits = np.stack([
                np.einsum('bd,bd->b', query, ks[:, :, y1, x1] + rows[y1 - y0] + columns[x1 - x0])
                for y1, x1 in pixels], axis=-1) / np.sqrt(d)
            mixed[:, head * values // heads:(head + 1) * values // heads, y0, x0] = np.einsum(
                'bn,bdn->bd', softmax(logits), vs.reshape((*vs.shape[:2], -1)))
    mixed = conv1x1(p['output.weight'], mixed)
    if downsample:
        mixed = interpolated(mixed, *local.shape[2:])
    return np.concatenate([local, mixed], axis=1)


def stand_alone(x, p, heads, kernel, dilation=1, stride=1):
    """Compute equation 3 pixel by pixel, over the pixels of the window that lie in the image."""
    q, k, v = (conv1x1(p[name + '.weight'], x) for name in ('query', 'key', 'value'))
    d, reach, (height, width) = q.shape[1] // heads, kernel // 2, x.shape[2:]
    y = np.zeros_like(q)
    for head in range(heads):
        part = slice(head * d, (head + 1) * d)
        for row in range(height):
            for column in range(width):
                near = [(a, b, row + (a - reach) * dilation, column + (b - reach) * dilation)
                        for a in range(kernel) for b in range(kernel)]
                near = [place for place in near if 0 <= place[2] < height and 0 <= place[3] < width]
                logits = np.stack([np.einsum(
                    'bd,bd->b', q[:, part, row, column],
                    k[:, part, y1, x1] + np.concatenate([p['rows'][head, a, 0], p['columns'][head, 0, b]]))
                    for a, b, y1, x1 in near], axis=-1)
                y[:, part, row, column] = sum(weight[:, None] * v[:, part, y1, x1] for weight, (_, _, y1, x1)
                                              in zip(softmax(logits).T, near))
    return average(y, stride, stride, 0) if stride > 1 else y


def stem(x, p, heads, block):
    """Compute softmax attention within blocks, with value matrices mixed by the position in the block."""
    q, k = conv1x1(p['query.weight'], x), conv1x1(p['key.weight'], x)
    matrices = p['values'].reshape(len(p['values']), -1, x.shape[1])
    v = np.zeros_like(q)
    for a in range(block):
        for b in range(block):
            share = softmax(p['mixtures'] @ (p['rows'][a, 0] + p['columns'][0, b]))
            v[:, :, a::block, b::block] = conv1x1(np.einsum('m,moi->oi', share, matrices),
                                                  x[:, :, a::block, b::block])
    y, d = np.zeros_like(q), q.shape[1] // heads
    for top in range(0, x.shape[2], block):
        for left in range(0, x.shape[3], block):
            for head in range(heads):
                place = (slice(None), slice(head * d, (head + 1) * d), slice(top, top + block),
                         slice(left, left + block))
                qs, ks, vs = (part[place].reshape(len(x), d, -1) for part in (q, k, v))
                weights = softmax(np.einsum('bdi,bdj->bij', qs, ks))
                y[place] = np.einsum('bij,bdj->bdi', weights, vs).reshape(y[place].shape)
    return y


CASES = {
    'augmented': (lambda: AttentionAugmentedConv2D(6, upsilon=0.6, heads=2, key_depth=3), (2, 2, 3, 4),
                  lambda x, p: augmented(x, p, 2, 4)),
    'augmented, stride 2': (
        lambda: AttentionAugmentedConv2D(6, strides=2, upsilon=0.4, heads=2, key_depth=2), (2, 2, 5, 3),
        lambda x, p: augmented(x, p, 2, 2, stride=2, pools=1)),
    'augmented, at half the resolution': (
        lambda: AttentionAugmentedConv2D(6, upsilon=0.4, heads=2, key_depth=2, downsample=True), (2, 2, 5, 6),
        lambda x, p: augmented(x, p, 2, 2, pools=1, downsample=True)),
    'augmented, one row': (
        lambda: AttentionAugmentedConv2D(4, kernel_size=1, upsilon=0.4, heads=1, key_depth=2), (2, 3, 1, 4),
        lambda x, p: augmented(x, p, 1, 2)),
    'stand-alone': (lambda: StandAloneSelfAttention(8, 3, heads=2), (2, 2, 4, 3),
                    lambda x, p: stand_alone(x, p, 2, 3)),
    'stand-alone, window above the image, stride 2': (
        lambda: StandAloneSelfAttention(8, 7, heads=2, strides=2), (1, 2, 3, 5),
        lambda x, p: stand_alone(x, p, 2, 7, stride=2)),
    'stand-alone, dilated': (lambda: StandAloneSelfAttention(4, 3, heads=1, dilation=2), (2, 3, 5, 4),
                             lambda x, p: stand_alone(x, p, 1, 3, dilation=2)),
    'stem': (lambda: AttentionStem(4, heads=2, mixtures=3, block=2), (2, 3, 4, 6),
             lambda x, p: stem(x, p, 2, 2)),
}


@pytest.mark.parametrize('case', sorted(CASES))
def test_values_and_gradients(case):
    """Check imperatively, then hybridized."""
    build, shape, reference = CASES[case]
    block = build()
    block.initialize()
    x = random_images(*shape, seed=1)
    block(x)  # infers the shapes of deferred parameters
    fill(block)
    parameters = parameters_of(block)
    p = {name: parameter.data().asnumpy().astype('float64') for name, parameter in parameters.items()}
    x64 = x.asnumpy().astype('float64')
    expected = reference(x64, p)
    weights = random_images(*expected.shape, seed=2)

    def value():
        return (reference(x64, p) * weights.asnumpy()).sum()

    gradients = [numeric_gradient(value, array) for array in [x64, *p.values()]]
    for hybrid in (False, True):
        block.hybridize(hybrid, static_alloc=True)
        assert close(block(x).asnumpy(), expected)
        x.attach_grad()
        with autograd.record():
            loss = (block(x) * weights).sum()
        loss.backward()
        found = [x.grad, *(parameter.grad() for parameter in parameters.values())]
        for gradient, numeric in zip(found, gradients):
            assert close(gradient.asnumpy(), numeric, scale=0.1)


@pytest.mark.parametrize('case', sorted(CASES))
def test_export_and_load_back(case, tmp_path):
    check_export(CASES[case][0](), tmp_path, CASES[case][1])


@pytest.mark.parametrize('build, shape, count', [
    # 3x3 to 232 channels, keys, queries and values (160, 160, 24), output, distances by rows and columns
    (lambda: AttentionAugmentedConv2D(256), (1, 256, 14, 14),
     9 * 256 * 232 + 256 * (160 + 160 + 24) + 24 * 24 + (27 + 27) * 20),
    (lambda: AttentionAugmentedConv2D(128, downsample=True), (1, 128, 28, 20),
     9 * 128 * 112 + 128 * (160 + 160 + 16) + 16 * 16 + (27 + 19) * 20),
    (lambda: AttentionAugmentedConv2D(2048, strides=2), (1, 4, 7, 7),  # keys of 0.2 * 2048 / 8 = 51
     9 * 4 * 1840 + 4 * (408 + 408 + 208) + 208 * 208 + (7 + 7) * 51),
    (lambda: StandAloneSelfAttention(64), (1, 256, 8, 8), 3 * 256 * 64 + 7 * 64),
    (lambda: StandAloneSelfAttention(64, kernel_size=3, heads=4, strides=2), (1, 16, 8, 8),
     3 * 16 * 64 + 3 * 64),
    (lambda: AttentionStem(), (1, 3, 8, 8), (2 + 4) * 3 * 64 + (4 + 4 + 4) * 64),
])
def test_parameter_counts(build, shape, count):
    assert trainable(build(), shape) == count


@pytest.mark.parametrize('build, named', [
    (lambda: AttentionAugmentedConv2D(64, kernel_size=2), r'kernel_size\b.*\b2\b'),
    (lambda: AttentionAugmentedConv2D(64, strides=4), r'strides\b.*\b4\b'),
    (lambda: AttentionAugmentedConv2D(64, heads=0), r'heads\b.*\b0\b'),
    (lambda: AttentionAugmentedConv2D(64, upsilon=1), r'upsilon\b.*\b1\b'),
    (lambda: AttentionAugmentedConv2D(8), r'upsilon=0\.1\b.*\b8\b'),
    (lambda: StandAloneSelfAttention(64, kernel_size=4), r'\b4\b'),
    (lambda: StandAloneSelfAttention(24), r'\b16\b.*\b24\b'),
    (lambda: StandAloneSelfAttention(64, heads=0), r'heads\b.*\b0\b'),
    (lambda: StandAloneSelfAttention(0), r'channels\b.*\b0\b'),
    (lambda: StandAloneSelfAttention(64, kernel_size=True), 'True'),
    (lambda: AttentionStem(64, heads=3), r'\b3\b.*\b64\b'),
    (lambda: AttentionStem(64, mixtures=0), r'mixtures\b.*\b0\b'),
    (lambda: ResNet50_v1bATAC(self_attention='ff'), "self_attention .*aa, fa.*'ff'"),
    (lambda: ResNet50_v1bATAC(self_attention='fa', deep_stem=True), 'deep_stem'),
])
def test_bad_argument_is_named(build, named):
    with pytest.raises(ValueError, match=named):
        build()


def test_augmentation_fixes_the_image_size_but_windows_do_not():
    aa = get_model('resnet50_v1b_aa', layers=[1] * 4, classes=3)
    fa = get_model('resnet50_v1b_fa', layers=[1] * 4, classes=3)
    for net in (aa, fa):
        net.initialize()
        assert net(random_images(1, 3, 64, 32)).shape == (1, 3)
    assert fa(random_images(1, 3, 32, 96)).shape == (1, 3)
    with pytest.raises(mx.MXNetError):
        aa(random_images(1, 3, 64, 64)).wait_to_read()
    with pytest.raises(mx.MXNetError):
        fa(random_images(1, 3, 62, 64)).wait_to_read()


@pytest.mark.parametrize('unit', ['aa', 'fa'])
def test_dilated_stages_keep_their_resolution(unit):
    net = get_model('resnet50_v1b_' + unit, layers=[1] * 4, dilated=True)
    symbol = net.layer4(net.layer3(net.layer2(net.layer1(mx.sym.var('x')))))
    assert symbol.infer_shape_partial(x=(1, 64, 16, 16))[1] == [(1, 2048, 8, 8)]


def test_self_attention_is_placed_as_in_the_papers():
    """AA is in the last three stages, pooled in the second; FA is everywhere, including the stem."""
    aa, fa = (get_model('resnet50_v1b_' + unit) for unit in ('aa', 'fa'))
    kinds = {name: [type(block.conv2).__name__ for stage in (net.layer1, net.layer2, net.layer3, net.layer4)
                    for block in stage] for name, net in (('aa', aa), ('fa', fa))}
    assert kinds['aa'] == 3 * ['Conv2D'] + 13 * ['AttentionAugmentedConv2D']
    assert kinds['fa'] == 16 * ['StandAloneSelfAttention'] and isinstance(fa.conv1, AttentionStem)
    pools = [[len(block.conv2.pool or ()) for block in stage] for stage in (aa.layer2, aa.layer3, aa.layer4)]
    assert pools == [[2, 1, 1, 1], [1, 0, 0, 0, 0, 0], [1, 0, 0]]
