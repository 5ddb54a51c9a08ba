"""train_imagenet.py in several processes on this machine: equal to one, noticed deaths, exact resuming."""
import os
import re
import signal
import subprocess
import sys

import mxnet as mx
import numpy as np
import pytest

import train_imagenet
from openatac.errors import CheckpointError
from openatac.training import loop, session
from openatac.training.checkpoint import Checkpoints
from tests.conftest import ROOT
from tests.photo_sets import write_data_dir
from tests.scripts import call_script, finish, metrics_of, wait_until

NO_BATCH_NORM = ('--use-gn', '--act-layers', 0)


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    return write_data_dir(tmp_path_factory.mktemp('photos'))


def flags(folder, photos, *more):
    # --last-gamma, as BatchNorm of two images that are one pixel wide has gradients beyond all measure
    return tuple(map(str, (
        '--data-dir', photos, '--r', 2, '--num-classes', 2, '--input-size', 32, '--batch-size', 2,
        '--seed', 1, '-j', 0, '--lr', 0.002, '--last-gamma', '--log-interval', 1, '--save-dir', folder,
        '--logging-file', str(folder) + '.log', *more)))


def start_cluster(*these, command=()):
    """Start 2 workers and a server by `openatac launch`; ``command``: what stands before the script."""
    return subprocess.Popen(
        [sys.executable, '-m', 'openatac', 'launch', '-n', '2', '-s', '1', '--', *command, sys.executable,
         str(ROOT / 'train_imagenet.py'), *these], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)})


def parameters(folder):
    return {name: array.asnumpy() for name, array in mx.nd.load(os.path.join(folder, 'last.params')).items()}


def batches_in(log):
    return len(re.findall(r'^Epoch\[\d+\] Batch', open(log).read(), re.M)) if os.path.exists(log) else 0


def running(folder):
    """The processes whose command names the folder."""
    found = []
    for process in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open('/proc/%s/cmdline' % process, 'rb') as handle:
                if str(folder).encode() in handle.read():
                    found.append(int(process))
        except OSError:  # it has ended
            continue
    return found


def test_two_workers_compute_what_one_process_does_with_the_whole_batch(photos, tmp_path):
    """Where no BatchNorm is: one would have the statistics of each worker's half."""
    two, one = str(tmp_path / 'two'), str(tmp_path / 'one')
    result = finish(start_cluster(
        *flags(two, photos, *NO_BATCH_NORM, '--num-epochs', 2, '--kvstore', 'dist_sync')))
    assert result.returncode == 0, result.stderr
    assert call_script(*flags(one, photos, *NO_BATCH_NORM, '--num-epochs', 2, '--batch-size', 4),
                       script=train_imagenet) == 0
    ours, theirs = parameters(two), parameters(one)
    for name, values in theirs.items():
        assert np.abs(ours[name] - values).max() <= 1e-6 * max(1, np.abs(values).max()), name
    for row, expected in zip(metrics_of(two), metrics_of(one)):  # over both workers' images
        assert [row[key] for key in ('epoch', 'iteration', 'train_accuracy', 'val_accuracy')] == [
            expected[key] for key in ('epoch', 'iteration', 'train_accuracy', 'val_accuracy')]
        assert row['val_loss'] == pytest.approx(expected['val_loss'], rel=1e-5)
    assert not running(two)


def test_a_dead_worker_ends_the_run_and_a_restart_goes_on_to_the_same_bits(photos, tmp_path):
    """With BatchNorm, of which each worker has statistics of its own."""
    whole, broken = tmp_path / 'whole', tmp_path / 'broken'
    recipe = ('--num-epochs', 2, '--kvstore', 'dist_device_sync', '--resume', 'auto')
    result = finish(start_cluster(*flags(whole, photos, *recipe)))
    assert result.returncode == 0, result.stderr

    process = start_cluster(*flags(broken, photos, *recipe))
    wait_until(process, lambda: batches_in(str(broken) + '.log') >= 5, 'the fifth batch')
    workers = [number for number in running(broken) if b'DMLC_ROLE=worker' in environment(number)
               and b'launch' not in command(number)]
    os.kill(workers[-1], signal.SIGKILL)
    died = finish(process, timeout=60)
    assert died.returncode != 0 and '--resume auto' in died.stderr, died.stderr
    assert not running(broken)

    result = finish(start_cluster(*flags(broken, photos, *recipe)))
    assert result.returncode == 0, result.stderr
    ours, theirs = parameters(broken), parameters(whole)
    for name, values in theirs.items():
        assert (ours[name] == values).all(), name


def environment(number):
    with open('/proc/%d/environ' % number, 'rb') as handle:
        return handle.read()


def command(number):
    with open('/proc/%d/cmdline' % number, 'rb') as handle:
        return handle.read()


def test_workers_with_different_settings_do_not_begin(photos, tmp_path):
    result = finish(start_cluster(
        *flags(tmp_path / 'run', photos, '--num-epochs', 1, '--kvstore', 'dist_sync'),
        command=['sh', '-c', 'exec "$@" --seed $$', 'sh']))
    assert result.returncode == 1 and 'different settings' in result.stderr and 'seed is' in result.stderr
    assert not running(tmp_path / 'run')


def test_asynchronous_training_trains_and_goes_on_from_its_weights(photos, tmp_path):
    folder = tmp_path / 'run'
    recipe = (*NO_BATCH_NORM, '--kvstore', 'dist_async', '--resume', 'auto', '--num-epochs', 2)
    process = start_cluster(*flags(folder, photos, *recipe))
    wait_until(process, lambda: batches_in(str(folder) + '.log') >= 1, 'a batch')
    process.send_signal(signal.SIGTERM)
    stopped = finish(process)
    assert stopped.returncode == 128 + signal.SIGTERM, stopped.stderr
    first = parameters(folder)
    checkpoints = Checkpoints(str(folder / 'checkpoints'))  # made unlike any initial values
    arrays, state = checkpoints.latest()
    other = {name: 2 * array if 'conv2.weight' in name else array for name, array in arrays.items()}
    checkpoints.save(state['engine']['iteration'], other, state)
    result = finish(start_cluster(*flags(folder, photos, *recipe)))
    assert result.returncode == 0, result.stderr
    rows, last = metrics_of(folder), parameters(folder)
    assert len(rows) == 2 and all(np.isfinite(row['train_loss']) for row in rows)
    for name, values in last.items():
        if name.endswith('conv2.weight'):
            assert np.abs(values).sum() == pytest.approx(2 * np.abs(first[name]).sum(), rel=0.2), name


def test_workers_that_would_begin_at_different_places_do_not():
    class Others:
        size = 2

        @staticmethod
        def gather(message, name):
            return [message, [0, 0, message[2]]]

    class Engine:
        cluster = Others

        @staticmethod
        def checksum():
            return 1

    progress = loop.Progress()
    session.check_same_start(Engine, progress)
    progress.epoch = 3
    with pytest.raises(CheckpointError, match='3 and 0, 0 and 0.*one folder that all machines share'):
        session.check_same_start(Engine, progress)
