"""GroupNorm agrees with its formula and with GluonCV's, hybridized, and in the ImageNet host."""
import mxnet as mx
import numpy as np
import pytest
from gluoncv.nn import GroupNorm as GluonCVs
from mxnet import autograd

from openatac.models.resnet_v1b import ResNet50_v1bATAC
from openatac.nn.group_norm import GroupNorm
from tests.helpers.networks.parameters import parameters_of


def filled(norm):
    norm.initialize()
    rng = np.random.RandomState(1)
    norm.gamma.set_data(mx.nd.array(rng.rand(8)))
    norm.beta.set_data(mx.nd.array(rng.rand(8)))
    return norm


def images():
    return mx.nd.array(np.random.RandomState(0).randn(2, 8, 3, 5) * 4 + 1)


@pytest.mark.parametrize('hybrid', [False, True], ids=['imperative', 'hybridized'])
def test_values_and_gradients_equal_gluoncv(hybrid):
    ours, theirs = filled(GroupNorm(8, num_groups=4)), filled(GluonCVs(ngroups=4, in_channels=8))
    if hybrid:
        ours.hybridize(static_alloc=True)
    results = []
    for norm in (ours, theirs):
        x = images()
        x.attach_grad()
        with autograd.record():
            y = norm(x)
            loss = (y * y * y).sum()
        loss.backward()
        results.append([y, x.grad, norm.gamma.grad(), norm.beta.grad()])
    for one, other in zip(*results):
        one, other = one.asnumpy(), other.asnumpy()
        assert np.abs(one - other).max() < 1e-4 * np.abs(other).max()


def test_values_equal_the_formula():
    x = images().asnumpy().reshape(2, 4, -1)
    expected = (x - x.mean(2, keepdims=True)) / np.sqrt(x.var(2, keepdims=True) + 1e-5)
    norm = GroupNorm(8, num_groups=4)
    norm.initialize()
    assert norm(images()).asnumpy() == pytest.approx(expected.reshape(2, 8, 3, 5), abs=1e-5)


def test_float16_does_not_overflow():
    """The stem's groups at 224 pixels have 25,088 values; with values of 3, their sum overflows float16."""
    norm = GroupNorm(64)
    norm.initialize()
    norm.cast('float16')
    norm.hybridize()
    x = mx.nd.array(np.random.RandomState(0).randn(1, 64, 112, 112) + 3)
    y = norm(x.astype('float16'))
    exact = GroupNorm(64)
    exact.initialize()
    assert y.dtype == np.float16 and norm.gamma.data().dtype == np.float32
    assert np.abs(y.asnumpy().astype('float32') - exact(x).asnumpy()).max() < 0.01


@pytest.mark.parametrize('groups, named', [(3, 'num_groups .*8.*3'), (0, 'num_groups.* 0'), (-8, '-8')])
def test_groups_must_divide_the_channels(groups, named):
    with pytest.raises(ValueError, match=named):
        GroupNorm(8, num_groups=groups)


def test_host_accepts_group_norm_and_keeps_parameter_names():
    plain = ResNet50_v1bATAC(act_layers=0)
    net = ResNet50_v1bATAC(norm_layer=GroupNorm, act_layers=0, last_gamma=True)
    names = [name for name in parameters_of(plain) if 'running' not in name]
    assert list(parameters_of(net)) == names
