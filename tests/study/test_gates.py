"""Gate statistics equal NumPy's over gates computed layer by layer; `openatac gates` analyses runs."""
import contextlib
import io
import json
import os
import sys
import weakref
from functools import partial

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd
from mxnet.gluon import nn
from PIL import Image

import train_imagenet
from openatac import get_model
from openatac.graph.gates import find_gates
from openatac.graph.nodes import Graph
from openatac.models.weights import load_parameters, save_parameters
from openatac.nn.atac import ChaATAC
from openatac.nn.attention import CBAM
from openatac.nn.gather_excite import GatherExcite
from openatac.nn.squeeze_excite import SEBlock
from openatac.options.declaration import values
from openatac.registry import bind
from openatac.study.gates.gate_sums import COLUMNS
from openatac.study.gates.gluon_gates import gate_statistics, unit_gates
from openatac.training.networks.build import build_network
from openatac.zoo.units import ACTIVATIONS, ATTENTIONS
from tests.helpers.images.made_up_images import write_data_dir
from tests.helpers.networks.parameters import parameters_of
from tests.helpers.processes.commands import call_command, rows_of
from tests.helpers.processes.scripts import config_of, json_of, run_in_process

C = 6


def network(*units):
    """Return a network of the units in sequence, with trained values and running statistics."""
    net = nn.HybridSequential()
    net.add(*units)
    net.initialize(mx.init.Normal(0.7))
    x = images(9, seed=1)
    x.attach_grad()
    with autograd.record():
        loss = net(x).square().sum()
    loss.backward()
    return net


def images(count, seed=0, side=5):
    values = np.random.RandomState(seed).normal(0.3, 2, (count, C, side, side + 1))
    return mx.nd.array(values * np.arange(1, C + 1)[:, None, None])


def expected(gate, x):
    """Return the statistics from 'mean' on, for a complete gate and its unit's complete input."""
    gate = np.broadcast_to(gate, x.shape).astype('float64')
    mask = (x > 0).astype('float64')
    parts = np.array([gate.mean((0, 2, 3)).var(), gate.mean((2, 3)).var(0).mean(), gate.var((2, 3)).mean()])
    assert np.isclose(parts.sum(), gate.var())
    return [gate.mean(), gate.std(), *parts / gate.var(), (gate < 0.1).mean(), (gate > 0.9).mean(),
            mask.mean(), np.corrcoef(gate.ravel(), mask.ravel())[0, 1]]


def numbers(row):
    return [row[column] for column in COLUMNS[COLUMNS.index('mean'):]]


# --------------------------------------------------------------------------- the statistics

def test_statistics_over_batches_equal_those_of_all_gates():
    local, pooled, se = units = ChaATAC(C), ChaATAC(C, useGlobal=True), SEBlock(C, reduction=2)
    net, x = network(*units), images(7)
    rows = gate_statistics(net, [x.asnumpy()[:4], x.asnumpy()[4:]])
    assert [(row['layer'], row['unit'], row['channels'], row['height'], row['width'], row['images'])
            for row in rows] == [('0', 'ChaATAC', C, 5, 6, 7), ('1', 'global ChaATAC', C, 5, 6, 7),
                                 ('2', 'SEBlock', C, 5, 6, 7)]
    assert numbers(rows[0]) == pytest.approx(expected(local.module(x).asnumpy(), x.asnumpy()), abs=1e-5)
    x = local(x)
    assert numbers(rows[1]) == pytest.approx(expected(pooled.module(x).asnumpy(), x.asnumpy()), abs=1e-5)
    x = pooled(x).asnumpy()
    squeeze, back = se.excite[0].weight.data().asnumpy(), se.excite[2].weight.data().asnumpy()
    gate = 1 / (1 + np.exp(-np.maximum(0, x.mean((2, 3)) @ squeeze.T) @ back.T))
    assert numbers(rows[2]) == pytest.approx(expected(gate[:, :, None, None], x), abs=1e-5)
    assert rows[0]['between_pixels'] > 0.01 and rows[1]['between_pixels'] == rows[2]['between_pixels'] == 0


