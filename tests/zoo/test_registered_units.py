"""Activations, attention blocks and hosts, each registered by one call, work like the package's own."""
import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd
from mxnet.gluon import nn
from mxnet.gluon.block import HybridBlock

import openatac
import train_cifar
from openatac import cli
from openatac.export.exported_symbol import load_block
from openatac.models.weights import save_parameters
from openatac.study.comparison.sweep import unit_flags
from openatac.study.costs.gluon_costs import costs
from openatac.study.costs.named_costs import costs_by_name_or_file
from openatac.study.gates.gluon_gates import unit_gates
from openatac.trained.manifest import read_manifest
from openatac.trained.trained_network import load_model
from openatac.training.networks.build import build_network
from openatac.training.networks.named_options import with_named_options
from openatac.zoo.hosts import HOSTS
from openatac.zoo.units import ACTIVATIONS, ATTENTIONS
from tests.helpers.exports.exporting import write_symbol
from tests.helpers.images.random_images import random_images
from tests.helpers.networks.parameters import parameters_of
from tests.helpers.networks.toys import BATCH, Gated, Scale, Tiny, small_toy
from tests.helpers.processes.scripts import config_of, script_error

pytestmark = pytest.mark.usefixtures('toys')

NAMES = ['cifar_resnet8_v2_gate', 'cifar_resnet8_v2_scale', 'cifar_resnet8_v2_gate_scale', 'tiny_v1_relu',
         'tiny_v1_atac_se', 'tiny_v1_gate_scale', 'cifar_resnet18_v1_gate', 'resnet50_v1b_gate_scale']


def one_step(name, hybrid):
    """Return the output of a training step and {parameter: gradient}."""
    net = small_toy(name)
    net.hybridize(hybrid)
    weights = mx.nd.array(np.random.RandomState(1).randn(BATCH, 5))
    with autograd.record():
        output = net(random_images(BATCH, 3, 32, 32))
        loss = (output * weights).sum()
    loss.backward()
    return output.asnumpy(), {name: parameter.grad().asnumpy() for name, parameter
                              in parameters_of(net).items() if parameter.grad_req != 'null'}


@pytest.mark.parametrize('name', NAMES)
def test_registered_network_trains_alike_hybridized_and_imperative(name):
    (expected, gradients), (output, found) = one_step(name, hybrid=False), one_step(name, hybrid=True)
    assert output.shape == (BATCH, 5)
    assert np.abs(output - expected).max() <= 1e-4 * np.abs(expected).max()
    largest = max(np.abs(gradient).max() for gradient in gradients.values())
    for key, gradient in gradients.items():
        assert (gradient != 0).any(), key
        assert np.abs(found[key] - gradient).max() <= 1e-2 * np.abs(gradient).max() + 1e-4 * largest, key
    of_toys = [key for key in gradients if key.endswith(('.slope', 'attention.weight', 'features.2.weight'))]
    assert bool(of_toys) == ('gate' in name or 'scale' in name)


@pytest.mark.parametrize('name', NAMES)
def test_export_computes_the_same_and_costs_match_its_arrays(name, tmp_path):
    net = small_toy(name)
    x = random_images(BATCH, 3, 32, 32)
    expected = net(x).asnumpy()
    write_symbol(net, str(tmp_path / 'net'))
    assert np.abs(load_block(str(tmp_path / 'net'))(x).asnumpy() - expected).max() <= (
        1e-5 * np.abs(expected).max())
    arrays = mx.nd.load(str(tmp_path / 'net-0000.params')).values()
    assert costs(net, (3, 32, 32)).parameters == sum(array.size for array in arrays)


def test_costs_are_known_by_name():
    plain, gated = (costs_by_name_or_file('tiny_v1_' + unit, (3, 32, 32)) for unit in ('relu', 'gate'))
    assert plain.parameters == 8 * 27 + 8 + 10 * 8 + 10
    assert gated.parameters == plain.parameters + 8


def test_settings_are_passed_to_the_registered_units():
    net = small_toy('tiny_v1_gate_scale')
    values = {key: parameter.data().asnumpy() for key, parameter in parameters_of(net).items()}
    assert (values['features.1.slope'] == 1 / 2).all() and (values['features.2.weight'] == 2).all()


def test_model_list_has_every_host_with_every_unit():
    names = openatac.get_model_list()
    assert {'tiny_v1_atac', 'tiny_v1_gate', 'tiny_v1_scale', 'resnet50_v1b_gate',
            'cifar_resnet110_v2_scale'} <= set(names)
    assert len({name for name in names if name.startswith('tiny_v1_')}) == len(list(ACTIVATIONS)) + len(
        list(ATTENTIONS))
    assert not any('tiny_v1_aa' in name or name.endswith('gate_scale') for name in names)


def test_registered_host_is_built_by_name():
    host = HOSTS.find('TINY_v1')
    assert [*host.arguments] == ['classes', 'act_type', 'attention', 'r', 'reduction']
    assert isinstance(host.gluon(classes=3, act_type='GATED'), Tiny)


