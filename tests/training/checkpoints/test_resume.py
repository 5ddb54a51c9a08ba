"""Runs that are killed, stopped, damaged or disturbed end as if uninterrupted."""
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from openatac.console.log import log_to
from tests.helpers.images.made_up_images import write_cifar
from tests.helpers.processes.full_disk import limit_file_size
from tests.helpers.processes.interrupted_runs import (
    BATCHES,
    EPOCHS,
    act_at_step,
    assert_same_outcome,
    checkpoint_names,
    content_of,
    drop_last_checkpoint,
    flags,
    kill_at_checkpoint,
    kill_often,
    outcome,
    signal_at_step,
)
from tests.helpers.processes.scripts import error_line, run_in_process, run_script, script_error, start_script


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory, cifar10):
    """The folder of an uninterrupted run."""
    folder = tmp_path_factory.mktemp('uninterrupted') / 'run'
    assert run_in_process(*flags(cifar10, folder)) == 0
    return str(folder)


@pytest.fixture
def copy(uninterrupted, tmp_path):
    """A copy of that folder."""
    return shutil.copytree(uninterrupted, str(tmp_path / 'copy'))


# ----------------------------------------------------------------------------------- killed

def test_run_killed_while_saving_a_checkpoint_resumes_exactly(tmp_path, cifar10, uninterrupted):
    folder = tmp_path / 'run'
    kill_at_checkpoint(start_script(*flags(cifar10, folder)), folder, epoch=1)
    assert run_in_process(*flags(cifar10, folder)) == 0
    assert_same_outcome(folder, uninterrupted)


@pytest.mark.slow
def test_run_killed_fifty_times_resumes_exactly(tmp_path, cifar10):
    folders, epochs = [tmp_path / 'killed', tmp_path / 'not killed'], 40
    killed, not_killed = (flags(cifar10, folder, '--num-epochs', epochs) for folder in folders)
    kill_often(folders[0], 50, epochs, killed)
    for command in (killed, not_killed):
        assert run_script(*command).returncode == 0
    assert_same_outcome(*folders)


# ---------------------------------------------------------------------------------- stopped

def test_run_stopped_within_an_epoch_resumes_at_that_batch(tmp_path, cifar10, uninterrupted, monkeypatch,
                                                           capsys):
    with monkeypatch.context() as patch:
        signal_at_step(patch, BATCHES + 5, signal.SIGINT)
        assert run_in_process(*flags(cifar10, tmp_path)) == 128 + signal.SIGINT
    error = error_line(1, capsys.readouterr().err)
    assert 'SIGINT' in error and '--resume auto' in error
    assert int(checkpoint_names(tmp_path)[-1]) == BATCHES + 6
    assert run_in_process(*flags(cifar10, tmp_path)) == 0
    assert 'epoch 1, batch 6' in capsys.readouterr().err
    assert_same_outcome(tmp_path, uninterrupted)


def test_signal_during_agreement_is_obeyed_at_the_next_batch(tmp_path, cifar10, monkeypatch):
    asked = signal_at_step(monkeypatch, 4, signal.SIGTERM)
    assert run_in_process(*flags(cifar10, tmp_path)) == 128 + signal.SIGTERM
    assert asked == [0, 0, 0, 0, signal.SIGTERM]
    assert [int(name) for name in checkpoint_names(tmp_path)] == [5]


@pytest.fixture
def default_signals():
    """Handle signals as in a terminal, even if these tests run in the background or under nohup."""
    before = {signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
              signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_DFL)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures('default_signals')
@pytest.mark.parametrize('number', [signal.SIGUSR1, signal.SIGHUP])
def test_queue_warning_and_hangup_stop_with_a_checkpoint(tmp_path, cifar10, monkeypatch, number):
    """Closing a terminal sends SIGHUP twice."""
    asked = signal_at_step(monkeypatch, 4, number, times=2)
    assert run_in_process(*flags(cifar10, tmp_path)) == 128 + number
    assert asked[-1] == number and [int(name) for name in checkpoint_names(tmp_path)] == [5]