@pytest.mark.parametrize('size', [1, 2, 4])
def test_statistics_do_not_depend_on_the_batch_size(size):
    net, x = network(ChaATAC(C), CBAM(C, reduction=2)), images(7).asnumpy()
    whole = gate_statistics(net, [x])
    parts = gate_statistics(net, [x[start:start + size] for start in range(0, 7, size)])
    for one, other in zip(whole, parts):
        assert one['images'] == other['images'] == 7
        assert numbers(one) == pytest.approx(numbers(other), abs=1e-6)


def test_batches_are_read_one_at_a_time():
    def batches():
        given = []
        for seed in range(5):
            assert sum(reference() is not None for reference in given) <= 1  # the last one
            batch = images(2, seed).asnumpy()
            given.append(weakref.ref(batch))
            yield batch
            del batch

    assert gate_statistics(network(ChaATAC(C)), batches())[0]['images'] == 10


def test_constant_gates_have_no_correlation_or_variance_parts():
    net, x = network(SEBlock(C, reduction=2)), images(3).asnumpy()
    for parameter in net.collect_params().values():
        parameter.set_data(parameter.data() * 0)
    assert numbers(gate_statistics(net, [x])[0]) == [
        0.5, 0.0, None, None, None, 0.0, 0.0, pytest.approx((x > 0).mean()), None]
    *others, mask_mean, correlation = numbers(gate_statistics(network(ChaATAC(C)), [abs(x) + 1])[0])
    assert None not in others and mask_mean == 1 and correlation is None


GATED = {'ge, extent 2': lambda: GatherExcite(C, extent=2, variant='theta'),
         **{name: partial(bind(ATTENTIONS.find(name).gluon, reduction=2), C)
            for name in ATTENTIONS if name != 'nin'},
         **{name: partial(ACTIVATIONS.find(name).gluon, C) for name in ('swish', 'mish', 'xunit', 'ChaATAC')}}


@pytest.mark.parametrize('name', GATED)
def test_output_is_the_input_times_the_gates(name):
    net, x = network(GATED[name]()), images(3)
    gates = unit_gates(net)
    assert [gate.layer for gate in gates] == (['0:1', '0:2'] if name == 'cbam' else ['0'])
    inside = mx.gluon.SymbolBlock(Graph([gates[0].x, *(gate.factor for gate in gates)]).symbol(),
                                  mx.sym.var('data', dtype='float32'), params=net.collect_params())
    source, *factors = [values.asnumpy() for values in inside(x)]
    assert np.array_equal(source, x.asnumpy())
    for factor in factors:
        assert factor.min() > -1e-5 and factor.max() < 1 + 1e-5  # MXNet's tanh rounds below 0
        source = source * factor
    assert np.allclose(source, net(x).asnumpy(), atol=1e-5)


@pytest.mark.parametrize('unit', ['relu', 'prelu', 'elu', 'selu', 'gelu', 'frelu', 'sine', 'nin'])
def test_units_without_gates_have_none(unit):
    net = get_model('cifar_resnet8_v2_' + unit)
    assert unit_gates(net) == [] == find_gates(Graph.of(net(mx.sym.var('data'))))


@pytest.mark.parametrize('name', [
    'cifar_resnet8_v2_atac', 'cifar_resnet8_v2_atac_global', 'cifar_resnet8_v2_mish_cbam',
    'cifar_resnet8_v2_swish', 'cifar_resnet8_v2_xunit_ge', 'cifar_resnet8_v2_relu', 'resnet50_v1b_lca'])
def test_gates_in_pytorch_equal_those_in_gluon(name, tmp_path):
    of_module = pytest.importorskip('openatac.study.gates.module_gates', reason='needs PyTorch')
    from openatac import pytorch
    settings = {'layers': (1, 1, 1, 1)} if name.startswith('resnet50') else {}
    net, module = get_model(name, **settings), pytorch.get_model(name, **settings)
    x = np.random.RandomState(0).normal(size=(3, 3, 32, 32)).astype('float32')
    net.initialize(mx.init.MSRAPrelu())
    net(mx.nd.array(x))
    save_parameters(net, str(tmp_path / 'net.params'))
    pytorch.load_parameters(module, tmp_path / 'net.params')
    expected = gate_statistics(net, [x[:2], x[2:]])
    found = of_module.gate_statistics(module, [x[:2], x[2:]])
    counts = {'cifar_resnet8_v2_relu': 0, 'cifar_resnet8_v2_mish_cbam': 13, 'cifar_resnet8_v2_xunit_ge': 10,
              'resnet50_v1b_lca': 4}
    assert len(found) == len(expected) == counts.get(name, 7)
    for row, other in zip(found, expected):
        assert row == pytest.approx(other, abs=1e-4)


