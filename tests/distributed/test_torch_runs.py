"""Both scripts with --engine torch in two local processes (gloo), with and without torchrun."""
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import openatac
import train_cifar
import train_imagenet
from openatac.distributed.launch import start as launch
from openatac.files.mxnet_arrays import read_params
from openatac.training.checkpoints.checkpoint import checkpoints_of
from tests.helpers.images.made_up_images import write_data_dir
from tests.helpers.paths import ROOT
from tests.helpers.processes.child_environment import child_environment
from tests.helpers.processes.interrupted_runs import EPOCHS, assert_same_outcome, flags, wait_for_batch
from tests.helpers.processes.scripts import finish, json_of, log_of, metrics_of, run_in_process, script_error

torch = pytest.importorskip('torch')
pytestmark = pytest.mark.usefixtures('one_torch_thread')

from openatac.backends.compute import Compute  # noqa: E402  (they need torch)
from openatac.backends.torch.backend import TorchBackend  # noqa: E402
from openatac.errors import DeviceError  # noqa: E402
from tests.helpers.learners import torch_processes  # noqa: E402

TORCH = '--engine', 'torch'
TORCHRUN = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2']


def start(script, *words):
    """Start a script in two processes, without torchrun."""
    return torch_processes.start(2, sys.executable, ROOT / script, *words)


def running(folder):
    """Return {rank: process id} of a run's training processes."""
    found = {}
    for path in Path('/proc').glob('[0-9]*'):
        try:
            command, variables = ((path / name).read_bytes().split(b'\0') for name in ('cmdline', 'environ'))
        except OSError:  # it has ended
            continue
        ranks = [int(text[5:]) for text in variables if text.startswith(b'RANK=')]
        if ranks and str(folder).encode() in command:
            found[ranks[0]] = int(path.name)
    return found


# ------------------------------------------------------------------------------- train_cifar.py

@pytest.fixture(scope='module')
def cifar_flags(tmp_path_factory, cifar10):
    """A function from a folder to the flags of a run with validation images, for processes without MXNet."""
    prefix = str(tmp_path_factory.mktemp('start') / 'atac')
    assert run_in_process('--blocks', 1, '--act-layers', 1, '--useReLU', '--drop-rate', 0.1, '--seed', 3,
                          '--write-initial', prefix) == 0
    return lambda folder: flags(cifar10, folder, *TORCH, '--batch-size', 1, '--val-split', 0.2, '--initial',
                                prefix)


@pytest.fixture(scope='module')
def whole(tmp_path_factory, cifar_flags):
    """The folder of an uninterrupted run in two processes."""
    folder = tmp_path_factory.mktemp('whole') / 'run'
    result = finish(start('train_cifar.py', *cifar_flags(folder)))
    assert result.returncode == 0 and 'Warning' not in result.stderr, result.stderr
    return str(folder)


def test_run_of_two_processes_has_one_record(whole):
    summary, rows = json_of(whole, 'summary.json'), metrics_of(whole)
    assert summary['device'] == '2 x 1 x cpu' and summary['validation_images'] == 20
    assert [row['iteration'] for row in rows] == [40, 80, 120]  # of 2 of the other 80 images each
    assert len({round(20 * row['val_accuracy'], 6) % 1 for row in rows}) == 1  # whole images, all of them
    assert 0 < summary['test_accuracy'] <= 1


def test_torchrun_restarts_a_killed_run_to_the_same_bits(tmp_path, cifar_flags, whole):
    folder = tmp_path / 'run'
    process = subprocess.Popen(
        [*TORCHRUN, '--max-restarts', '1', str(ROOT / 'train_cifar.py'), *map(str, cifar_flags(folder))],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=child_environment())
    wait_for_batch(process, folder, 1, 5)
    os.kill(running(folder)[1], signal.SIGKILL)
    result = finish(process, timeout=120)
    assert result.returncode == 0, result.stderr
    said = re.findall(r'^error: (.*)$', result.stderr, re.M)
    assert len(said) == 1 and said[0].startswith('worker 1 ') and '--resume auto' in said[0]
    assert 'epoch 1, batch 0' in log_of(folder)
    assert_same_outcome(folder, whole)


@pytest.mark.slow  # the hub tells both processes of it, as test_membership.py shows
def test_run_stopped_by_a_signal_resumes_to_the_same_bits(tmp_path, cifar_flags, whole):
    folder = tmp_path / 'run'
    process = start('train_cifar.py', *cifar_flags(folder))
    wait_for_batch(process, folder, 1, 5)
    process.send_signal(signal.SIGTERM)
    stopped = finish(process)
    assert stopped.returncode == 128 + signal.SIGTERM, stopped.stderr
    arrays, state = checkpoints_of(str(folder)).latest()
    assert state['progress']['epoch'] == 1 and 5 <= state['progress']['batch'] < 40
    assert 'metrics/1' in arrays
    assert finish(start('train_cifar.py', *cifar_flags(folder))).returncode == 0
    assert_same_outcome(folder, whole)


