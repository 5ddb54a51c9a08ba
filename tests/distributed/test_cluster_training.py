"""train_imagenet.py in several processes on this machine: equal to one, noticed deaths, exact resuming."""
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
from openatac.backends.cluster import SingleProcess
from openatac.distributed import kvstore
from openatac.errors import CheckpointError, OpenatacError
from openatac.training.checkpoints.checkpoint import Checkpoints
from openatac.training.checkpoints.progress import Progress
from openatac.training.runs import session
from tests.conftest import ROOT
from tests.helpers.imagenet_hosts import small_network  # noqa: F401  (a fixture)
from tests.helpers.made_up_images import write_data_dir
from tests.helpers.scripts import call_script, finish, metrics_of, refusal, wait_until

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
    """Start 2 workers and a server by `openatac launch`; ``command``: what stands before the script."""
    return subprocess.Popen(
        [sys.executable, '-m', 'openatac', 'launch', '-n', '2', '-s', '1', '--', *command, sys.executable,
         str(ROOT / 'tests' / 'helpers' / 'imagenet_hosts.py'), *these], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)})


def parameters(folder):
    return {name: array.asnumpy() for name, array in mx.nd.load(os.path.join(folder, 'last.params')).items()}


def batches_in(log):
    return len(re.findall(r'^Epoch\[\d+\] Batch', log.read_text(), re.M)) if log.exists() else 0


def running(folder):
    """{process id: its command line} of the processes whose command names the folder."""
    found = {}
    for path in Path('/proc').glob('[0-9]*'):
        try:
            found[int(path.name)] = (path / 'cmdline').read_bytes()
        except OSError:  # it has ended
            continue
    return {pid: command for pid, command in found.items() if str(folder).encode() in command}


@pytest.fixture(scope='module')
def restarted(photos, tmp_path_factory):
    """The folder of a run one of whose workers was killed, and which was started again."""
    folder = tmp_path_factory.mktemp('restarted') / 'run'
    process = start_cluster(*flags(folder, photos, *CLUSTER))
    log = folder.with_suffix('.log')
    wait_until(process, lambda: batches_in(log) >= 5, 'the fifth batch')
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
def test_two_workers_one_killed_compute_what_one_process_does_with_the_whole_batch(
        restarted, photos, tmp_path):
    """But for the statistics of BatchNorm, which sees each worker's half."""
    one = tmp_path / 'one'
    assert call_script(*flags(one, photos, '--batch-size', 4), script=train_imagenet) == 0
    ours, theirs = parameters(restarted), parameters(one)
    for name, values in theirs.items():
        if 'running' not in name:
            assert np.abs(ours[name] - values).max() <= 1e-5 * max(1, np.abs(values).max()), name
    for row, expected in zip(metrics_of(restarted), metrics_of(one)):  # over both workers' images
        assert [row[key] for key in ('epoch', 'iteration', 'train_accuracy', 'val_accuracy')] == [
            expected[key] for key in ('epoch', 'iteration', 'train_accuracy', 'val_accuracy')]
        assert row['val_loss'] == pytest.approx(expected['val_loss'], rel=1e-4)


@pytest.mark.slow
def test_a_restart_goes_on_to_the_same_bits(restarted, photos, tmp_path):
    """Also to the same statistics of BatchNorm, of which each worker has its own."""
    run_cluster(tmp_path / 'whole', photos)
    ours, theirs = parameters(restarted), parameters(tmp_path / 'whole')
    for name, values in theirs.items():
        assert (ours[name] == values).all(), name


@pytest.mark.usefixtures('small_network')
def test_workers_with_different_settings_do_not_begin(photos, tmp_path, monkeypatch):
    class Worker(SingleProcess):
        """The first of two, the other of which has other settings."""

        size = 2

        def check_alike(self, settings):
            compared.update(settings)
            raise OpenatacError('seed is 1 on worker 0, 2 on worker 1')

    compared = {}
    monkeypatch.setattr(kvstore, 'join_run', Worker)
    assert call_script(*flags(tmp_path / 'run', photos), script=train_imagenet) == 1
    assert compared['seed'] == 1 and compared['batch_size'] and compared['initial_values']
    assert not (tmp_path / 'run' / 'last.params').exists()


@pytest.mark.slow  # test_launch.py shows what is particular to dist_async, without training
def test_asynchronous_training_trains_and_goes_on_from_its_weights(photos, tmp_path):
    folder = tmp_path / 'run'
    recipe = '--kvstore', 'dist_async', '--resume', 'auto'
    process = start_cluster(*flags(folder, photos, *recipe))
    wait_until(process, lambda: batches_in(tmp_path / 'run.log') >= 1, 'a batch')
    process.send_signal(signal.SIGTERM)
    stopped = finish(process)
    assert stopped.returncode == 128 + signal.SIGTERM, stopped.stderr
    first = parameters(folder)
    checkpoints = Checkpoints(str(folder / 'checkpoints'))  # made unlike any initial values
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


def test_workers_that_would_begin_at_different_places_do_not():
    class Others:
        size = 2

        @staticmethod
        def gather(message, name):
            return [message, [0, 0, message[2]]]

    class Learner:
        cluster = Others

        @staticmethod
        def checksum():
            return 1

    progress = Progress()
    session.check_same_start(Learner, progress)
    progress.epoch = 3
    with pytest.raises(CheckpointError, match='3 and 0, 0 and 0.*--save-dir'):
        session.check_same_start(Learner, progress)


@pytest.mark.usefixtures('small_network')
def test_a_run_of_two_workers_goes_on_longer_in_one_process(restarted, photos, tmp_path, capsys):
    folder = shutil.copytree(restarted, tmp_path / 'copy')
    longer = flags(folder, photos, '--resume', 'auto', '--num-epochs', EPOCHS + 2, '--batch-size', 4)
    error = refusal(capsys, 1, *longer, script=train_imagenet)
    assert "devices was '2 x 1 x cpu' and is '1 x cpu'" in error and '--allow-inexact-resume' in error
    assert call_script(*longer, '--allow-inexact-resume', script=train_imagenet) == 0
    rows, before = metrics_of(folder), metrics_of(restarted)
    assert rows[:EPOCHS] == before and len(rows) == EPOCHS + 2
    assert rows[-1]['train_loss'] == pytest.approx(before[-1]['train_loss'], rel=0.1)
