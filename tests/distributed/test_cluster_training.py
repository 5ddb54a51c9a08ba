"""train_imagenet.py in several local processes equals one process, notices deaths and resumes exactly."""
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

import train_imagenet
from openatac.backends.process_group import SingleProcess
from openatac.distributed import kvstore
from openatac.errors import CheckpointError, OpenatacError
from openatac.training.checkpoints.checkpoint import Checkpoints
from openatac.training.checkpoints.progress import Progress
from openatac.training.runs import recorded_training
from tests.helpers.images.made_up_images import write_data_dir
from tests.helpers.paths import ROOT
from tests.helpers.processes.child_environment import child_environment
from tests.helpers.processes.scripts import finish, metrics_of, run_in_process, script_error, wait_until

EPOCHS = 12  # of 3 batches
CLUSTER = '--kvstore', 'dist_device_sync', '--resume', 'auto'
SENTENCE = re.compile(r'^\[(.+?)\] error: (.*)$', re.M)


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    return write_data_dir(tmp_path_factory.mktemp('photos'))


def flags(folder, photos, *more):
    return tuple(map(str, (
        '--data-dir', photos, '--num-classes', 2, '--input-size', 32, '--batch-size', 2, '--seed', 1,
        '-j', 0, '--lr', 0.002, '--num-epochs', EPOCHS, '--log-interval', 1, '--save-dir', folder,
        '--logging-file', f'{folder}.log', *more)))


def start_cluster(*these, command=()):
    """Start 2 workers and a server by `openatac launch`; ``command`` precedes the script."""
    return subprocess.Popen(
        [sys.executable, '-m', 'openatac', 'launch', '-n', '2', '-s', '1', '--', *command, sys.executable,
         str(ROOT / 'tests' / 'helpers' / 'networks' / 'imagenet_hosts.py'), *these], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=child_environment())


def parameters(folder):
    return {name: array.asnumpy() for name, array in mx.nd.load(os.path.join(folder, 'last.params')).items()}


def batches_in(log):
    return len(re.findall(r'^Epoch\[\d+\] Batch', log.read_text(), re.M)) if log.exists() else 0


def running(folder):
    """Return {process id: command line} of the processes whose command names the folder."""
    found = {}
    for path in Path('/proc').glob('[0-9]*'):
        try:
            found[int(path.name)] = (path / 'cmdline').read_bytes()
        except OSError:  # it has ended
            continue
    return {pid: command for pid, command in found.items() if str(folder).encode() in command}


@pytest.fixture(scope='module')
def restarted(photos, tmp_path_factory):
    """The folder of a run that was started again after one of its workers was killed."""
    folder = tmp_path_factory.mktemp('restarted') / 'run'
    process = start_cluster(*flags(folder, photos, *CLUSTER))
    log = folder.with_suffix('.log')
    wait_until(lambda: batches_in(log) >= 5, 'the fifth batch', process)
    worker, = (pid for pid, command in running(folder).items() if b'launch' not in command
               and b'DMLC_TASK_ID=1' in Path(f'/proc/{pid}/environ').read_bytes())
    os.kill(worker, signal.SIGKILL)
    died = finish(process, timeout=60)
    assert died.returncode == 128 + signal.SIGKILL, died.stderr
    said = dict(SENTENCE.findall(died.stderr))
    assert sorted(said) == ['scheduler', 'server 0', 'worker 0']
    assert all(sentence.startswith('worker 1 ') and '--resume auto' in sentence for sentence in said.values())
    assert not running(folder)
    run_cluster(folder, photos)
    return folder


def run_cluster(folder, photos):
    """Start 2 workers and a server, and wait for the end."""
    result = finish(start_cluster(*flags(folder, photos, *CLUSTER)))
    assert result.returncode == 0, result.stderr
    assert not running(folder)


@pytest.mark.usefixtures('small_network')
def test_restarted_workers_agree_with_one_process_on_the_whole_batch(restarted, photos, tmp_path):
    """Only BatchNorm's statistics differ, since each worker sees half of a batch."""
    one = tmp_path / 'one'
    assert run_in_process(*flags(one, photos, '--batch-size', 4), script=train_imagenet) == 0
    ours, theirs = parameters(restarted), parameters(one)
    for name, values in theirs.items():
        if 'running' not in name:
            assert np.abs(ours[name] - values).max() <= 1e-5 * max(1, np.abs(values).max()), name
    for row, expected in zip(metrics_of(restarted), metrics_of(one)):  # over both workers' images
        assert [row[key] for key in ('epoch', 'iteration', 'train_accuracy', 'val_accuracy')] == [
            expected[key] for key in ('epoch', 'iteration', 'train_accuracy', 'val_accuracy')]
        assert row['val_loss'] == pytest.approx(expected['val_loss'], rel=1e-4)


