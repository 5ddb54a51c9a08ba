"""Runs that are killed, stopped, damaged and disturbed end as if nothing had happened to them."""
import csv
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

from openatac.backends.base import SingleProcess
from openatac.backends.mxnet.engine import MxnetEngine
from openatac.models.cifar_resnet import ResNet20V2ATAC
from tests.made_up_images import write_cifar
from tests.scripts import (
    call_script,
    finish,
    json_of,
    log_of,
    run_script,
    start_script,
    the_error,
    wait_until,
)

EPOCHS, BATCHES = 6, 30


def flags(data, folder, *more):
    return ('--data-dir', data, '--save-dir', folder, '--blocks', 1, '--act-layers', 1, '--useReLU',
            '--batch-size', 10, '--num-epochs', EPOCHS, '--lr', 0.05, '--lr-decay-epoch', '2,4',
            '--drop-rate', 0.1, '--seed', 3, '--log-interval', 5, '--resume', 'auto', *more)


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory, cifar10):
    """The folder of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp('uninterrupted') / 'run'
    result = run_script(*flags(cifar10, folder))
    assert result.returncode == 0, result.stderr
    return str(folder)


@pytest.fixture
def copy(uninterrupted, tmp_path):
    """A copy of that folder."""
    return shutil.copytree(uninterrupted, str(tmp_path / 'copy'))


def checkpoint_names(folder):
    return sorted(os.listdir(os.path.join(folder, 'checkpoints')))


def without_speed(rows):
    return [{key: value for key, value in row.items() if key != 'images_per_second'} for row in rows]


def outcome(folder):
    """All that a run leaves, except what depends on the clock and on other processes."""
    last = os.path.join(folder, 'checkpoints', checkpoint_names(folder)[-1])
    state, summary = json_of(last, 'state.json'), json_of(folder, 'summary.json')
    state['progress']['history'] = without_speed(state['progress']['history'])
    del summary['images_per_second'], summary['command'], summary['disturbed'], state['progress']['disturbed']
    files = [content_of(folder, 'best.params'), content_of(folder, 'last.params'),
             content_of(last, 'arrays.params')]
    with open(os.path.join(folder, 'metrics.csv'), encoding='utf-8', newline='') as handle:
        return state, summary, files, without_speed(csv.DictReader(handle)), os.path.basename(last)


def assert_same_end(folder, uninterrupted):
    for ours, theirs in zip(outcome(folder), outcome(uninterrupted)):
        assert ours == theirs


def content_of(*path):
    with open(os.path.join(*path), 'rb') as handle:
        return handle.read()


def drop_last_checkpoint(folder):
    """As if the run had been killed in its last epoch."""
    shutil.rmtree(os.path.join(folder, 'checkpoints', checkpoint_names(folder)[-1]))


# Killed.

def kill_often(folder, kills, epochs, command):
    """Kill a run so many times, spread over its epochs: in the midst of one, or while it is saved."""
    chance = random.Random(kills)
    folder.mkdir()
    for number in range(kills):
        saved = checkpoint_names(folder) if (folder / 'checkpoints').exists() else []
        done = max([int(name) // BATCHES for name in saved if name.isdigit()], default=0)
        epoch, lines = max(done, number * epochs // kills), log_of(folder).count('\n')
        process = start_script(*command)
        if number % 2:
            temporary = folder / 'checkpoints' / ('.%010d' % ((epoch + 1) * BATCHES))
            final = temporary.with_name(temporary.name[1:])
            wait_until(process, lambda: temporary.exists() or final.exists(), 'a checkpoint')
            time.sleep(chance.uniform(0, 0.02))
        else:
            mark = 'Epoch[%d] Batch [%d/' % (epoch, chance.randrange(5, BATCHES, 5))
            wait_until(process, lambda: mark in ' '.join(log_of(folder).splitlines()[lines:]), mark)
            time.sleep(chance.uniform(0, 0.05))
        process.kill()
        result = finish(process)
        assert result.returncode == -signal.SIGKILL, 'it ended before it was killed: ' + result.stderr
    result = run_script(*command)
    assert result.returncode == 0, result.stderr


def test_killed_at_random_points_a_run_ends_as_it_would_have(tmp_path, cifar10, uninterrupted):
    folder = tmp_path / 'run'
    kill_often(folder, 6, EPOCHS, flags(cifar10, folder))
    assert_same_end(folder, uninterrupted)


@pytest.mark.slow
def test_killed_fifty_times_a_run_ends_as_it_would_have(tmp_path, cifar10):
    folders, epochs = [tmp_path / 'killed', tmp_path / 'not killed'], 40
    killed, not_killed = (flags(cifar10, folder, '--num-epochs', epochs) for folder in folders)
    kill_often(folders[0], 50, epochs, killed)
    assert run_script(*not_killed).returncode == 0
    assert_same_end(*folders)


# Stopped.

def test_stopped_by_signals_in_an_epoch_it_goes_on_from_that_batch(tmp_path, cifar10, uninterrupted):
    for number, epoch in ((signal.SIGTERM, 1), (signal.SIGINT, 3)):
        process = start_script(*flags(cifar10, tmp_path))
        wait_until(process, lambda: 'Epoch[%d] Batch [10/' % epoch in log_of(tmp_path), 'epoch %d' % epoch)
        process.send_signal(number)
        result = finish(process)
        assert result.returncode == 128 + number
        assert result.stderr.splitlines()[-1] == (
            'error: stopped by %s after a checkpoint: go on with --resume auto' % number.name)
        assert 'Traceback' not in result.stderr
        iteration = int(checkpoint_names(tmp_path)[-1])
        assert epoch * BATCHES + 10 <= iteration < (epoch + 1) * BATCHES, 'it was to stop within the epoch'
    result = run_script(*flags(cifar10, tmp_path))
    assert result.returncode == 0, result.stderr
    assert 'going on after epoch 3, batch %d' % (iteration % BATCHES) in result.stderr
    assert_same_end(tmp_path, uninterrupted)


def test_a_signal_that_comes_while_the_processes_agree_is_obeyed_at_the_next_batch(
        tmp_path, cifar10, monkeypatch):
    asked = []

    def gather(self, message, name='a message'):
        if name == 'a step':
            asked.append(message)
            if len(asked) == 4:
                signal.raise_signal(signal.SIGTERM)
        return [message]

    monkeypatch.setattr(SingleProcess, 'gather', gather)
    assert call_script(*flags(cifar10, tmp_path)) == 128 + signal.SIGTERM
    assert asked == [0, 0, 0, 0, signal.SIGTERM]
    assert [int(name) for name in checkpoint_names(tmp_path)] == [5]


def test_a_second_signal_is_obeyed_at_once(tmp_path, cifar10):
    process = start_script(*flags(cifar10, tmp_path, '--num-epochs', 1000))
    wait_until(process, lambda: 'Batch [' in log_of(tmp_path), 'the first batches')
    process.send_signal(signal.SIGSTOP)     # so that both are there before it can finish
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    wait_until(process, lambda: 'SIGTERM: stopping' in log_of(tmp_path) or process.poll() is not None,
               'the answer to the first')
    process.send_signal(signal.SIGTERM)
    assert finish(process).returncode in (-signal.SIGTERM, 143)


# Damaged.

@pytest.mark.parametrize('file', ['arrays.params', 'state.json', 'manifest.json'])
def test_after_a_damaged_checkpoint_the_one_before_it_is_taken(copy, cifar10, uninterrupted, file):
    path = os.path.join(copy, 'checkpoints', checkpoint_names(copy)[-1], file)
    if file == 'arrays.params':
        os.truncate(path, os.path.getsize(path) // 2)
    elif file == 'state.json':
        with open(path, encoding='utf-8') as handle:
            text = handle.read()
        with open(path, 'w', encoding='utf-8') as handle:
            handle.write(re.sub(r'"iteration": \d+', '"iteration": 1', text, count=1))
    else:
        os.remove(path)
    result = run_script(*flags(cifar10, copy))
    assert result.returncode == 0, result.stderr
    assert 'is damaged' in result.stderr
    assert 'going on after epoch %d, batch 0' % (EPOCHS - 1) in result.stderr
    assert_same_end(copy, uninterrupted)


def test_if_all_checkpoints_are_damaged_the_run_says_so(copy, cifar10, capsys):
    for name in checkpoint_names(copy):
        os.truncate(os.path.join(copy, 'checkpoints', name, 'arrays.params'), 100)
    code = call_script(*flags(cifar10, copy))
    assert code == 1 and 'no checkpoint in' in the_error(code, capsys.readouterr().err)


# Refused.

def test_other_settings_are_refused_with_the_difference(copy, cifar10, tmp_path, capsys):
    other_images = write_cifar(tmp_path / 'other', seed=1)
    renamed = shutil.copytree(cifar10, str(tmp_path / 'same images elsewhere'))
    for data, more, words in (
            (cifar10, ['--lr', 0.1], 'lr was 0.05 and is 0.1'),
            (cifar10, ['--seed', 4], 'seed was 3 and is 4'),
            (cifar10, ['--act-type', 'relu'], "act_type was 'ChaATAC' and is 'relu'"),
            (cifar10, ['--num-epochs', 7, '--wd', 0], 'num_epochs was 6 and is 7, wd was 0.0001 and is 0.0'),
            (other_images, [], "data was '300:")):
        code = call_script(*flags(data, copy, *more))
        error = the_error(code, capsys.readouterr().err)
        assert code == 1 and 'other settings: ' + words in error and '--save-dir' in error
    assert call_script(*flags(renamed, copy, '--log-interval', 1)) == 0


def test_other_pixels_are_other_data(copy, cifar10, tmp_path, capsys):
    changed = shutil.copytree(cifar10, str(tmp_path / 'changed'))
    path = os.path.join(changed, 'data_batch_1.bin')
    records = np.fromfile(path, np.uint8).reshape(-1, 3073)
    records[:, 1:] //= 2
    records.tofile(path)
    code = call_script(*flags(changed, copy))
    assert code == 1 and "data was '300:" in the_error(code, capsys.readouterr().err)


def test_a_new_run_does_not_start_where_another_was(copy, cifar10, capsys):
    before = outcome(copy)
    code = call_script(*flags(cifar10, copy, '--resume', 'never'))
    error = the_error(code, capsys.readouterr().err)
    assert code == 1 and 'holds a run already: go on with it by --resume auto' in error
    assert outcome(copy) == before


def test_two_runs_do_not_share_a_folder(tmp_path, cifar10, uninterrupted, capsys):
    first = start_script(*flags(cifar10, tmp_path))
    wait_until(first, lambda: 'Epoch[1]' in log_of(tmp_path), 'the second epoch')
    for more in ([], ['--resume', 'never', '--lr', 1]):
        code = call_script(*flags(cifar10, tmp_path, *more))
        assert code == 1 and 'another run is using' in the_error(code, capsys.readouterr().err)
    result = finish(first)
    assert result.returncode == 0, result.stderr
    assert_same_end(tmp_path, uninterrupted)


# A disk that is full or read-only.

@pytest.mark.parametrize('file', ['arrays.params', 'last.params'])
def test_a_file_that_cannot_be_written_whole_harms_no_other(copy, cifar10, uninterrupted, file):
    drop_last_checkpoint(copy)
    name, = checkpoint_names(copy)
    folder = os.path.join(copy, 'checkpoints', name) if file == 'arrays.params' else copy
    before = [content_of(copy, name) for name in ('best.params', 'last.params')]
    result = run_script(*flags(cifar10, copy), limit=os.path.getsize(os.path.join(folder, file)) - 1000)
    error = the_error(result.returncode, result.stderr)
    assert result.returncode == 1 and 'cannot be written' in error and '--resume auto' in error
    assert checkpoint_names(copy) == [name]
    if file == 'last.params':
        assert before == [content_of(copy, name) for name in ('best.params', 'last.params')]
    result = run_script(*flags(cifar10, copy))
    assert result.returncode == 0, result.stderr
    assert_same_end(copy, uninterrupted)


@pytest.fixture
def small_disk(tmp_path):
    """mount(options) makes tmp_path/disk a file system in memory, or mounts it anew."""
    disk = tmp_path / 'disk'
    disk.mkdir()

    def mount(options):
        done = subprocess.run(['mount', '-t', 'tmpfs', '-o', options, 'tmpfs', disk], capture_output=True)
        if done.returncode:
            pytest.skip('nothing can be mounted here')
        return disk

    try:
        yield mount
    finally:
        subprocess.run(['umount', disk], capture_output=True)


@pytest.mark.skipif(sys.platform != 'linux' or not shutil.which('mount'), reason='needs tmpfs')
def test_a_full_and_a_read_only_disk(copy, cifar10, uninterrupted, small_disk):
    drop_last_checkpoint(copy)
    size = sum(path.stat().st_size for path in Path(copy).rglob('*'))
    checkpoint = len(content_of(copy, 'checkpoints', checkpoint_names(copy)[0], 'arrays.params'))
    disk = small_disk('size=%d' % (size + checkpoint))
    folder = shutil.copytree(copy, str(disk / 'run'))
    name, = checkpoint_names(folder)
    with open(disk / 'filler', 'wb') as filler:     # room for half a checkpoint is left
        filler.write(bytes(checkpoint // 2))
    result = run_script(*flags(cifar10, folder))
    error = the_error(result.returncode, result.stderr)
    assert result.returncode == 1 and 'cannot be written' in error and checkpoint_names(folder) == [name]
    small_disk('remount,ro')
    result = run_script(*flags(cifar10, folder))
    error = the_error(result.returncode, result.stderr)
    assert result.returncode == 1 and 'cannot be written (Read-only file system)' in error
    small_disk('remount,rw,size=100m')
    result = run_script(*flags(cifar10, folder))
    assert result.returncode == 0, result.stderr
    assert_same_end(folder, uninterrupted)


@pytest.mark.parametrize('name', ['checkpoints', 'train.log', 'settings.json', 'metrics.csv', 'summary.json',
                                  'history.png', 'best.params'])
def test_something_else_in_the_place_of_what_a_run_writes(tmp_path, cifar10, capsys, name):
    if name == 'checkpoints':
        (tmp_path / name).write_text('a file')
    else:
        (tmp_path / name).mkdir()
    code = call_script(*flags(cifar10, tmp_path, '--act-type', 'relu', '--num-epochs', 1))
    error = the_error(code, capsys.readouterr().err)
    assert code == 1 and 'cannot be written' in error


def test_a_plot_folder_that_cannot_be_made_is_noticed_before_training(tmp_path, cifar10, capsys):
    (tmp_path / 'file').write_text('')
    code = call_script(*flags(cifar10, tmp_path / 'run', '--save-plot-dir', tmp_path / 'file' / 'plots'))
    assert code == 1 and 'file' in the_error(code, capsys.readouterr().err)
    assert not (tmp_path / 'run' / 'metrics.csv').exists()


# The engine's state.

def engine(devices):
    mx.random.seed(0)
    contexts = [mx.cpu(device) for device in range(devices)]
    net = ResNet20V2ATAC([1] * 3, act_type='relu')
    net.initialize(mx.init.MSRAPrelu(), ctx=contexts)
    settings = {'learning_rate': 0.1, 'momentum': 0.9, 'wd': 1e-4}
    return MxnetEngine(net, contexts, settings, (3, 32, 32))


def train_on(engine, steps):
    for step in steps:
        chance = np.random.RandomState(step)
        engine.train_batch(chance.randn(16, 3, 32, 32).astype('float32'), chance.randint(0, 10, 16), 0.1)


def state_of(engine):
    return engine.state()[0]


def assert_same_state(ours, theirs):
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not np.array_equal(ours[name], theirs[name])] == []


@pytest.mark.parametrize('devices', [1, 2])
def test_the_state_waits_for_the_last_step(devices):
    """MXNet does not know that a backward pass still has running statistics to write."""
    trained = engine(devices)
    train_on(trained, range(4))
    at_once = state_of(trained)
    mx.nd.waitall()
    assert_same_state(at_once, state_of(trained))


@pytest.mark.parametrize('devices', [1, 2])
def test_each_device_goes_on_with_its_own_statistics(devices):
    trained, resumed = engine(devices), engine(devices)
    train_on(trained, range(3))
    mx.nd.waitall()
    arrays, numbers = trained.state()
    resumed.load_state({name: array.copy() for name, array in arrays.items()}, numbers)
    for each in (trained, resumed):
        train_on(each, range(3, 6))
        mx.nd.waitall()
    assert_same_state(state_of(resumed), state_of(trained))
