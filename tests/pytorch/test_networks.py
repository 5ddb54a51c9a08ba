"""Every network of the zoo computes the same in PyTorch as its twin in Gluon."""
import inspect
import itertools
from functools import partial

import numpy as np
import pytest
from mxnet import gluon

import openatac
from openatac.nn.group_norm import GroupNorm
from openatac.study.costs.gluon_costs import costs
from openatac.zoo.hosts import HOSTS
from openatac.zoo.units import ACTIVATIONS
from tests.helpers.networks.both_libraries import RightSELU, differences, random_network
from tests.helpers.networks.parameters import parameters_of

torch = pytest.importorskip('torch')
pytestmark = pytest.mark.usefixtures('one_torch_thread')

from torch.utils.flop_counter import FlopCounterMode  # noqa: E402  (needs torch)

from openatac import pytorch  # noqa: E402

# {start of a name: (settings, side of the images)}, with one block per stage, since the others repeat it.
REDUCED = {'cifar_resnet18_v1': ({'layers': (1,) * 4, 'channels': (16, 16, 32, 32)}, 16),
           'resnet50_v1b': ({'layers': (1,) * 4, 'classes': 10}, 32), 'cifar_resnet8_v2': ({}, 16)}
NAMES = {name: REDUCED[start] for start in REDUCED for name in openatac.get_model_list()
         if name.startswith(start)}
OTHERS = {'cifar_resnet8_v2_atac_global': {}, 'cifar_resnet8_v2_swish_cbam': {'reduction': 8},
          'cifar_resnet8_v2_atac': {'r': 4, 'useReLU': False, 'act_layers': 2, 'act_order': 'pre',
                                    'replace_act': 'elu', 'channels': (8, 8, 16, 32)},
          'resnet50_v1b_atac': {'avg_down': True, 'dilated': True, 'deep_stem': True, 'act_layers': 4,
                                'use_global_stats': True}}
CASES = [*((name, settings, side) for name, (settings, side) in NAMES.items()),
         *((name, {**REDUCED[start][0], **settings}, REDUCED[start][1]) for name, settings in OTHERS.items()
           for start in REDUCED if name.startswith(start))]


def with_values_of(net, module, x):
    """Return the module in float64, with the values of the Gluon network."""
    module = pytorch.use_biased_variance(module).double()
    module(torch.tensor(x))  # the first image determines the shape of some weights
    module.load_state_dict({name: torch.tensor(parameter.data().asnumpy())
                            for name, parameter in parameters_of(net).items()})
    return module


@pytest.fixture
def few_channels(monkeypatch):
    """ResNet-50 with fewer channels, for which it has no setting."""
    for models in ('openatac.models', 'openatac.pytorch.models'):
        monkeypatch.setattr(f'{models}.resnet_v1b.STAGE_CHANNELS', (32, 32, 48, 64))


@pytest.mark.usefixtures('few_channels')
@pytest.mark.parametrize('name, settings, side', CASES)
def test_network_equals_its_gluon_twin(name, settings, side, monkeypatch):
    monkeypatch.setattr(gluon.nn.SELU, 'hybrid_forward', RightSELU.hybrid_forward)
    net, x = random_network(partial(openatac.get_model, name, **settings), (3, side, side), 'float64')
    module = with_values_of(net, pytorch.get_model(name, **settings), x)
    shapes = {key: parameter.shape for key, parameter in parameters_of(net).items()}
    assert [*shapes.items()] == [(key, tuple(tensor.shape)) for key, tensor in module.state_dict().items()]
    assert {key for key, parameter in parameters_of(net).items() if parameter.grad_req != 'null'} == {
        key for key, _ in module.named_parameters()}
    outputs, gradients, rest, worst = differences(net, module, x)
    assert outputs < 1e-6 and gradients < 2e-5 and rest < 1e-6, (outputs, gradients, worst, rest)
    net.cast('float32')
    counted = costs(net, (3, side, side))
    assert counted.parameters == sum(tensor.numel() for tensor in module.state_dict().values())
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        module.eval()(torch.tensor(x[:1]))
    # aa: PyTorch does not count the products with one pixel
    assert np.isclose(flops.get_total_flops() / 2, counted.multiply_adds, rtol=1e-4 if '_aa' in name else 0)


def test_every_name_has_a_pytorch_network():
    """Networks of other depths have the keys of one that repeats its blocks."""
    assert pytorch.get_model_list is openatac.get_model_list
    for name in openatac.get_model_list():
        if name.startswith('cifar_resnet') and name.endswith(('v2_atac', 'v2_relu')):
            net, module = openatac.get_model(name, classes=7), pytorch.get_model(name, classes=7)
            assert list(parameters_of(net)) == list(module.state_dict())
            assert len(module.output.bias) == 7