def test_gates_are_found_in_the_layers_of_each_host():
    def found(name, **settings):
        return [(gate.layer, gate.stage, gate.unit) for gate in unit_gates(get_model(name, **settings))]

    assert found('cifar_resnet8_v2_atac', attention='se', act_layers=2) == [
        ('features.2.0.attention', '1', 'SEBlock'), ('features.3.0.attention', '2', 'SEBlock'),
        ('features.4.0.msAA1', '3', 'ChaATAC'), ('features.4.0.msAA2', '3', 'ChaATAC'),
        ('features.4.0.attention', '3', 'SEBlock'), ('features.6', '', 'ChaATAC')]
    blocks = '1.0', '2.0', '2.1', '3.0', '4.0'
    assert found('resnet50_v1b_lca', layers=(1, 2, 1, 1)) == [
        (f'layer{block}.attention', block[0], 'LocalSEBlock') for block in blocks]


# ------------------------------------------------------------------------------ the command

@pytest.fixture(scope='module')
def runs(cifar10, tmp_path_factory):
    """{name: folder} of short runs of train_cifar.py."""
    units = {'atac': ['--act-type', 'ChaATAC', '--useReLU'], 'relu': ['--act-type', 'relu'],
             'global': ['--act-type', 'ChaATAC', '--useGlobal'],
             'se': ['--act-type', 'relu', '--attention', 'se']}
    folder = tmp_path_factory.mktemp('runs')
    for name, flags in units.items():
        assert run_in_process('--data-dir', cifar10, '--blocks', 1, '--batch-size', 50, '--num-epochs', 1,
                              '--lr', 0.05, '--save-dir', folder / name, *flags) == 0
    return {name: str(folder / name) for name in units}


def gates(*arguments):
    """Run `openatac gates`; return its exit code."""
    return call_command('gates', *arguments)


def colours_of(path):
    with Image.open(path) as picture:
        assert picture.format == 'PNG' and min(picture.size) > 800
        return {colour for count, colour in picture.convert('RGB').getcolors(picture.width * picture.height)
                if count > 100}


@pytest.fixture(scope='module')
def of_three(runs, tmp_path_factory):
    """(PREFIX of the files about three runs, the printed table)."""
    out, printed = tmp_path_factory.mktemp('three') / 'made' / 'gates', io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert gates(runs['atac'], runs['global'], runs['se'], '--out', out) == 0
    return out, printed.getvalue()


def test_file_has_a_row_for_each_gate_of_each_run(of_three):
    rows = rows_of(f'{of_three[0]}.csv')
    assert tuple(rows[0]) == ('run', 'network', 'dataset', 'parameters', *COLUMNS)
    activations = ['features.2.0.msAA1', 'features.2.0.msAA2', 'features.3.0.msAA1', 'features.3.0.msAA2',
                   'features.4.0.msAA1', 'features.4.0.msAA2', 'features.6']
    for name, unit, layers, stages in (
            ('atac', 'ChaATAC', activations, '112233'), ('global', 'global ChaATAC', activations, '112233'),
            ('se', 'SEBlock', [f'features.{stage}.0.attention' for stage in (2, 3, 4)], '123')):
        of_run = [row for row in rows if row['run'] == name]
        assert [row['layer'] for row in of_run] == layers and {row['unit'] for row in of_run} == {unit}
        assert ''.join(row['stage'] for row in of_run) == stages
        assert {(row['dataset'], row['images']) for row in of_run} == {('cifar10', '20')}


def test_only_the_gate_of_each_pixel_varies_between_pixels(of_three):
    for row in rows_of(f'{of_three[0]}.csv'):
        assert (float(row['between_pixels'] or 0) > 0.1) == (row['run'] == 'atac')


def test_table_names_each_run_and_each_gate(of_three):
    out, printed = of_three
    lines = [set(line.split()) for line in printed.splitlines()]
    assert any({'cifar_resnet8_v2_se,', 'best.params,', '20', 'cifar10'} <= line for line in lines)
    assert all(any(row['layer'] in line for line in lines) for row in rows_of(f'{out}.csv'))


