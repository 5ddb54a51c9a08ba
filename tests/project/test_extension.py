"""Extensions that only this file defines, each registered by one call.

They are an activation, an attention block, a host, an export form, a runtime and a backend.
"""
import csv
import json
import os
import shutil
from typing import ClassVar

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd
from mxnet.gluon import nn
from mxnet.gluon.block import HybridBlock
from numpy.lib.stride_tricks import sliding_window_view

import openatac
import train_cifar
from openatac import cli
from openatac.backends.mxnet.backend import MxnetBackend
from openatac.backends.registry import BACKENDS
from openatac.errors import OpenatacError
from openatac.export.forms.base import FORMS, Form, form_of, prefix_of
from openatac.export.forms.symbol_files import export_symbol, load_block
from openatac.export.manifest import read_manifest
from openatac.export.networks.trained_network import load_model
from openatac.export.parity import REORDERED_TOLERANCE
from openatac.export.runtimes.base import RUNTIMES, Runtime, open_runtime, runtime_for, runtimes_of
from openatac.files.checksums import sha256
from openatac.models.weights import save_parameters
from openatac.registry import bind
from openatac.study.comparison.sweep import unit_flags
from openatac.study.costs.count import costs
from openatac.study.costs.named_costs import costs_by_name
from openatac.study.gates.gluon_gates import unit_gates
from openatac.training.networks.build import build_network
from openatac.training.networks.resolve import resolve
from openatac.zoo.names import HOSTS
from openatac.zoo.units import ACTIVATIONS, ATTENTIONS
from tests.helpers.images.made_up_images import encoded, smooth
from tests.helpers.networks.imagenet_hosts import in_resnets_place, shallow_host
from tests.helpers.networks.parameters import parameters_of
from tests.helpers.processes.scripts import config_of, error_line, json_of, run_in_process

BATCH = 4