def test_ignored_hangup_does_not_stop_the_run(tmp_path, cifar10, monkeypatch):
    """Ignore SIGHUP as nohup does."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        signal_at_step(monkeypatch, 4, signal.SIGHUP)
        assert run_in_process(*flags(cifar10, tmp_path, '--num-epochs', 1)) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures('default_signals')
def test_second_signal_ends_the_run_without_a_checkpoint(tmp_path, cifar10, monkeypatch):
    signal_at_step(monkeypatch, 4, signal.SIGINT, times=2)
    assert run_in_process(*flags(cifar10, tmp_path)) == 128 + signal.SIGINT
    assert not (tmp_path / 'checkpoints').exists()


# ---------------------------------------------------------------------------------- damaged

@pytest.mark.parametrize('file', ['arrays.params', 'state.json', 'manifest.json'])
def test_damaged_checkpoint_falls_back_to_the_previous_one(copy, cifar10, uninterrupted, capsys, file):
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
    assert run_in_process(*flags(cifar10, copy)) == 0
    said = capsys.readouterr().err
    assert os.path.dirname(path) in said and f'epoch {EPOCHS - 1}, batch 0' in said
    assert_same_outcome(copy, uninterrupted)


def test_error_if_all_checkpoints_are_damaged(copy, cifar10, capsys):
    for name in checkpoint_names(copy):
        os.truncate(os.path.join(copy, 'checkpoints', name, 'arrays.params'), 100)
    assert os.path.join(copy, 'checkpoints') in script_error(capsys, 1, *flags(cifar10, copy))


# ---------------------------------------------------------------------------------- refused

def test_changed_settings_are_refused_with_the_difference(copy, cifar10, tmp_path, capsys):
    other_images = write_cifar(tmp_path / 'other', images=20, seed=1)
    renamed = shutil.copytree(cifar10, str(tmp_path / 'same images elsewhere'))
    for data, more, named in (
            (cifar10, ['--lr', 0.1], ['lr', '0.05', '0.1']),
            (cifar10, ['--seed', 4], ['seed', '3', '4']),
            (cifar10, ['--act-type', 'relu'], ['act_type', 'ChaATAC', 'relu']),
            (cifar10, ['--num-epochs', 7, '--wd', 0], ['num_epochs', '3', '7', 'wd', '0.0001', '0.0']),
            (other_images, [], ['data', '100:'])):
        error = script_error(capsys, 1, *flags(data, copy, *more))
        assert all(word in error for word in [*named, '--save-dir'])
    assert run_in_process(*flags(renamed, copy, '--log-interval', 1)) == 0


def test_changed_pixels_count_as_other_data(copy, cifar10, tmp_path, capsys):
    changed = shutil.copytree(cifar10, str(tmp_path / 'changed'))
    path = os.path.join(changed, 'data_batch_1.bin')
    records = np.fromfile(path, np.uint8).reshape(-1, 3073)
    records[:, 1:] //= 2
    records.tofile(path)
    assert "'100:" in script_error(capsys, 1, *flags(changed, copy))


def test_new_run_does_not_overwrite_another(copy, cifar10, capsys):
    before = outcome(copy)
    error = script_error(capsys, 1, *flags(cifar10, copy, '--resume', 'never'))
    assert copy in error and '--resume auto' in error
    assert outcome(copy) == before


def test_two_runs_do_not_share_a_folder(tmp_path, cifar10, uninterrupted, monkeypatch, capsys):
    refused = []

    def start_others():
        for more in ([], ['--resume', 'never', '--lr', 1]):
            capsys.readouterr()
            refused.append(script_error(capsys, 1, *flags(cifar10, tmp_path, *more)))

    act_at_step(monkeypatch, 5, start_others)
    assert run_in_process(*flags(cifar10, tmp_path)) == 0
    assert len(refused) == 2 and all(str(tmp_path) in error for error in refused)
    assert_same_outcome(tmp_path, uninterrupted)


# ----------------------------------------------------------------- a full or read-only disk

@pytest.mark.parametrize('file', ['arrays.params', 'last.params'])
def test_incomplete_write_harms_no_other_file(copy, cifar10, uninterrupted, capsys, file):
    drop_last_checkpoint(copy)
    name, = checkpoint_names(copy)
    folder = os.path.join(copy, 'checkpoints', name) if file == 'arrays.params' else copy
    before = [content_of(copy, other) for other in ('best.params', 'last.params')]
    with limit_file_size(os.path.getsize(os.path.join(folder, file)) - 1000):
        error = script_error(capsys, 1, *flags(cifar10, copy))
    assert copy in error and '--resume auto' in error
    assert checkpoint_names(copy) == [name]
    if file == 'last.params':
        assert before == [content_of(copy, other) for other in ('best.params', 'last.params')]
    assert run_in_process(*flags(cifar10, copy)) == 0
    assert_same_outcome(copy, uninterrupted)


@pytest.fixture
def small_disk(tmp_path):
    """A function mount(options) that mounts or remounts a file system in memory at tmp_path/disk."""
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
def test_run_stopped_by_a_full_or_read_only_disk_resumes_with_space(copy, cifar10, uninterrupted, small_disk,
                                                                    capsys):
    def train():
        """Train, then close the log file to allow a remount; return (exit code, standard error)."""
        code = run_in_process(*flags(cifar10, folder))
        log_to()
        return code, capsys.readouterr().err

    drop_last_checkpoint(copy)
    size = sum(path.stat().st_size for path in Path(copy).rglob('*'))
    checkpoint = len(content_of(copy, 'checkpoints', checkpoint_names(copy)[0], 'arrays.params'))
    disk = small_disk(f'size={size + checkpoint}')
    folder = shutil.copytree(copy, str(disk / 'run'))
    name, = checkpoint_names(folder)
    with open(disk / 'filler', 'wb') as filler:     # room for half a checkpoint is left
        filler.write(bytes(checkpoint // 2))
    code, said = train()
    assert code == 1 and folder in error_line(code, said) and checkpoint_names(folder) == [name]
    small_disk('remount,ro')
    code, said = train()
    assert code == 1 and os.strerror(errno.EROFS) in error_line(code, said)
    small_disk('remount,rw,size=100m')
    assert train()[0] == 0
    assert_same_outcome(folder, uninterrupted)


@pytest.mark.parametrize('name', ['checkpoints', 'train.log', 'settings.json', 'metrics.csv', 'summary.json',
                                  'history.png', 'best.params'])
def test_obstacle_in_place_of_a_run_file_is_named(tmp_path, cifar10, capsys, name):
    if name == 'checkpoints':
        (tmp_path / name).write_text('a file')
    else:
        (tmp_path / name).mkdir()
    more = '--act-type', 'relu', '--num-epochs', 1, '--batch-size', 50
    assert name in script_error(capsys, 1, *flags(cifar10, tmp_path, *more))


def test_unusable_plot_folder_is_reported_before_training(tmp_path, cifar10, capsys):
    (tmp_path / 'file').write_text('')
    plots = '--save-plot-dir', tmp_path / 'file' / 'plots'
    assert str(tmp_path / 'file') in script_error(capsys, 1, *flags(cifar10, tmp_path / 'run', *plots))
    assert not (tmp_path / 'run' / 'metrics.csv').exists()