@pytest.mark.slow
def test_unresponsive_process_ends_the_others(tmp_path, cifar_flags):
    folder = tmp_path / 'run'
    process = torch_processes.start(2, sys.executable, ROOT / 'train_cifar.py', *cifar_flags(folder),
                                    OPENATAC_MEMBERSHIP_SILENCE='3')
    wait_for_batch(process, folder, 1, 5)
    os.kill(running(folder)[1], signal.SIGSTOP)
    result = finish(process, timeout=60)
    assert result.returncode == 1 and re.search('error: worker 1 .*--resume auto', result.stderr)
    assert checkpoints_of(str(folder)).latest()[1]['progress']['epoch'] == 1


# ---------------------------------------------------------------------------- train_imagenet.py

@pytest.mark.usefixtures('small_network')
def test_two_processes_train_on_photographs_as_one_on_the_doubled_batch(tmp_path):
    """With --syncbn, the BatchNorm statistics agree too."""
    photos, prefix = write_data_dir(tmp_path / 'photos'), tmp_path / 'start'
    assert run_in_process('--num-classes', 2, '--input-size', 32, '--seed', 1, '--write-initial', prefix,
                          script=train_imagenet) == 0

    def words(folder, batch_size):
        return ['--data-dir', photos, '--initial', prefix, '--batch-size', batch_size, '-j', 0, '--lr', 0.002,
                '--num-epochs', EPOCHS, '--save-dir', folder, '--logging-file', f'{folder}.log', *TORCH]

    two, one = tmp_path / 'two', tmp_path / 'one'
    result = finish(start('train_imagenet.py', *words(two, 2), '--syncbn'))
    assert result.returncode == 0, result.stderr
    assert run_in_process(*words(one, 4), script=train_imagenet) == 0
    ours, theirs = (read_params(str(folder / 'last.params')) for folder in (two, one))
    for name, values in theirs.items():
        assert np.abs(ours[name] - values).max() <= 1e-6 * max(1, np.abs(values).max()), name
    for row, expected in zip(metrics_of(two), metrics_of(one)):
        row.pop('images_per_second'), expected.pop('images_per_second')
        assert row == pytest.approx(expected, rel=1e-5)


# ------------------------------------------------------------------------------------- starting

class Group:
    """A stand-in for the group of processes that a script starts."""

    def __init__(self):
        self.started = []

    def start(self, child, command, environment):
        self.started.append((child.label, command, environment))


@pytest.mark.usefixtures('restored_registries')
@pytest.mark.parametrize('script, words', [
    (train_cifar, [*TORCH, '--gpus', '0,1']), (train_imagenet, [*TORCH, '--num-gpus', '2']),
    (train_cifar, ['--engine', 'mine', '--gpus', '0,1'])])
def test_script_starts_a_process_for_each_gpu(monkeypatch, script, words):
    openatac.register_backend('mine', TorchBackend, library='torch')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    group, programs = Group(), []
    monkeypatch.setattr(
        launch, 'run_processes', lambda start, program: programs.append(program) or (start(group) and 7))
    assert run_in_process(*words, script=script) == 7
    assert programs == [f'{script.__name__}.py']
    labels, commands, variables = zip(*group.started)
    assert labels == ('worker 0', 'worker 1')
    assert all(command[-4:] == words for command in commands)
    assert [[own[name] for name in ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'LOCAL_WORLD_SIZE')]
            for own in variables] == [['0', '0', '2', '2'], ['1', '1', '2', '2']]
    assert len({own['MASTER_PORT'] for own in variables}) == 1


def test_script_without_fork_suggests_torchrun(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    monkeypatch.delattr(os, 'fork')
    assert 'torchrun --nproc-per-node 2' in script_error(capsys, 1, *TORCH, '--gpus', '0,1')


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'get_device_name', 'GPU {}'.format)
    monkeypatch.setattr(torch.cuda, 'set_device', lambda device: None)


@pytest.mark.usefixtures('two_gpus')
@pytest.mark.parametrize('gpus, rank, device', [
    ('', None, 'cpu'), ('1,0', None, 'cuda:1'), ('', '1', 'cuda:1'), ('1,0', '1', 'cuda:0')])
def test_each_process_gets_its_own_gpu(monkeypatch, gpus, rank, device):
    if rank:
        monkeypatch.setenv('LOCAL_RANK', rank)
        monkeypatch.setenv('LOCAL_WORLD_SIZE', '2')
    assert TorchBackend('x', Compute(engine='torch'), (3, 32, 32), 0, gpus, True).device == device


@pytest.mark.usefixtures('two_gpus')
def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '1')
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '2')
    with pytest.raises(DeviceError, match='2 processes.* GPU 0'):
        TorchBackend('x', Compute(engine='torch'), (3, 32, 32), 0, '0', True)


@pytest.mark.parametrize('code, words, named', [
    (2, [*TORCH, '--evaluate', 'x'], 'torchrun'), (2, [], '--engine'),
    (1, [*TORCH], 'MASTER_PORT')])
def test_unsupported_or_incomplete_torchrun_setup_is_refused(monkeypatch, capsys, isolated_cwd, code, words,
                                                             named):
    for name, value in {'WORLD_SIZE': '2', 'RANK': '1', 'TORCHELASTIC_RUN_ID': 'x'}.items():
        monkeypatch.setenv(name, value)
    assert named in script_error(capsys, code, *words)