@pytest.mark.parametrize('flags, name', [
    (['--model', 'tiny_v1_scale'], 'tiny_v1_scale'),
    (['--model', 'tiny_v1_gate'], 'tiny_v1_gate'),
    (['--act-type', 'gate', '--attention', 'SCALE', '--blocks', '1'], 'cifar_resnet8_v2_gate_scale'),
])
def test_train_cifar_builds_a_registered_unit(flags, name):
    config = with_named_options(config_of(train_cifar, *flags))
    built = build_network(config)
    built.net.initialize()
    assert built.name == name and built.net(random_images(BATCH, 3, 32, 32)).shape == (BATCH, 10)
    assert config.network.act_type in ('relu', 'Gated') and config.network.attention in (None, 'MyScale')


@pytest.mark.parametrize('flags', [['--drop-rate', '0.5'], ['--act-layers', '2'], ['--useReLU']])
def test_setting_that_the_host_lacks_is_refused(flags, capsys):
    assert f'{flags[0]}: ' in script_error(capsys, 2, '--model', 'tiny_v1_gate', *flags, '--summary')


def test_comparison_names_a_registered_unit():
    assert unit_flags('gate') == ['--act-type', 'Gated']
    assert unit_flags('scale') == ['--act-type', 'relu', '--attention', 'MyScale']


def test_parameter_file_export_uses_the_registered_hosts_settings(tmp_path):
    net = small_toy('tiny_v1_gate')
    save_parameters(net, str(tmp_path / 'net.params'))
    found = load_model('tiny_v1_gate', str(tmp_path / 'net.params'), r=2)
    assert (found.manifest.classes, found.manifest.image_shape) == (5, (3, 32, 32))
    x = random_images(BATCH, 3, 32, 32)
    assert (found.net(x).asnumpy() == net(x).asnumpy()).all()


class WithoutBias(HybridBlock):
    """One dense layer without bias, under another name than in the hosts."""

    def __init__(self, classes=4, act_type='relu', **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.last = nn.Dense(classes, use_bias=False, in_units=3 * 32 * 32)

    def hybrid_forward(self, F, x):
        return self.last(F.flatten(x))


@pytest.fixture
def without_bias(restored_registries):
    openatac.register_host('without_bias', WithoutBias)
    return 'without_bias_relu'


@pytest.mark.parametrize('classes', [4, 7])
def test_export_with_a_biasless_head_finds_its_number_of_classes(classes, without_bias, tmp_path):
    net = openatac.get_model(without_bias, classes=classes)
    net.initialize()
    save_parameters(net, str(tmp_path / 'net.params'))
    prefix = str(tmp_path / 'net')
    assert cli.main(['export', without_bias, prefix + '.params', prefix,
                     *(['--classes', str(classes)] if classes != 4 else [])]) == 0
    assert read_manifest(prefix).classes == classes


def test_gates_of_a_registered_unit_are_found_in_its_stage():
    gates = unit_gates(small_toy('tiny_v1_gate'))
    assert [(gate.layer, gate.stage, gate.unit) for gate in gates] == [('features.1', '1', 'Gated')]


def test_registered_unit_can_replace_and_be_replaced():
    net = small_toy('tiny_v1_relu')
    assert openatac.replace_activations(net, 'gate', image_shape=(3, 32, 32), r=4) == ['features.1']
    assert isinstance(net.features[1], Gated)
    assert openatac.replace_activations(net, 'atac', image_shape=(3, 32, 32)) == ['features.1']
    assert isinstance(net.features[1], openatac.ChaATAC)


@pytest.mark.parametrize('register, name', [
    (openatac.register_attention, 'global'), (openatac.register_activation, 'atac_se')])
def test_ambiguous_unit_name_is_refused(register, name):
    before = [*ACTIVATIONS], [*ATTENTIONS]
    with pytest.raises(ValueError, match=name):
        register(name, lambda channels, **_: mx.gluon.nn.Identity())
    assert ([*ACTIVATIONS], [*ATTENTIONS]) == before


def test_unregistered_unit_is_unknown():
    openatac.register_activation('brief', Gated)
    ACTIVATIONS.unregister('Brief')
    assert 'tiny_v1_brief' not in openatac.get_model_list()
    with pytest.raises(ValueError, match='tiny_v1_brief'):
        openatac.get_model('tiny_v1_brief')


@pytest.mark.parametrize('register, value', [
    (lambda: openatac.register_activation('ReLU', Gated), 'relu'),
    (lambda: openatac.register_activation('other', Gated, alias='atac'), 'atac'),
    (lambda: openatac.register_activation('se', Gated), 'se'),
    (lambda: openatac.register_activation('swish_se', Gated), 'swish_se'),
    (lambda: openatac.register_activation('a-b', Gated), 'a-b'),
    (lambda: openatac.register_attention('swish', Scale), 'swish'),
    (lambda: openatac.register_attention('', Scale), "''"),
    (lambda: openatac.register_host('resnet50_v1b', Tiny), 'resnet50_v1b'),
    (lambda: openatac.register_host('other', Tiny, data='mnist'), 'mnist'),
    (lambda: openatac.register_host('other', lambda classes: None), 'act_type'),
    (lambda: openatac.register_host('other', Tiny, blocks=(1, 2)), 'layers'),
    (lambda: openatac.register_host('other', Tiny, title='other{depth}'), 'depth'),
])
def test_invalid_registrations_are_refused(register, value):
    before = list(ACTIVATIONS), list(ATTENTIONS), list(HOSTS)
    with pytest.raises(ValueError, match=f'(?i){value}'):
        register()
    assert (list(ACTIVATIONS), list(ATTENTIONS), list(HOSTS)) == before