def test_coloured_picture_is_written_beside_the_file(of_three):
    out, _ = of_three
    assert sorted(os.listdir(out.parent)) == ['gates.csv', 'gates.png']
    assert len(colours_of(f'{out}.png')) > 3  # has colours, not only black, white and grey


def test_figures_use_the_runs_own_data_and_are_reproducible(runs, cifar10, tmp_path):
    """Compare with the gate of one layer in an imperative forward pass."""
    for name in ('one', 'two'):
        assert gates(runs['atac'], '--out', tmp_path / name) == 0
    assert (tmp_path / 'one.csv').read_bytes() == (tmp_path / 'two.csv').read_bytes()
    row = next(row for row in rows_of(tmp_path / 'one.csv') if row['layer'] == 'features.4.0.msAA1')
    net = get_model('cifar_resnet8_v2_atac')
    load_parameters(net, os.path.join(runs['atac'], 'best.params'))
    raw = np.fromfile(os.path.join(cifar10, 'test_batch.bin'), np.uint8).reshape(-1, 3073)[:, 1:]
    mean, deviation = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    pixels = (raw.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1) / 255 - mean) / deviation
    block = net.features[4][0]
    seen = []
    block.msAA1.register_forward_hook(lambda unit, inputs, output: seen.append(inputs[0]))
    net(mx.nd.array(pixels.transpose(0, 3, 1, 2)))
    x, gate = seen[0].asnumpy(), block.msAA1.module(seen[0]).asnumpy()
    assert [float(value) for value in numbers(row)] == pytest.approx(expected(gate, x), abs=1e-4)


def test_other_parameters_and_fewer_images_can_be_chosen(runs, tmp_path):
    net = get_model('cifar_resnet8_v2_se')
    load_parameters(net, os.path.join(runs['se'], 'last.params'))
    for name, parameter in parameters_of(net).items():
        if '.attention.' in name:
            parameter.set_data(parameter.data() * 0)
    save_parameters(net, str(tmp_path / 'zero.params'))
    params, x, y = tmp_path / 'zero.params', tmp_path / 'x', tmp_path / 'y'
    assert gates(runs['se'], '--params', params, '--images', 10, '--out', x) == 0
    columns = 'parameters', 'images', 'mean', 'standard_deviation', 'between_images', 'relu_mask_correlation'
    assert {tuple(row[column] for column in columns) for row in rows_of(f'{x}.csv')} == {
        ('zero.params', '10', '0.500000', '0.000000', '', '')}
    assert gates(runs['se'], '--params', 'last', '--images', 10 ** 6, '--out', y) == 0
    assert {(row['parameters'], row['images']) for row in rows_of(f'{y}.csv')} == {('last.params', '20')}


def test_other_images_can_be_chosen(runs, tmp_path):
    pytest.importorskip('sklearn')
    assert gates(runs['se'], '--dataset', 'digits', '--images', 5, '--out', tmp_path / 'x') == 0
    assert {(row['dataset'], row['images']) for row in rows_of(tmp_path / 'x.csv')} == {('digits', '5')}


def test_runs_with_the_same_name_are_distinguished(runs, tmp_path):
    (tmp_path / 'atac').symlink_to(runs['atac'])
    assert gates(runs['atac'], tmp_path / 'atac', '--images', 5, '--out', tmp_path / 'x') == 0
    assert {row['run'] for row in rows_of(tmp_path / 'x.csv')} == {runs['atac'], str(tmp_path / 'atac')}


def test_file_is_written_without_matplotlib(runs, tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, 'matplotlib.figure', None)
    assert gates(runs['atac'], '--images', 5, '--out', tmp_path / 'x') == 0
    assert os.listdir(tmp_path) == ['x.csv'] and 'openatac[demo]' in caplog.text


