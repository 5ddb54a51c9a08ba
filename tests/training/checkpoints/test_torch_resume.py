"""--engine torch continues from the files of a run, and begins with those of --initial, without MXNet too."""
import os
import re
import shutil
import signal

import numpy as np
import pytest

from openatac.files.mxnet_arrays import read_params, write_params
from tests.helpers.processes.interrupted_runs import (
    BATCHES,
    EPOCHS,
    assert_same_outcome,
    checkpoint_names,
    flags,
    kill_often,
    signal_at_step,
)
from tests.helpers.processes.scripts import (
    accuracy_of,
    error_line,
    json_of,
    log_of,
    run_in_process,
    run_script,
    script_error,
)

pytest.importorskip('torch')
pytestmark = pytest.mark.usefixtures('one_torch_thread')

TORCH = '--engine', 'torch'


# ------------------------------------ killed, stopped and resumed, with MXNet and without

@pytest.fixture(scope='module')
def start(tmp_path_factory):
    """The PREFIX of the initial files for the network of `tests.helpers.processes.interrupted_runs`."""
    prefix = tmp_path_factory.mktemp('start') / 'atac'
    assert run_in_process('--blocks', 1, '--act-layers', 1, '--useReLU', '--drop-rate', 0.1, '--seed', 3,
                          '--write-initial', prefix) == 0
    return str(prefix)


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory, cifar10):
    """The folder of an uninterrupted run, with MXNet installed."""
    folder = tmp_path_factory.mktemp('uninterrupted') / 'run'
    assert run_in_process(*flags(cifar10, folder, *TORCH)) == 0
    return str(folder)


@pytest.fixture
def copy(uninterrupted, tmp_path):
    """A copy of that folder."""
    return shutil.copytree(uninterrupted, str(tmp_path / 'copy'))


@pytest.mark.slow
def test_run_killed_at_random_points_resumes_to_the_same_bits(tmp_path, cifar10, uninterrupted):
    folder = tmp_path / 'run'
    kill_often(folder, 4, EPOCHS, flags(cifar10, folder, *TORCH))
    assert run_script(*flags(cifar10, folder, *TORCH)).returncode == 0
    assert_same_outcome(folder, uninterrupted)


def test_run_resumes_without_mxnet_to_the_same_bits(tmp_path, cifar10, uninterrupted, start, no_mxnet,
                                                    monkeypatch, capsys):
    signal_at_step(monkeypatch, BATCHES + 5, signal.SIGTERM)
    code = run_in_process(*flags(cifar10, tmp_path, *TORCH))
    assert code == 128 + signal.SIGTERM
    error = error_line(1, capsys.readouterr().err)
    assert 'SIGTERM' in error and '--resume auto' in error
    iteration = int(checkpoint_names(tmp_path)[-1])
    assert BATCHES < iteration < 2 * BATCHES, 'it was to stop within the epoch'
    result = run_script(*flags(cifar10, tmp_path, *TORCH, '--initial', start), path=no_mxnet)
    assert result.returncode == 0, result.stderr
    assert f'epoch 1, batch {iteration - BATCHES}' in result.stderr
    assert_same_outcome(tmp_path, uninterrupted)


@pytest.mark.slow  # the run above is without MXNet from its second epoch on
def test_run_without_mxnet_is_the_same_to_the_bit(tmp_path, cifar10, uninterrupted, start, no_mxnet):
    result = run_script(*flags(cifar10, tmp_path, *TORCH, '--initial', start), path=no_mxnet)
    assert result.returncode == 0, result.stderr
    assert_same_outcome(tmp_path, uninterrupted)
    assert json_of(tmp_path, 'settings.json')['blocks'] == 1        # the files specify it


def test_parameters_are_evaluated_without_mxnet(uninterrupted, cifar10, start, no_mxnet):
    best = json_of(uninterrupted, 'summary.json')['best_accuracy']
    result = run_script(*TORCH, '--initial', start, '--data-dir', cifar10, '--evaluate',
                        os.path.join(uninterrupted, 'best.params'), path=no_mxnet)
    assert result.returncode == 0, result.stderr
    assert accuracy_of(result.stderr) == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize('more, named', [
    ([], ['engine', "'torch'", "'mxnet'"]),
    ([*TORCH, '--tf32'], ['tf32', 'False', 'True']),
    ([*TORCH, '--compile'], ['compile', 'False', 'True']),
    ([*TORCH, '--dtype', 'bfloat16'], ['dtype', "'float32'", "'bfloat16'"])], ids=str)