@pytest.mark.slow
def test_restarted_run_resumes_to_the_same_bits(restarted, photos, tmp_path):
    """Each worker's own BatchNorm statistics agree too."""
    run_cluster(tmp_path / 'whole', photos)
    ours, theirs = parameters(restarted), parameters(tmp_path / 'whole')
    for name, values in theirs.items():
        assert (ours[name] == values).all(), name


@pytest.mark.usefixtures('small_network')
def test_workers_with_different_settings_do_not_start(photos, tmp_path, monkeypatch):
    class Worker(SingleProcess):
        """A worker whose only peer has other settings."""

        size = 2

        def check_alike(self, settings):
            compared.update(settings)
            raise OpenatacError('seed is 1 on worker 0, 2 on worker 1')

    compared = {}
    monkeypatch.setattr(kvstore, 'join_run', Worker)
    assert run_in_process(*flags(tmp_path / 'run', photos), script=train_imagenet) == 1
    assert compared['seed'] == 1 and compared['batch_size'] and compared['initial_values']
    assert not (tmp_path / 'run' / 'last.params').exists()


@pytest.mark.slow  # test_launch.py tests the rest of dist_async without training
def test_asynchronous_training_resumes_from_its_weights(photos, tmp_path):
    folder = tmp_path / 'run'
    recipe = '--kvstore', 'dist_async', '--resume', 'auto'
    process = start_cluster(*flags(folder, photos, *recipe))
    wait_until(lambda: batches_in(tmp_path / 'run.log') >= 1, 'a batch', process)
    process.send_signal(signal.SIGTERM)
    stopped = finish(process)
    assert stopped.returncode == 128 + signal.SIGTERM, stopped.stderr
    first = parameters(folder)
    checkpoints = Checkpoints(str(folder / 'checkpoints'))  # unlike any initial values
    arrays, state = checkpoints.latest()
    for name in arrays:
        if name.startswith('parameter/convolution.weight/'):
            arrays[name] = 2 * arrays[name]
    checkpoints.save(state['engine']['iteration'], arrays, state)
    result = finish(start_cluster(*flags(folder, photos, *recipe)))
    assert result.returncode == 0, result.stderr
    rows, last = metrics_of(folder), parameters(folder)
    assert len(rows) == EPOCHS and all(np.isfinite(row['train_loss']) for row in rows)
    before, after = (np.abs(each['convolution.weight']).sum() for each in (first, last))
    assert after == pytest.approx(2 * before, rel=0.2)


def test_workers_with_different_checkpoints_do_not_start():
    class Others:
        size = 2

        @staticmethod
        def gather(message, name):
            return [message, [0, 0, message[2]]]

    class Learner:
        process_group = Others

        @staticmethod
        def checksum():
            return 1

    progress = Progress()
    recorded_training.check_same_start(Learner, progress)
    progress.epoch = 3
    with pytest.raises(CheckpointError, match='3 and 0, 0 and 0.*--save-dir'):
        recorded_training.check_same_start(Learner, progress)


@pytest.mark.usefixtures('small_network')
def test_run_of_two_workers_is_extended_in_one_process(restarted, photos, tmp_path, capsys):
    folder = shutil.copytree(restarted, tmp_path / 'copy')
    longer = flags(folder, photos, '--resume', 'auto', '--num-epochs', EPOCHS + 2, '--batch-size', 4)
    error = script_error(capsys, 1, *longer, script=train_imagenet)
    assert re.search("devices .*'2 x 1 x cpu'.*'1 x cpu'", error) and '--allow-inexact-resume' in error
    assert run_in_process(*longer, '--allow-inexact-resume', script=train_imagenet) == 0
    rows, before = metrics_of(folder), metrics_of(restarted)
    assert rows[:EPOCHS] == before and len(rows) == EPOCHS + 2
    assert rows[-1]['train_loss'] == pytest.approx(before[-1]['train_loss'], rel=0.1)
