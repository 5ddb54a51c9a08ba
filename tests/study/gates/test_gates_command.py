"""`openatac gates` analyses the gates of runs."""
import contextlib
import io
import json
import os
import sys

import mxnet as mx
import numpy as np
import pytest
from PIL import Image

import train_imagenet
from openatac import get_model
from openatac.models.weights import load_parameters, save_parameters
from openatac.options.declaration import option_values
from openatac.study.gates.gate_sums import COLUMNS
from openatac.training.networks.build import build_network
from tests.helpers.images.cifar_colours import MEAN, STD
from tests.helpers.images.made_up_images import write_data_dir
from tests.helpers.networks.gate_statistics import expected, numbers
from tests.helpers.networks.parameters import initialised, parameters_of
from tests.helpers.processes.commands import call_command, command_error, rows_of
from tests.helpers.processes.scripts import config_of, json_of, run_in_process


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
    with Image.open(path) as figure:
        assert figure.format == 'PNG' and min(figure.size) > 800
        return {colour for count, colour in figure.convert('RGB').getcolors(figure.width * figure.height)
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


def test_coloured_figure_is_written_beside_the_file(of_three):
    out, _ = of_three
    assert sorted(os.listdir(out.parent)) == ['gates.csv', 'gates.png']
    assert len(colours_of(f'{out}.png')) > 3  # has colours, not only black, white and grey


def test_numbers_use_the_runs_own_data_and_are_reproducible(runs, cifar10, tmp_path):
    """Compare with the gate of one layer in an imperative forward pass."""
    for name in ('one', 'two'):
        assert gates(runs['atac'], '--out', tmp_path / name) == 0
    assert (tmp_path / 'one.csv').read_bytes() == (tmp_path / 'two.csv').read_bytes()
    row = next(row for row in rows_of(tmp_path / 'one.csv') if row['layer'] == 'features.4.0.msAA1')
    net = get_model('cifar_resnet8_v2_atac')
    load_parameters(net, os.path.join(runs['atac'], 'best.params'))
    raw = np.fromfile(os.path.join(cifar10, 'test_batch.bin'), np.uint8).reshape(-1, 3073)[:, 1:]
    pixels = (raw.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1) / 255 - MEAN) / STD
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
    run = tmp_path / 'run'
    run.mkdir()
    (run / 'settings.json').write_text(json.dumps(option_values(config)))
    save_parameters(initialised(build_network(config).net), str(run / 'last.params'))
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
    assert named in command_error(capsys, 'gates', code, '--out', wrong / 'x', *arguments)
    assert sorted(os.listdir(wrong)) == before