class Gated(HybridBlock):
    """x * sigmoid(slope * x) with a slope per channel, divided by r."""

    def __init__(self, channels, r=1, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.slope = self.params.get('slope', shape=(1, channels, 1, 1), init=mx.init.Constant(1 / r))

    def hybrid_forward(self, F, x, slope):
        return x * F.sigmoid(F.broadcast_mul(x, slope))


class Scale(HybridBlock):
    """x times a weight per channel, whose initial value is the reduction ratio."""

    def __init__(self, channels, reduction=16, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.weight = self.params.get('weight', shape=(1, channels, 1, 1),
                                          init=mx.init.Constant(reduction))

    def hybrid_forward(self, F, x, weight):
        return F.broadcast_mul(x, weight)


class Tiny(HybridBlock):
    """A convolution, an activation and an attention block, in one stage."""

    def __init__(self, classes=10, act_type='relu', attention=None, r=2, reduction=16, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.features = nn.HybridSequential(prefix='part1_')
            with self.features.name_scope():
                self.features.add(nn.Conv2D(8, 3, strides=2, padding=1, in_channels=3),
                                  bind(ACTIVATIONS.find(act_type).gluon, r=r)(8))
                if attention is not None:
                    self.features.add(bind(ATTENTIONS.find(attention).gluon, reduction=reduction)(8))
            self.pool = nn.GlobalAvgPool2D()
            self.head = nn.Dense(classes, in_units=8)

    def hybrid_forward(self, F, x):
        return self.head(self.pool(self.features(x)))


class Weights(Form):
    """The export form: the four arrays of Tiny with ReLU, written by NumPy."""

    name = 'npz'
    suffixes = ('.npz',)
    runtime = 'numpy-loop'
    flags = ('--npz',)
    help = 'also OUT.npz'

    def write(self, network, prefix):
        np.savez(*self.files(prefix), *(array.asnumpy() for array in network.arrays.values()))


class InNumpy(Runtime):
    """The runtime: Tiny with ReLU in NumPy."""

    name = 'numpy-loop'
    form = Weights()

    def load(self):
        with np.load(*self.form.files(self.prefix)) as arrays:
            self.arrays = list(arrays.values())

    def run(self, images):
        kernel, bias, head, head_bias = self.arrays
        padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
        maps = np.einsum('bchwij,ocij->bohw', windows, kernel) + bias[:, None, None]
        return np.maximum(maps, 0).mean(axis=(2, 3)) @ head.T + head_bias


class Reordered(MxnetBackend):
    """The backend: MXNet with the images in another order."""

    orders: ClassVar[list[int]] = []

    def training_batches(self, images, batch_size, seed):
        self.orders.append(seed)
        return super().training_batches(images, batch_size, seed + 1)


def float32_only(config):
    if config.compute.dtype != 'float32':
        raise ValueError(f'argument --dtype: {config.compute.dtype} is not for --engine reordered')


@pytest.fixture(autouse=True)
def registered():
    openatac.register_activation('Gated', Gated, alias='gate')
    openatac.register_attention('MyScale', Scale, alias='scale')
    openatac.register_host('Tiny_v1', Tiny, input_shape=(3, 32, 32), data='cifar', stages=1,
                           stage_prefix='part', output='head')
    openatac.register_form(Weights())
    openatac.register_runtime(InNumpy)
    openatac.register_backend('reordered', Reordered, check=float32_only)
    yield
    BACKENDS.unregister('reordered')
    RUNTIMES.unregister('numpy-loop')
    FORMS.unregister('npz')
    ACTIVATIONS.unregister('gate')
    ATTENTIONS.unregister('scale')
    HOSTS.unregister('tiny_v1')


NAMES = ['cifar_resnet8_v2_gate', 'cifar_resnet8_v2_scale', 'cifar_resnet8_v2_gate_scale', 'tiny_v1_relu',
         'tiny_v1_atac_se', 'tiny_v1_gate_scale', 'cifar_resnet18_v1_gate', 'resnet50_v1b_gate_scale']


def small(name):
    settings = {'layers': [1] * 4, 'channels': (8, 8, 8, 16)} if name.startswith('cifar_resnet18') else {}
    with in_resnets_place(shallow_host()):
        net = openatac.get_model(name, classes=5, reduction=2, **settings)
    mx.random.seed(1)
    net.initialize(mx.init.MSRAPrelu())
    return net


def images():
    return mx.nd.array(np.random.RandomState(0).randn(BATCH, 3, 32, 32))


def one_step(name, hybrid):
    """Return the output of a training step and {parameter: gradient}."""
    net = small(name)
    net.hybridize(hybrid)
    weights = mx.nd.array(np.random.RandomState(1).randn(BATCH, 5))
    with autograd.record():
        output = net(images())
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
    net = small(name)
    expected = net(images()).asnumpy()
    export_symbol(net, str(tmp_path / 'net'), (3, 32, 32))
    assert np.abs(load_block(str(tmp_path / 'net'))(images()).asnumpy() - expected).max() <= (
        1e-5 * np.abs(expected).max())
    arrays = mx.nd.load(str(tmp_path / 'net-0000.params')).values()
    assert costs(net, (3, 32, 32)).parameters == sum(array.size for array in arrays)


def test_costs_are_known_by_name():
    plain, gated = (costs_by_name('tiny_v1_' + unit, (3, 32, 32)) for unit in ('relu', 'gate'))
    assert plain.parameters == 8 * 27 + 8 + 10 * 8 + 10
    assert gated.parameters == plain.parameters + 8


def test_settings_are_passed_to_the_registered_units():
    net = small('tiny_v1_gate_scale')
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
    assert host.settings == ('classes', 'act_type', 'attention', 'r', 'reduction')
    assert isinstance(host.gluon(classes=3, act_type='GATED'), Tiny)


@pytest.mark.parametrize('flags, name', [
    (['--model', 'tiny_v1_scale'], 'tiny_v1_scale'),
    (['--model', 'tiny_v1_gate'], 'tiny_v1_gate'),
    (['--act-type', 'gate', '--attention', 'SCALE', '--blocks', '1'], 'cifar_resnet8_v2_gate_scale'),
])
def test_train_cifar_builds_a_registered_unit(flags, name):
    config = resolve(config_of(train_cifar, *flags))
    net, built = build_network(config)
    net.initialize()
    assert built == name and net(images()).shape == (BATCH, 10)
    assert config.network.act_type in ('relu', 'Gated') and config.network.attention in (None, 'MyScale')


@pytest.mark.parametrize('flags', [['--drop-rate', '0.5'], ['--act-layers', '2'], ['--useReLU']])
def test_setting_that_the_host_lacks_is_refused(flags, capsys):
    code = run_in_process('--model', 'tiny_v1_gate', *flags, '--summary')
    assert code == 2 and f'{flags[0]}: ' in error_line(code, capsys.readouterr().err)


def test_comparison_names_a_registered_unit():
    assert unit_flags('gate') == ['--act-type', 'Gated']
    assert unit_flags('scale') == ['--act-type', 'relu', '--attention', 'MyScale']


def test_parameter_file_export_uses_the_registered_hosts_settings(tmp_path):
    net = small('tiny_v1_gate')
    save_parameters(net, str(tmp_path / 'net.params'))
    found = load_model('tiny_v1_gate', str(tmp_path / 'net.params'), r=2)
    assert (found.manifest.classes, found.manifest.image_shape) == (5, (3, 32, 32))
    assert (found.net(images()).asnumpy() == net(images()).asnumpy()).all()


class WithoutBias(HybridBlock):
    """One dense layer without bias, under another name than in the hosts."""

    def __init__(self, classes=4, act_type='relu', **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.last = nn.Dense(classes, use_bias=False, in_units=3 * 32 * 32)

    def hybrid_forward(self, F, x):
        return self.last(F.flatten(x))


@pytest.fixture
def without_bias():
    openatac.register_host('without_bias', WithoutBias)
    yield 'without_bias_relu'
    HOSTS.unregister('without_bias')


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
    gates = unit_gates(small('tiny_v1_gate'))
    assert [(gate.layer, gate.stage, gate.unit) for gate in gates] == [('features.1', '1', 'Gated')]


def test_registered_unit_can_replace_and_be_replaced():
    net = small('tiny_v1_relu')
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


# ------------------------------------------------------------------------- forms and runtimes

def export(folder, *flags):
    """Run `openatac export` for Tiny with ReLU; return (exit code, PREFIX)."""
    save_parameters(small('tiny_v1_relu'), str(folder / 'net.params'))
    prefix = str(folder / 'export' / 'net')
    return cli.main(['export', 'tiny_v1_relu', str(folder / 'net.params'), prefix, *flags]), prefix


@pytest.fixture
def exported(tmp_path):
    """The PREFIX of an export with the registered form."""
    code, prefix = export(tmp_path, '--npz')
    assert code == 0
    return prefix


def test_registered_form_is_exported_and_listed_in_the_manifest(exported):
    manifest = read_manifest(exported)
    assert list(manifest.reports) == ['symbol', 'npz']
    report = manifest.reports['npz']
    assert report['max_difference'] <= REORDERED_TOLERANCE and report['top1_agreement'] == 1
    assert report['bytes'] == os.path.getsize(exported + '.npz')
    assert manifest.sha256 == {suffix: sha256(exported + suffix)
                               for suffix in ('-symbol.json', '-0000.params', '.npz')}
    assert form_of(exported + '.npz').name == 'npz' and prefix_of(exported + '.npz') == exported


def test_later_export_removes_files_of_a_registered_form(exported, tmp_path):
    assert export(tmp_path) == (0, exported)
    assert sorted(os.listdir(tmp_path / 'export')) == ['net-0000.params', 'net-symbol.json', 'net.json']


def test_form_with_other_outputs_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Weights, 'write', lambda self, network, prefix: np.savez(
        prefix + '.npz', *(1.01 * array.asnumpy() for array in network.arrays.values())))
    code, prefix = export(tmp_path, '--npz')
    error, = capsys.readouterr().err.splitlines()
    assert code == 1 and 'npz' in error and not os.listdir(os.path.dirname(prefix))


def test_flag_of_an_unregistered_form_is_unknown(tmp_path):
    FORMS.unregister('npz')
    with pytest.raises(SystemExit) as end:
        export(tmp_path, '--npz')
    openatac.register_form(Weights())
    assert end.value.code == 2


def test_registered_runtime_predicts(exported, tmp_path, capsys):
    assert runtime_for(exported + '.npz') == 'numpy-loop' and 'numpy-loop' in runtimes_of(exported)
    (tmp_path / 'a.png').write_bytes(encoded(smooth(), 'PNG'))

    def scores(*words):
        capsys.readouterr()
        assert cli.main(['predict', *words, str(tmp_path / 'a.png'), '--json']) == 0
        return {each['class']: each['score']
                for each in json.loads(capsys.readouterr().out)['predictions']}

    expected = pytest.approx(scores(exported, '--engine', 'static'), abs=1e-5)
    assert scores(exported, '--engine', 'numpy-loop') == expected and scores(exported + '.npz') == expected


def test_files_of_a_registered_form_are_checked_before_loading(exported):
    open_runtime(exported, 'numpy-loop')
    with open(exported + '.npz', 'r+b') as handle:
        handle.seek(200)
        handle.write(b'!')
    with pytest.raises(OpenatacError, match=r'net\.npz'):
        open_runtime(exported, 'numpy-loop')
    os.unlink(exported + '.npz')
    with pytest.raises(OpenatacError, match=r'net\.npz'):
        open_runtime(exported, 'numpy-loop')


def test_registered_runtime_is_benchmarked_in_its_own_process(exported, tmp_path):
    out = str(tmp_path / 'speed')
    assert cli.main(['bench', exported, '--engines', 'static,numpy-loop', '--rounds', '1',
                     '--seconds', '0.01', '--batch-sizes', '2', '--out', out]) == 0
    with open(out + '.csv', newline='', encoding='utf-8') as handle:
        rows = list(csv.DictReader(handle))
    assert [row['engine'] for row in rows] == ['static', 'numpy-loop']
    assert all(float(row['difference']) < 1e-4 for row in rows)


class OnnxToo(Weights):
    name = 'onnx2'
    suffixes = ('.onnx',)


@pytest.mark.parametrize('register, value', [
    (lambda: openatac.register_form(Weights()), 'npz'),
    (lambda: openatac.register_form(OnnxToo()), 'onnx'),
    (lambda: openatac.register_runtime(InNumpy), 'numpy-loop'),
    (lambda: openatac.register_backend('mxnet', Reordered), 'mxnet'),
])
def test_names_in_use_are_refused(register, value):
    before = list(FORMS), list(RUNTIMES), list(BACKENDS)
    with pytest.raises(ValueError, match=value):
        register()
    assert (list(FORMS), list(RUNTIMES), list(BACKENDS)) == before


# ------------------------------------------------------------------------------------- a backend

def test_registered_backend_trains_and_resumes_to_the_same_bits(cifar10, tmp_path):
    def train():
        assert run_in_process('--engine', 'reordered', '--model', 'tiny_v1_gate', '--data-dir', cifar10,
                              '--batch-size', 50, '--num-epochs', 3, '--lr', 0.05, '--seed', 3,
                              '--resume', 'auto', '--save-dir', folder) == 0
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob('*.params')}

    folder = tmp_path / 'run'
    whole = train()
    assert json_of(folder, 'settings.json')['engine'] == 'reordered' and 3 in Reordered.orders
    shutil.rmtree(sorted((folder / 'checkpoints').iterdir())[-1])  # as if killed in its last epoch
    (folder / 'last.params').unlink()
    assert train() == whole


def test_backend_refuses_options_that_it_lacks(cifar10, tmp_path, capsys):
    code = run_in_process('--engine', 'reordered', '--dtype', 'float16', '--data-dir', cifar10,
                          '--save-dir', tmp_path / 'run')
    assert code == 2 and '--dtype: float16' in error_line(code, capsys.readouterr().err)
    assert not (tmp_path / 'run').exists()
