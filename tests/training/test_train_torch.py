"""train_cifar.py with --engine torch gives the results and files of MXNet's engine."""
import json
import math
import os
import re
import shutil

import mxnet as mx
import numpy as np
import pytest

import openatac
from openatac import cli
from openatac.errors import OpenatacError
from openatac.export.exported_symbol import load_block
from openatac.files.mxnet_arrays import read_params, write_params
from openatac.models.weights import load_parameters
from tests.helpers.images.cifar_slice import write_slice
from tests.helpers.processes.commands import command_error
from tests.helpers.processes.interrupted_runs import assert_same_outcome, drop_last_checkpoint, flags
from tests.helpers.processes.scripts import (
    accuracy_of,
    assert_metrics_agree,
    json_of,
    log_of,
    metrics_of,
    run_in_process,
    script_error,
    without_numbers,
)

torch = pytest.importorskip('torch')
pytestmark = pytest.mark.usefixtures('one_torch_thread')

TORCH = '--engine', 'torch'
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='PyTorch sees no GPU')


# -------------- from trained parameters and at low rates, at which rounding does not grow

def next_epoch(data, *more):
    """Return the flags of an epoch at a low learning rate."""
    return ('--data-dir', data, '--blocks', 1, '--useReLU', '--batch-size', 10, '--seed', 1, '--lr', 0.001,
            '--num-epochs', 1, *more)


@pytest.fixture(scope='module')
def five_epochs(tmp_path_factory, cifar10):
    """The parameter file of a run of five epochs."""
    folder = tmp_path_factory.mktemp('five_epochs')
    assert run_in_process(*next_epoch(cifar10, '--lr', 0.05, '--num-epochs', 5, '--save-dir', folder)) == 0
    return str(folder / 'last.params')


@pytest.fixture(scope='module')
def pair(tmp_path_factory, cifar10, five_epochs):
    """{engine: folder of the following epoch}."""
    folders = {engine: str(tmp_path_factory.mktemp('next') / engine) for engine in ('mxnet', 'torch')}
    for engine, folder in folders.items():
        assert run_in_process(*next_epoch(cifar10, '--resume-from', five_epochs, '--engine', engine,
                                          '--save-dir', folder)) == 0
    return folders


def test_epoch_agrees_with_mxnet(pair):
    row, expected = (metrics_of(pair[engine])[0] for engine in ('torch', 'mxnet'))
    assert expected['val_accuracy'] > 0.2       # it has learned something in five epochs
    assert_metrics_agree(row, expected)


def test_first_epoch_on_real_images_agrees_with_mxnet(shared_data, tmp_path):
    data = write_slice(shared_data, tmp_path / 'cifar-10-batches-bin', training=320, test=200)
    rows = []
    for engine in ('torch', 'mxnet'):
        assert run_in_process('--data-dir', data, '--save-dir', tmp_path / engine, '--blocks', 1,
                              '--useReLU', '--lr', 0.001, '--batch-size', 64, '--num-epochs', 1, '--seed', 1,
                              '--engine', engine) == 0
        rows += metrics_of(tmp_path / engine)
    assert_metrics_agree(*rows)


# ------------------------------------------------------------------------- files of a run

def test_run_writes_the_same_files_as_mxnet(pair):
    assert sorted(os.listdir(pair['torch'])) == sorted(os.listdir(pair['mxnet']))
    # Sorted, as a thread logs the data whenever it has read them; without the command.
    logs = [sorted(without_numbers(line) for line in log_of(pair[engine]).splitlines()
                   if 'train_cifar.py' not in line) for engine in ('torch', 'mxnet')]
    assert logs[0] == logs[1]
    summary, expected = (json_of(pair[engine], 'summary.json') for engine in ('torch', 'mxnet'))
    assert summary.keys() == expected.keys()
    assert summary['versions'].keys() == expected['versions'].keys() - {'mxnet'} | {'torch'}
    assert summary['versions']['torch'] == torch.__version__ and summary['device'] == '1 x cpu'
    assert json_of(pair['torch'], 'settings.json')['engine'] == 'torch'


def test_parameters_load_in_mxnet(pair):
    net = openatac.get_model('cifar_resnet8_v2_atac', useReLU=True)
    load_parameters(net, os.path.join(pair['torch'], 'best.params'))
    ours, theirs = (read_params(os.path.join(pair[engine], 'best.params')) for engine in ('torch', 'mxnet'))
    assert {(name, array.shape, array.dtype) for name, array in ours.items()} == {
        (name, array.shape, array.dtype) for name, array in theirs.items()}


