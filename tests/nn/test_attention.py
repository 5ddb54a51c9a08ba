"""Every attention block agrees with its equations in NumPy: outputs, gradients, parameter counts, export."""
import math

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from openatac.nn.attention import CBAM, ECA, LocalSEBlock, NINBlock
from openatac.nn.gather_excite import GatherExcite
from openatac.nn.squeeze_excite import SEBlock
from openatac.zoo.units import ATTENTIONS
from tests.helpers.images.random_images import random_images
from tests.helpers.networks.numpy_layers import (
    SHAPE,
    batch_norm,
    check_against_numpy,
    check_export,
    conv1x1,
    convolve,
    local_attention,
    relu,
    sigmoid,
    trainable,
)


def excited(vectors, p):
    """Return W2 . relu(W1 . v) with SE's dense layers, for vectors (B, C)."""
    return relu(vectors @ p['excite.0.weight'].T) @ p['excite.2.weight'].T


def per_channel(gate):
    return gate[:, :, None, None]


def se(x, p, training):
    return x * per_channel(sigmoid(excited(x.mean((2, 3)), p)))


def filtered(x, p, training):
    """Gather with one filter as large as the image, followed by BatchNorm."""
    whole = np.einsum('bchw,chw->bc', x, p['gather.0.weight'][:, 0])
    return batch_norm(whole, p, 'gather.1', training)


def nearest(gate, extent, like):
    return gate.repeat(extent, 2).repeat(extent, 3)[:, :, :like.shape[2], :like.shape[3]]