def test_another_engine_does_not_resume_a_run(copy, cifar10, capsys, more, named):
    error = script_error(capsys, 1, *flags(cifar10, copy, *more))
    assert all(word in error for word in [*named, '--save-dir'])


def test_torch_does_not_resume_a_run_of_mxnet(tmp_path, cifar10, capsys):
    assert run_in_process(*flags(cifar10, tmp_path, '--num-epochs', 1)) == 0
    error = script_error(capsys, 1, *flags(cifar10, tmp_path, '--num-epochs', 1, *TORCH))
    assert all(word in error for word in ('engine', "'torch'", "'mxnet'", '--save-dir'))


def test_dry_run_leaves_no_run(tmp_path, cifar10, start):
    assert run_in_process(*flags(cifar10, tmp_path, *TORCH, '--initial', start, '--dry-run', 3)) == 0
    assert os.listdir(tmp_path) == ['train.log']


# -------------------------------------------------------------------------- initial files

@pytest.mark.parametrize('file, content, named', [
    ('-symbol.json', None, 'atac-symbol.json'),
    ('-symbol.json', 'half', 'atac-symbol.json'),
    ('-symbol.json', b'[]', 'atac-symbol.json'),
    ('-0000.params', None, 'atac-0000.params'),
    ('-0000.params', 'half', 'atac-0000.params'),
    ('-0000.params', 'foreign', 'features.0.beta'),
])
def test_missing_damaged_or_foreign_initial_files_are_named(tmp_path, cifar10, start, capsys, file, content,
                                                            named):
    shutil.copytree(os.path.dirname(start), tmp_path / 'start')
    path = tmp_path / 'start' / ('atac' + file)
    if content is None:
        path.unlink()
    elif content == 'half':
        path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])
    elif content == 'foreign':
        write_params(str(path), {name + 'x': array for name, array in read_params(str(path)).items()})
    else:
        path.write_bytes(content)
    initial = '--initial', tmp_path / 'start' / 'atac'
    assert named in script_error(capsys, 1, *flags(cifar10, tmp_path / 'run', *TORCH, *initial))
    assert not os.path.exists(tmp_path / 'run' / 'checkpoints')


def test_initial_files_choose_the_data_set(tmp_path, cifar10):
    """They do so even if files of the default data set are given."""
    pytest.importorskip('sklearn')
    prefix = tmp_path / 'digits'
    assert run_in_process('--recipe', 'digits', '--act-layers', 1, '--write-initial', prefix) == 0
    assert run_in_process(*TORCH, '--initial', prefix, '--data-dir', cifar10, '--save-dir', tmp_path / 'run',
                          '--dry-run', 1) == 0
    assert re.search('1437 training .*360 test', log_of(tmp_path / 'run'))


def test_initial_files_contain_the_values_they_were_written_with(tmp_path, cifar10, start):
    """The file from which the values came may be gone."""
    values = read_params(start + '-0000.params')
    values['output.bias'] = np.arange(10, dtype='float32')
    write_params(str(tmp_path / 'x.params'), values)
    network = '--blocks', 1, '--act-layers', 1, '--useReLU', '--drop-rate', 0.1, '--seed', 3
    assert run_in_process(*network, '--resume-from', tmp_path / 'x.params',
                          '--write-initial', tmp_path / 'x') == 0
    os.remove(tmp_path / 'x.params')
    assert run_in_process('--data-dir', cifar10, '--save-dir', tmp_path / 'run', '--num-epochs', 1,
                          '--lr', 1e-9, '--batch-size', 50, *TORCH, '--initial', tmp_path / 'x') == 0
    last = read_params(str(tmp_path / 'run' / 'last.params'))
    np.testing.assert_allclose(last['output.bias'], np.arange(10), atol=1e-5)