def test_each_engine_evaluates_the_others_parameters(pair, cifar10, tmp_path, capsys):
    half = str(tmp_path / 'float16.params')
    write_params(half, {name: array.astype('float16') for name, array in read_params(
        os.path.join(pair['torch'], 'best.params')).items()})
    for maker, path in [*((maker, os.path.join(folder, 'best.params')) for maker, folder in pair.items()),
                        ('torch', half)]:
        best = json_of(pair[maker], 'summary.json')['best_accuracy']
        for engine in pair:
            assert run_in_process(*next_epoch(cifar10, '--engine', engine, '--evaluate', path)) == 0
            accuracy = accuracy_of(capsys.readouterr().err)
            assert accuracy == pytest.approx(best, abs=0.02 if path == half else 1e-6), (path, engine)


def test_run_starts_from_a_float16_file(five_epochs, cifar10, tmp_path):
    half = str(tmp_path / 'float16.params')
    write_params(half, {name: array.astype('float16') for name, array in read_params(five_epochs).items()})
    assert run_in_process(*next_epoch(cifar10, *TORCH, '--lr', 1e-9, '--resume-from', half,
                                      '--save-dir', tmp_path)) == 0
    last = read_params(str(tmp_path / 'last.params'))
    for name, array in read_params(half).items():
        assert last[name].dtype == np.float32
        if 'running' not in name:
            np.testing.assert_allclose(last[name], array.astype('float32'), atol=1e-6)


def test_best_network_is_exported(pair, tmp_path):
    out = str(tmp_path / 'net')
    assert cli.main(['export', pair['torch'], out]) == 0
    net = openatac.get_model('cifar_resnet8_v2_atac', useReLU=True)
    net.load_parameters(os.path.join(pair['torch'], 'best.params'))
    images = mx.nd.random.normal(shape=(2, 3, 32, 32))
    np.testing.assert_allclose(load_block(out)(images).asnumpy(), net(images).asnumpy(), 1e-4, 1e-5)


def test_bfloat16_learns(cifar10, tmp_path):
    assert run_in_process(*next_epoch(cifar10, '--lr', 0.05, '--num-epochs', 5, '--dtype', 'bfloat16', *TORCH,
                                      '--save-dir', tmp_path)) == 0
    row = metrics_of(tmp_path)[-1]
    assert row['train_accuracy'] > 0.2 and math.isfinite(row['val_loss'])
    assert all(array.dtype == np.float32 for array in read_params(str(tmp_path / 'last.params')).values())


# ----------------------------------------------------------------- with a GPU and without

@pytest.mark.gpu
@on_gpu
def test_epoch_on_a_gpu_agrees_with_mxnet(pair, five_epochs, cifar10, tmp_path):
    assert run_in_process(*next_epoch(cifar10, *TORCH, '--gpus', 0, '--resume-from', five_epochs,
                                      '--save-dir', tmp_path)) == 0
    assert_metrics_agree(metrics_of(tmp_path)[0], metrics_of(pair['mxnet'])[0], 1.5 / 20)
    assert json_of(tmp_path, 'summary.json')['device'] == '1 x gpu'


def test_float16_needs_a_gpu(tmp_path, cifar10, capsys):
    error = script_error(capsys, 1, *flags(cifar10, tmp_path, *TORCH, '--dtype', 'float16'))
    assert '--dtype float16' in error


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_log_names_the_missing_gpu_and_the_cpu(tmp_path, cifar10):
    assert run_in_process(*flags(cifar10, tmp_path, *TORCH, '--gpus', 0, '--dry-run', 1)) == 0
    line, = (line for line in log_of(tmp_path).splitlines() if 'GPU 0' in line)
    assert 'CPU' in line


# ----------------------------------------------------------- together with other commands

@pytest.mark.slow  # test_compare.py rehearses one with MXNet
def test_comparison_is_rehearsed(tmp_path, cifar10, capfd):
    """Run the documented command for the paper's figure with one unit, one seed and the smallest network."""
    assert cli.main(['compare', str(tmp_path / 'full'), '--units', 'atac_global', '--blocks', '1',
                     '--seeds', '1', '--recipe', 'cifar10_atac', '--dry-run', '1',
                     '--', *TORCH, '--gpus', '0', '--batch-size', '32', '--data-dir', cifar10]) == 0
    assert 'b1-atac_global-seed1' in capfd.readouterr().out and not (tmp_path / 'full').exists()