@pytest.mark.usefixtures('shallow_resnet')
def test_run_of_train_imagenet_is_analysed(tmp_path):
    data = write_data_dir(tmp_path / 'data')
    config = config_of(train_imagenet, '--data-dir', data, '--num-classes', 2, '--input-size', 32,
                       '--act-layers', 1)
    net = build_network(config).net
    net.initialize(mx.init.MSRAPrelu())
    net(mx.nd.zeros((1, 3, 32, 32)))
    run = tmp_path / 'run'
    run.mkdir()
    (run / 'settings.json').write_text(json.dumps(values(config)))
    save_parameters(net, str(run / 'last.params'))
    assert gates(run, '--params', 'last', '--images', 4, '--out', tmp_path / 'x') == 0
    rows = rows_of(tmp_path / 'x.csv')
    assert [row['layer'] for row in rows] == ['layer4.0.relu1', 'layer4.0.relu2']
    columns = 'network', 'dataset', 'stage', 'channels', 'images'
    assert {tuple(row[column] for column in columns) for row in rows} == {
        ('resnet50_v1b_atac', 'imagenet', '4', '64', '4')}


def test_diverged_run_is_refused(runs, tmp_path, capsys):
    net, params = get_model('cifar_resnet8_v2_atac'), str(tmp_path / 'nan.params')
    load_parameters(net, os.path.join(runs['atac'], 'best.params'))
    net.features[1].weight.set_data(net.features[1].weight.data() * np.nan)
    save_parameters(net, params)
    assert gates(runs['atac'], '--params', params, '--images', 2, '--out', tmp_path / 'x') == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert params in error and 'features.2.0.msAA1' in error and '--lr' in error
    assert os.listdir(tmp_path) == ['nan.params']


@pytest.fixture
def wrong(runs, tmp_path):
    """Unsuitable folders and files."""
    other = json.dumps(dict(json_of(runs['se'], 'settings.json'), act_type='gleu'))
    for name, text in (('text', 'no settings'), ('list', '[1]'), ('empty', '{}'), ('other', other)):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'settings.json').write_text(text)
    (tmp_path / 'no.params').write_bytes(b'nothing')
    (tmp_path / 'damaged').mkdir()
    for name in [f'data_batch_{k}.bin' for k in range(1, 6)] + ['test_batch.bin']:
        (tmp_path / 'damaged' / name).write_bytes(b'nothing')
    return tmp_path


@pytest.mark.parametrize('arguments, code, named', [
    (['{relu}'], 1, 'cifar_resnet8_v2_relu'),
    (['{wrong}/nowhere'], 1, 'nowhere'),
    (['{wrong}/text'], 1, 'text'),
    (['{wrong}/list'], 1, 'list'),
    (['{wrong}/empty'], 1, 'act_type'),
    (['{wrong}/other'], 1, "'gleu'"),
    (['{se}', '--params', '{atac}/best.params'], 1, 'best.params'),
    (['{se}', '--params', '{wrong}/no.params'], 1, 'no.params'),
    (['{se}', '--params', '{wrong}/none.params'], 1, 'none.params'),
    (['{se}', '--data-dir', '{wrong}/damaged'], 1, 'test_batch.bin'),
    (['{se}', '--out', '{wrong}/no.params/x'], 1, 'x '),
    (['{se}', '--out', '{wrong}/'], 2, '--out'),
    (['{se}', '--images', '0'], 2, '--images: 0'),
    (['{se}', '--dataset', 'mnist'], 2, "'mnist'"),
    ([], 2, 'RUN'),
])
def test_wrong_arguments_are_one_error(arguments, code, named, runs, wrong, capsys):
    arguments = [text.format(wrong=wrong, **runs) for text in arguments]
    before = sorted(os.listdir(wrong))
    assert gates('--out', wrong / 'x', *arguments) == code
    errors = capsys.readouterr().err.splitlines()
    assert errors[-1].startswith('openatac gates: ') and named in errors[-1]
    assert len(errors) == 1 or code == 2
    assert sorted(os.listdir(wrong)) == before


def test_gates_of_modules_called_with_keywords_are_found():
    of_module = pytest.importorskip('openatac.study.gates.module_gates', reason='needs PyTorch')
    import torch

    class Swish(torch.nn.Module):
        def forward(self, x):
            return torch.nn.functional.silu(inplace=False, input=x)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.swish = Swish()

        def forward(self, x):
            return self.swish(x=x)

    images = np.random.RandomState(0).randn(2, 3, 4, 4).astype('float32')
    row, = of_module.gate_statistics(Net(), [images])
    assert row['layer'] == 'swish' and row['mean'] == pytest.approx(float((1 / (1 + np.exp(-images))).mean()))
