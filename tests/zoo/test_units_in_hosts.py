"""Every unit in every host of the zoo trains, hybridizes, exports, and has the costs of its arrays."""
import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd

from openatac import get_model, get_model_list
from openatac.export.exported_symbol import load_block
from openatac.study.costs.gluon_costs import costs, layers
from openatac.zoo.names import parse_network_name
from openatac.zoo.units import ACTIVATIONS, ATTENTIONS, SELF_ATTENTIONS
from tests.helpers.exports.exporting import write_symbol
from tests.helpers.images.random_images import random_images
from tests.helpers.networks.parameters import parameters_of

pytestmark = pytest.mark.usefixtures('shallow_resnet')

UNITS = [name.lower().replace('chaatac', 'atac') for name in ACTIVATIONS] + list(ATTENTIONS)
SMALL = {  # host: side of the images and arguments for a small network
    'cifar_resnet8_v2_': (32, {}),
    'cifar_resnet18_v1_': (32, {'layers': [1] * 4, 'channels': (16, 16, 16, 32)}),
    'resnet50_v1b_': (48, {}),  # built by `shallow_resnet`
}
QUICK = 'atac', 'se'  # the larger hosts build their units as the first one does
NAMES = [host + unit if unit in QUICK or host.startswith('cifar_resnet8')
         else pytest.param(host + unit, marks=pytest.mark.slow) for host in SMALL for unit in UNITS]
NAMES += ['resnet50_v1b_' + unit for unit in SELF_ATTENTIONS]
BATCH, CLASSES = 3, 7


def small(host, unit, **settings):
    return get_model(host + unit, classes=CLASSES, **SMALL[host][1], **settings)


class Trained:
    """A small network after one training step from a seed, with its output and {name: gradient}."""

    def __init__(self, name, hybrid):
        host = next(host for host in SMALL if name.startswith(host))
        self.shape = (3, SMALL[host][0], SMALL[host][0])
        mx.random.seed(1)
        self.net = small(host, name[len(host):])
        self.net.initialize(mx.init.MSRAPrelu())
        if hybrid:
            self.net.hybridize()
        weights = mx.nd.array(np.random.RandomState(1).randn(BATCH, CLASSES))
        with autograd.record():
            output = self.net(random_images(BATCH, *self.shape))
            loss = (output * weights).sum()
        loss.backward()
        self.output = output.asnumpy()
        self.gradients = {key: parameter.grad().asnumpy() for key, parameter
                          in parameters_of(self.net).items() if parameter.grad_req != 'null'}


@pytest.fixture(scope='module', params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope='module')
def hybrid(name):
    return Trained(name, hybrid=True)


def test_model_list_has_every_unit_in_every_host():
    hosts = [*(f'cifar_resnet{depth}_v2_' for depth in (8, 14, 20, 26, 32, 110)),
             'cifar_resnet18_v1_', 'resnet50_v1b_']
    assert get_model_list() == sorted([host + unit for host in hosts for unit in UNITS]
                                      + [host + 'atac_global' for host in hosts[:-1]]
                                      + ['resnet50_v1b_aa', 'resnet50_v1b_fa'])


def test_hybridized_and_imperative_training_update_every_parameter(name, hybrid):
    plain = Trained(name, hybrid=False)
    assert plain.output.shape == (BATCH, CLASSES) and np.isfinite(plain.output).all()
    assert np.abs(hybrid.output - plain.output).max() <= 1e-4 * np.abs(plain.output).max()
    largest = max(np.abs(gradient).max() for gradient in plain.gradients.values())
    for key, gradient in plain.gradients.items():
        assert np.isfinite(gradient).all() and (gradient != 0).any(), key
        difference = np.abs(hybrid.gradients[key] - gradient).max()
        assert difference <= 1e-2 * np.abs(gradient).max() + 1e-4 * largest, key


def test_exported_network_computes_the_same_with_costs_of_its_arrays(hybrid, tmp_path):
    net, images = hybrid.net, random_images(BATCH, *hybrid.shape)
    write_symbol(net, str(tmp_path / 'net'))
    expected = net(images).asnumpy()
    loaded = load_block(str(tmp_path / 'net'))(images).asnumpy()
    assert np.abs(loaded - expected).max() <= 1e-5 * np.abs(expected).max()
    arrays = mx.nd.load(str(tmp_path / 'net-0000.params')).values()
    found = costs(net, hybrid.shape)
    every = layers(net(mx.sym.var('data')), hybrid.shape)
    assert sum(array.size for array in arrays) == found.parameters == sum(layer.parameters for layer in every)
    assert found.trainable == sum(gradient.size for gradient in hybrid.gradients.values())


@pytest.mark.parametrize('host', sorted(SMALL))
@pytest.mark.parametrize('attention', sorted(ATTENTIONS))
def test_attention_does_not_change_the_rest_of_a_network(host, attention):
    plain, net = (list(parameters_of(small(host, 'atac', **settings)))
                  for settings in ({}, {'attention': attention}))
    assert [key for key in net if '.attention.' not in key] == plain


@pytest.mark.parametrize('host', sorted(SMALL))
def test_reduction_is_passed_to_the_attention(host):
    wide, narrow = ([parameter.shape[0] for key, parameter
                     in parameters_of(small(host, 'se', reduction=reduction)).items()
                     if key.endswith('attention.excite.0.weight')] for reduction in (4, 16))
    assert narrow and wide == [4 * inner for inner in narrow]


# ----------------------------------------------------------------------------------- names

@pytest.mark.parametrize('name, settings', [
    ('cifar_resnet44_v2_swish_se', {'layers': (7,) * 3, 'act_type': 'swish', 'attention': 'se'}),
    ('CIFAR_ResNet20_v2_ATAC_global', {'layers': (3,) * 3, 'act_type': 'ChaATAC', 'useGlobal': True}),
    ('cifar_resnet18_v1_mish_cbam', {'layers': (2,) * 4, 'act_type': 'mish', 'attention': 'cbam'}),
    ('resnet50_v1b_atac_se', {'act_type': 'ChaATAC', 'attention': 'se'}),
    ('resnet50_v1b_se_aa', {'act_type': 'relu', 'attention': 'se', 'self_attention': 'aa'}),
    ('cifar_resnet8_v2_ReLU@17-17-35-68', {
        'layers': (1,) * 3, 'act_type': 'relu', 'channels': [17, 17, 35, 68]}),
])
def test_name_determines_the_host_settings(name, settings):
    assert parse_network_name(name)[1] == settings


@pytest.mark.parametrize('name', [
    'cifar_resnet21_v2_atac', 'cifar_resnet2_v2_atac', 'cifar_resnet0_v2_atac', 'cifar_resnet18_v2_atac',
    'resnet50_v1b_atac_global', 'resnet50_v1b', 'resnet50_v1b_', 'cifar_resnet20_v2_fa', '',
    'resnet50_v1b_relu@64-64', 'cifar_resnet8_v2_relu@', 'cifar_resnet8_v2_relu@16-16-x-64',
    'cifar_resnet8_v2_relu@16--32'])
def test_unknown_names_are_refused(name):
    with pytest.raises(ValueError, match=repr(name)):
        parse_network_name(name)