# --------------------------------------------- PyTorch-only units, and user-defined hosts

def test_pytorch_only_unit_trains_beside_mxnet(restored_registries, cifar10, tmp_path):
    openatac.register_activation('hardtanh', None, torch_factory=lambda channels: torch.nn.Hardtanh())
    assert run_in_process('--data-dir', cifar10, *TORCH, '--act-type', 'hardtanh', '--blocks', 1,
                          '--batch-size', 50, '--num-epochs', 1, '--lr', 0.01, '--save-dir', tmp_path) == 0
    assert json_of(tmp_path, 'summary.json')['model'] == 'cifar_resnet8_v2_hardtanh'


class OwnHost(torch.nn.Module):
    """A host with PyTorch's own BatchNorm, and with names that Gluon's lacks."""

    def __init__(self, classes, act_type):
        super().__init__()
        self.features = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
        self.output = torch.nn.Linear(4, classes)

    def forward(self, x):
        return self.output(self.features(x).mean((2, 3)))


def own_gluon_host(classes, act_type):
    net = mx.gluon.nn.HybridSequential()
    net.add(mx.gluon.nn.Conv2D(4, 3), mx.gluon.nn.GlobalAvgPool2D(), mx.gluon.nn.Dense(classes))
    return net


def test_host_of_pytorchs_own_layers_resumes_exactly_and_predicts(
        restored_registries, cifar10, tmp_path, capsys):
    """Its BatchNorm counts batches in an array without dimensions."""
    openatac.register_host('own', None, torch_factory=OwnHost)
    whole, stopped, elsewhere = (tmp_path / name for name in ('whole', 'stopped', 'elsewhere'))
    command = [*TORCH, '--model', 'own_relu', '--data-dir', cifar10, '--batch-size', 50, '--num-epochs', 2,
               '--resume', 'auto']
    assert run_in_process(*command, '--save-dir', whole) == 0
    shutil.copytree(whole, stopped)
    drop_last_checkpoint(stopped)
    shutil.copytree(stopped, elsewhere)
    assert run_in_process(*command, '--save-dir', stopped) == 0
    assert_same_outcome(stopped, whole)
    assert run_in_process(*command, '--save-dir', elsewhere, '--tf32', '--allow-inexact-resume') == 0
    with pytest.raises(OpenatacError, match="'own' is not registered for Gluon"):
        openatac.load(str(whole), engine='mxnet')
    prefix, sample = str(tmp_path / 'own'), str(whole / 'sample.png')
    assert cli.main(['export', str(whole), prefix, '--onnx']) == 0
    capsys.readouterr()
    for network in (['--model', str(whole)], [prefix]):
        assert cli.main(['predict', *network, sample, '--json']) == 0
        assert len(json.loads(capsys.readouterr().out)['predictions']) == 5


@pytest.mark.parametrize('flags', [[], ['--onnx', '--int8']])
def test_symbol_files_of_a_host_in_pytorch_alone_are_refused(restored_registries, cifar10, tmp_path, capsys,
                                                             flags):
    openatac.register_host('own', None, torch_factory=OwnHost)
    command = [*TORCH, '--model', 'own_relu', '--data-dir', cifar10, '--batch-size', 50, '--num-epochs', 1]
    run = tmp_path / 'run'
    assert '--export' in script_error(capsys, 2, *command, '--save-dir', run, '--export', run / 'out')
    assert run_in_process(*command, '--save-dir', run) == 0
    capsys.readouterr()
    assert command_error(capsys, 'export', 2, run, run / 'out', *flags).count('PyTorch') == 1
    assert not (run / 'out.json').exists()


@pytest.mark.parametrize('gluon, flags, named', [
    (None, ['--freeze', 'features.*'], r'features.1 is a BatchNorm2d.*openatac\.pytorch\.BatchNorm'),
    (own_gluon_host, [], r'parameters.* 0\.bias')])
def test_mismatched_host_is_refused(restored_registries, cifar10, tmp_path, capsys, gluon, flags, named):
    openatac.register_host('own', gluon, torch_factory=OwnHost)
    code = run_in_process('--data-dir', cifar10, *TORCH, '--model', 'own_relu', *flags,
                          '--batch-size', 50, '--num-epochs', 1, '--save-dir', tmp_path / 'run')
    assert code in (1, 2)
    assert re.search(named, capsys.readouterr().err)
