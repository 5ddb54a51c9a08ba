"""--engine torch without MXNet: a run from initial values to an export that agrees with MXNet."""
import json
import os

import numpy as np
import pytest

import openatac
from openatac.files.mxnet_arrays import read_params
from tests.helpers.processes.commands import call_command, rows_of
from tests.helpers.processes.fresh_python import run_python
from tests.helpers.processes.scripts import json_of, log_of, metrics_of

torch = pytest.importorskip('torch')
pytest.importorskip('sklearn')

# One process saves the start-up. With more epochs, a finished run continues.
RUNS = """
from openatac import cli
for folder, epochs in ('run', '1'), ('run', '2'), ('whole', '2'):
    assert not cli.main(['train-cifar', '--recipe', 'digits', '--act-layers', '1', '--engine', 'torch',
                         '--val-split', '0.7', '--resume', 'auto', '--num-epochs', epochs,
                         '--save-dir', folder])
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory, no_mxnet):
    """A folder of two runs: run/ was stopped after its first epoch and resumed, whole/ was not."""
    folder = tmp_path_factory.mktemp('runs')
    (folder / 'train.py').write_text(RUNS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = run_python('train.py', path=no_mxnet, OMP_NUM_THREADS='1')
    assert result.returncode == 0, result.stderr
    return folder


def command(folder, no_mxnet, *words):
    """Run ``openatac *words`` without MXNet, and return its output."""
    result = run_python('-m', 'openatac', *words, path=no_mxnet)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_stopped_run_resumes_exactly(folder):
    resumed, whole = (read_params(str(folder / run / 'last.params')) for run in ('run', 'whole'))
    assert resumed.keys() == whole.keys()
    assert all((resumed[name] == whole[name]).all() for name in whole)
    assert 'MXNet' in log_of(folder / 'whole')  # it has other initial values
    first, second = metrics_of(folder / 'whole')
    assert second['train_loss'] < first['train_loss']


def test_network_equals_that_of_mxnet(folder):
    images = np.random.RandomState(0).randint(0, 256, (4, 32, 32, 3)).astype('uint8')
    found, expected = (openatac.load(folder / 'run', engine=engine)(images, top=10)
                       for engine in ('torch', 'mxnet'))
    assert [label.class_index for labels in found for label in labels[:1]] == [
        label.class_index for labels in expected for label in labels[:1]]
    np.testing.assert_allclose([label.score for labels in found for label in labels],
                               [label.score for labels in expected for label in labels], atol=1e-5)


def test_run_is_exported_and_predicts(folder, no_mxnet, tmp_path, monkeypatch):
    pytest.importorskip('onnxruntime')
    monkeypatch.chdir(tmp_path)
    command(folder, no_mxnet, 'export', folder / 'run', 'net', '--onnx', '--dynamic-size')
    assert sorted(os.listdir()) == ['net.json', 'net.onnx']
    assert list(json_of('net.json')['sha256']) == ['.onnx']
    assert list(json_of('net.json')['reports']) == ['onnx']
    image = str(folder / 'run' / 'sample.png')
    expected = openatac.load(folder / 'run', engine='mxnet')(image)
    for words in (['net'], ['--model', folder / 'run']):
        printed = json.loads(command(folder, no_mxnet, 'predict', *words, image, '--json'))
        assert [each['class'] for each in printed['predictions']] == [label.class_index for label in expected]
        np.testing.assert_allclose([each['score'] for each in printed['predictions']],
                                   [label.score for label in expected], atol=1e-5)
    assert openatac.load('net.onnx')(image)[0].label == expected[0].label


def test_gates_equal_those_of_mxnet(folder, no_mxnet, tmp_path):
    command(folder, no_mxnet, 'gates', folder / 'run', '--images', 20, '--out', tmp_path / 'torch')
    assert call_command('gates', folder / 'run', '--images', 20, '--out', tmp_path / 'mxnet') == 0
    found, expected = rows_of(tmp_path / 'torch.csv'), rows_of(tmp_path / 'mxnet.csv')
    assert len(found) == len(expected) == 1  # --act-layers 1
    for column, value in expected[0].items():
        assert found[0][column] == value or float(found[0][column]) == pytest.approx(float(value), abs=1e-4)


@pytest.mark.parametrize('words, named', [
    (['export', 'run', 'net'], '--onnx'), (['export', 'run', 'net', '--onnx', '--fuse'], '--fuse'),
    (['compare', 'all', '--units', 'relu', '--', '--num-epochs', '1'], 'openatac[cpu]'),
], ids=lambda value: value[0])
def test_commands_that_need_mxnet_say_so(folder, no_mxnet, monkeypatch, words, named):
    monkeypatch.chdir(folder)
    result = run_python('-m', 'openatac', *words, path=no_mxnet)
    error = result.stderr.splitlines()[-1]
    assert result.returncode in (1, 2)
    assert 'MXNet' in error and named in error
    assert sorted(os.listdir()) == ['run', 'train.py', 'whole']