@pytest.mark.parametrize('host', HOSTS.values(), ids=lambda host: host.name)
def test_both_factories_repeat_the_declared_arguments(host):
    """Both have the names and defaults of openatac/zoo/host_arguments.py."""
    for factory in (host.gluon, host.torch):
        defaults = {name: parameter.default for name, parameter
                    in inspect.signature(factory).parameters.items() if name != 'kwargs'}
        assert set(defaults) == set(host.arguments)
        for name in set(defaults) - {'norm_layer'}:
            assert defaults[name] == host.arguments[name], name


def test_host_accepts_group_norm():
    build = {'layers': (1,) * 4, 'classes': 4}
    net, x = random_network(partial(openatac.get_model, 'resnet50_v1b_atac', norm_layer=GroupNorm, **build),
                            (3, 32, 32), 'float64')
    module = with_values_of(net, pytorch.get_model(
        'resnet50_v1b_atac', norm_layer=pytorch.GroupNorm, **build), x)
    assert max(differences(net, module, x)[:2]) < 1e-5


def test_last_gamma_starts_at_zero():
    net = pytorch.get_model('resnet50_v1b_atac', layers=(1,) * 4, last_gamma=True)
    assert not net.layer1[0].bn3.gamma.any() and net.layer1[0].bn2.gamma.all()


@pytest.mark.parametrize('name, settings, named', [
    ('cifar_resnet20_v2_attac', {}, 'cifar_resnet20_v2_atac'), ('cifar_resnet21_v2_atac', {}, 'resnet21'),
    *(('cifar_resnet8_v2_atac', {name: value}, named) for name, value, named in [
        ('r', 99, 'r=99'), ('act_layers', 5, 'act_layers.*5'), ('layers', (1, 1), 'layers'),
        ('classes', 0, 'classes'), ('channels', (4, 4, 4, 8), '4, 4, 4, 8')]),
    ('cifar_resnet26_v2_atac', {'pretrained': True}, 'cifar_resnet26_v2_atac'),
    ('cifar_resnet18_v1_atac', {'drop_rate': 1}, 'drop_rate'),
    ('resnet50_v1b_fa', {'deep_stem': True}, 'deep_stem'),
])
def test_errors_equal_those_of_gluon(name, settings, named):
    found = []
    for get_model in (openatac.get_model, pytorch.get_model):
        with pytest.raises(ValueError, match=named) as error:
            get_model(name, **settings)
        found.append(str(error.value))
    assert found[0] == found[1]


def test_registered_units_are_built(restored_registries):
    openatac.register_activation('softsign', lambda channels: gluon.nn.Activation('softsign'),
                                 torch_factory=lambda channels: torch.nn.Softsign())
    openatac.register_activation('gluons', lambda channels: gluon.nn.Activation('softsign'))
    openatac.register_attention('none', None, torch_factory=torch.nn.Identity)
    name = 'cifar_resnet8_v2_softsign'
    net, x = random_network(partial(openatac.get_model, name), (3, 16, 16), 'float64')
    assert max(differences(net, with_values_of(net, pytorch.get_model(name), x), x)[:2]) < 1e-6
    assert pytorch.get_model('cifar_resnet8_v2_none')(torch.zeros(2, 3, 8, 8)).shape == (2, 10)
    with pytest.raises(ValueError, match=r"'gluons'.*torch_factory"):
        pytorch.get_model('cifar_resnet8_v2_gluons')
    with pytest.raises(ValueError, match=r"'none'.* factory"):
        openatac.get_model('cifar_resnet8_v2_none')


class Tiny(torch.nn.Module):
    def __init__(self, classes=4, act_type='relu'):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), ACTIVATIONS.find(act_type).torch(8),
                                          torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
        self.output = torch.nn.Linear(8, classes)

    def forward(self, x):
        return self.output(self.layers(x))


def test_registered_host_is_built(restored_registries):
    openatac.register_host('tiny', None, torch_factory=Tiny)
    assert [*HOSTS.find('tiny').arguments] == ['classes', 'act_type']
    assert pytorch.get_model('tiny_atac', classes=6)(torch.zeros(2, 3, 8, 8)).shape == (2, 6)
    assert set(itertools.chain.from_iterable(name.split('_')[1:] for name in openatac.get_model_list()
                                             if name.startswith('tiny'))) >= {'atac', 'relu', 'xunit'}


def test_network_learns():
    """In a few steps, it learns to tell which half of an image is brighter."""
    torch.manual_seed(0)
    random = np.random.RandomState(0)
    labels = torch.tensor(random.randint(0, 2, 64))
    images = torch.tensor(random.rand(64, 3, 8, 8), dtype=torch.float32)
    images[torch.arange(64), :, labels * 4] += 2
    net = pytorch.get_model('cifar_resnet8_v2_atac', classes=2, channels=(8, 8, 12, 16))
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, nesterov=True)
    for _ in range(15):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(images), labels).backward()
        optimizer.step()
    assert (net.eval()(images).argmax(1) == labels).float().mean() > 0.95