def windows(x, extent):
    """Average over windows of 2 * extent - 1 pixels around every extent-th pixel, inside the image."""
    reach = extent - 1
    gate = np.zeros(x.shape[:2] + tuple((side - 1) // extent + 1 for side in x.shape[2:]))
    for row in range(gate.shape[2]):
        for column in range(gate.shape[3]):
            top, left = row * extent, column * extent
            gate[:, :, row, column] = x[:, :, max(0, top - reach):top + reach + 1,
                                        max(0, left - reach):left + reach + 1].mean((2, 3))
    return gate


def strided(x, p, training, steps):
    """Apply ``steps`` depthwise 3x3 convolutions of stride 2, each with BatchNorm, and ReLUs between them."""
    for step in range(steps):
        x = relu(x) if step else x
        x = convolve(x, p[f'gather.{3 * step}.weight'], stride=2, groups=x.shape[1])
        x = batch_norm(x, p, f'gather.{3 * step + 1}', training)
    return x


def ge_theta_plus_4(x, p, training):
    gate = strided(x, p, training, 2)
    gate = conv1x1(p['excite.2.weight'], relu(conv1x1(p['excite.0.weight'], gate)))
    return x * nearest(sigmoid(gate), 4, x)


def eca(x, p, training):
    weight = p['conv.weight'][0, 0]
    pooled = np.pad(x.mean((2, 3)), [(0, 0), (len(weight) // 2,) * 2])
    mixed = sum(w * pooled[:, k:k + x.shape[1]] for k, w in enumerate(weight))
    return x * per_channel(sigmoid(mixed))


def cbam(x, p, training):
    x = x * per_channel(sigmoid(excited(x.mean((2, 3)), p) + excited(x.max((2, 3)), p)))
    pixels = np.stack([x.mean(1), x.max(1)], axis=1)
    return x * sigmoid(batch_norm(convolve(pixels, p['conv.weight']), p, 'bn', training))


C = SHAPE[1]
CASES = {
    'se': (lambda: SEBlock(C, reduction=2), se),
    'ge': (lambda: GatherExcite(C, reduction=2),
           lambda x, p, t: x * per_channel(sigmoid(excited(filtered(x, p, t), p)))),
    'ge_theta': (lambda: GatherExcite(C, variant='theta'),
                 lambda x, p, t: x * per_channel(sigmoid(filtered(x, p, t)))),
    'ge_theta_minus': (lambda: GatherExcite(C, variant='theta-'),
                       lambda x, p, t: x * per_channel(sigmoid(x.mean((2, 3))))),
    'ge_theta_minus, extent 4': (lambda: GatherExcite(C, extent=4, variant='theta-'),
                                 lambda x, p, t: x * nearest(sigmoid(windows(x, 4)), 4, x)),
    'ge_theta, extent 2': (lambda: GatherExcite(C, extent=2, variant='theta'),
                           lambda x, p, t: x * nearest(sigmoid(strided(x, p, t, 1)), 2, x)),
    'ge, extent 4': (lambda: GatherExcite(C, extent=4, reduction=2), ge_theta_plus_4),
    'eca': (lambda: ECA(C), eca),
    'eca, 5 neighbours': (lambda: ECA(C, gamma=0.5), eca),
    'cbam': (lambda: CBAM(C, reduction=2), cbam),
    'cbam, kernel 3': (lambda: CBAM(C, reduction=2, kernel=3), cbam),
    'lca': (lambda: LocalSEBlock(C, reduction=2), lambda x, p, t: x * sigmoid(local_attention(x, p, t))),
    'nin': (lambda: NINBlock(C, reduction=2), local_attention),
}


def test_every_attention_block_has_a_numpy_reference():
    assert set(ATTENTIONS) <= set(CASES)


@pytest.mark.parametrize('case', sorted(CASES))
def test_values_and_gradients(case):
    build, reference = CASES[case]
    check_against_numpy(build(), reference)


@pytest.mark.parametrize('case', sorted(CASES))
def test_export_and_load_back(case, tmp_path):
    check_export(CASES[case][0](), tmp_path, SHAPE)


@pytest.mark.parametrize('build, count', [
    (lambda channels: ATTENTIONS.find('se').gluon(channels), 32 * 2 + 2 * 32),
    (lambda channels: ATTENTIONS.find('se').gluon(channels, reduction=4), 32 * 8 + 8 * 32),
    (lambda channels: ATTENTIONS.find('ge').gluon(channels),
     32 * 8 * 8 + 2 * 32 + 32 * 2 + 2 * 32),  # filter, BN, layers
    (lambda channels: ATTENTIONS.find('ge_theta').gluon(channels), 32 * 8 * 8 + 2 * 32),
    (lambda channels: ATTENTIONS.find('ge_theta_minus').gluon(channels), 0),
    (lambda channels: GatherExcite(channels, extent=8, variant='theta-'), 0),
    (lambda channels: GatherExcite(channels, extent=8, variant='theta'), 3 * (32 * 9 + 2 * 32)),
    (lambda channels: GatherExcite(channels, extent=8), 3 * (32 * 9 + 2 * 32) + 32 * 2 + 2 * 32),
    (lambda channels: ATTENTIONS.find('eca').gluon(channels), 3),                               # (5 + 1) / 2
    (lambda channels: ATTENTIONS.find('cbam').gluon(channels), 32 * 2 + 2 * 32 + 2 * 49 + 2),
    (lambda channels: ATTENTIONS.find('lca').gluon(channels), 32 * 2 + 2 * 2 + 2 * 32 + 2 * 32),
    (lambda channels: ATTENTIONS.find('nin').gluon(channels), 32 * 2 + 2 * 2 + 2 * 32 + 2 * 32),
])
def test_parameter_counts(build, count):
    assert trainable(build(32), (1, 32, 8, 8)) == count


def test_parameters_of_the_published_resnet50():
    """By the paper's ImageNet table, SE adds 28.1 - 25.6 million and GE-theta+ 33.7 - 25.6 million."""
    stages = [(3, 256, 56), (4, 512, 28), (6, 1024, 14), (3, 2048, 7)]
    added = {name: sum(blocks * trainable(ATTENTIONS.find(name).gluon(channels), (1, channels, side, side))
                       for blocks, channels, side in stages) for name in ('se', 'ge')}
    assert added['se'] == sum(n * 2 * c * (c // 16) for n, c, _ in stages) == 2514944
    assert added['ge'] == added['se'] + sum(n * c * (s * s + 2) for n, c, s in stages) == 8064512


@pytest.mark.parametrize('channels, k', [(16, 3), (32, 3), (64, 3), (128, 5), (256, 5), (512, 5), (2048, 7)])
def test_eca_kernel_size(channels, k):
    """The published code has int(abs((log2(C) + 1) / 2)), made odd."""
    assert ECA(channels).kernel == k
    assert k in (int((math.log2(channels) + 1) / 2), int((math.log2(channels) + 1) / 2) + 1)


@pytest.mark.parametrize('build, named', [
    (lambda: SEBlock(8), r'reduction=16\b.*\b8\b'),
    (lambda: SEBlock(8, reduction=0), r'\b0$'),
    (lambda: NINBlock(8, reduction=-1), '-1'),
    (lambda: LocalSEBlock(8), 'reduction=16'),
    (lambda: CBAM(8), 'reduction=16'),
    (lambda: CBAM(16, kernel=6), r'kernel\b.*\b6\b'),
    (lambda: ECA(16, gamma=0), r'gamma\b.*\b0$'),
    (lambda: ECA(0), r'channels\b.*\b0$'),
    (lambda: ECA(16, b='x'), r"\bb\b.*'x'"),
    (lambda: GatherExcite(16, variant='theta_plus'), "theta-.*'theta_plus'"),
    (lambda: GatherExcite(16, extent=3), r'\b3\b'),
    (lambda: GatherExcite(16, extent=1), r'\b1\b'),
    (lambda: GatherExcite(8), 'reduction=16'),
    (lambda: ATTENTIONS.find('senet').gluon(16), "attention .*se, ge, .*'senet'"),
    (lambda: ATTENTIONS.find('senet', '--attention'), "--attention .*'senet'"),
])
def test_bad_argument_is_named(build, named):
    with pytest.raises(ValueError, match=named):
        build()


def test_whole_image_filter_infers_its_size_when_hybridized(tmp_path):
    def network():
        net = nn.HybridSequential()
        net.add(nn.Conv2D(16, 3, strides=2), ATTENTIONS.find('ge').gluon(16), nn.GlobalAvgPool2D())
        net.hybridize()
        return net

    net, again = network(), network()
    net.initialize()
    expected = net(random_images(2, 3, 11, 15, seed=1))
    assert net[1].gather[0].weight.shape == (16, 1, 5, 7)
    net.save_parameters(str(tmp_path / 'net.params'))
    again.load_parameters(str(tmp_path / 'net.params'))  # before any image
    assert (again(random_images(2, 3, 11, 15, seed=1)).asnumpy() == expected.asnumpy()).all()
    with pytest.raises(mx.MXNetError):
        net(random_images(2, 3, 13, 15, seed=1)).wait_to_read()
