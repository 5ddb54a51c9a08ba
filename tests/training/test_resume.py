"""Runs that are killed, stopped, damaged and disturbed end as if nothing had happened to them."""
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

from openatac.training.tracking.log import log_to
from tests.helpers.full_disk import files_of_at_most
from tests.helpers.interrupted_runs import (
    BATCHES,
    EPOCHS,
    act_at_step,
    assert_same_end,
    checkpoint_names,
    content_of,
    drop_last_checkpoint,
    flags,
    kill_at_checkpoint,
    kill_often,
    outcome,
    signal_at_step,
)
from tests.helpers.made_up_images import write_cifar
from tests.helpers.scripts import call_script, run_script, start_script, the_error


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory, cifar10):
    """The folder of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp('uninterrupted') / 'run'
    assert call_script(*flags(cifar10, folder)) == 0
    return str(folder)


@pytest.fixture
def copy(uninterrupted, tmp_path):
    """A copy of that folder."""
    return shutil.copytree(uninterrupted, str(tmp_path / 'copy'))


# ----------------------------------------------------------------------------------- killed

def test_a_run_killed_while_it_saves_a_checkpoint_ends_as_it_would_have(tmp_path, cifar10, uninterrupted):
    folder = tmp_path / 'run'
    kill_at_checkpoint(start_script(*flags(cifar10, folder)), folder, epoch=1)
    assert call_script(*flags(cifar10, folder)) == 0
    assert_same_end(folder, uninterrupted)


@pytest.mark.slow
def test_a_run_killed_fifty_times_within_epochs_and_checkpoints_ends_as_it_would_have(tmp_path, cifar10):
    folders, epochs = [tmp_path / 'killed', tmp_path / 'not killed'], 40
    killed, not_killed = (flags(cifar10, folder, '--num-epochs', epochs) for folder in folders)
    kill_often(folders[0], 50, epochs, killed)
    for command in (killed, not_killed):
        assert run_script(*command).returncode == 0
    assert_same_end(*folders)


# ---------------------------------------------------------------------------------- stopped

def test_a_run_stopped_within_an_epoch_goes_on_from_that_batch(
        tmp_path, cifar10, uninterrupted, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        signal_at_step(patch, BATCHES + 5, signal.SIGINT)
        assert call_script(*flags(cifar10, tmp_path)) == 128 + signal.SIGINT
    error = the_error(1, capsys.readouterr().err)
    assert 'SIGINT' in error and '--resume auto' in error
    assert int(checkpoint_names(tmp_path)[-1]) == BATCHES + 6
    assert call_script(*flags(cifar10, tmp_path)) == 0
    assert 'epoch 1, batch 6' in capsys.readouterr().err
    assert_same_end(tmp_path, uninterrupted)


def test_a_signal_that_comes_while_the_processes_agree_is_obeyed_at_the_next_batch(
        tmp_path, cifar10, monkeypatch):
    asked = signal_at_step(monkeypatch, 4, signal.SIGTERM)
    assert call_script(*flags(cifar10, tmp_path)) == 128 + signal.SIGTERM
    assert asked == [0, 0, 0, 0, signal.SIGTERM]
    assert [int(name) for name in checkpoint_names(tmp_path)] == [5]


@pytest.fixture
def default_signals():
    """Signals as in a terminal, also where these tests run in the background or under nohup."""
    before = {signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
              signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_DFL)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures('default_signals')
@pytest.mark.parametrize('number', [signal.SIGUSR1, signal.SIGHUP])
def test_a_warning_of_the_queue_and_a_lost_terminal_stop_with_a_checkpoint(
        tmp_path, cifar10, monkeypatch, number):
    """A lost terminal sends SIGHUP twice."""
    asked = signal_at_step(monkeypatch, 4, number, times=2)
    assert call_script(*flags(cifar10, tmp_path)) == 128 + number
    assert asked[-1] == number and [int(name) for name in checkpoint_names(tmp_path)] == [5]


def test_a_hangup_that_is_ignored_does_not_stop_the_run(tmp_path, cifar10, monkeypatch):
    """As nohup has it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        signal_at_step(monkeypatch, 4, signal.SIGHUP)
        assert call_script(*flags(cifar10, tmp_path, '--num-epochs', 1)) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures('default_signals')
def test_a_second_signal_ends_the_run_without_a_checkpoint(tmp_path, cifar10, monkeypatch):
    signal_at_step(monkeypatch, 4, signal.SIGINT, times=2)
    assert call_script(*flags(cifar10, tmp_path)) == 128 + signal.SIGINT
    assert not (tmp_path / 'checkpoints').exists()


# ---------------------------------------------------------------------------------- damaged

@pytest.mark.parametrize('file', ['arrays.params', 'state.json', 'manifest.json'])
def test_after_a_damaged_checkpoint_the_one_before_it_is_taken(copy, cifar10, uninterrupted, capsys, file):
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
    assert call_script(*flags(cifar10, copy)) == 0
    said = capsys.readouterr().err
    assert os.path.dirname(path) in said and f'epoch {EPOCHS - 1}, batch 0' in said
    assert_same_end(copy, uninterrupted)


def test_if_all_checkpoints_are_damaged_the_run_says_so(copy, cifar10, capsys):
    for name in checkpoint_names(copy):
        os.truncate(os.path.join(copy, 'checkpoints', name, 'arrays.params'), 100)
    code = call_script(*flags(cifar10, copy))
    assert code == 1 and os.path.join(copy, 'checkpoints') in the_error(code, capsys.readouterr().err)


# ---------------------------------------------------------------------------------- refused

def test_other_settings_are_refused_with_the_difference(copy, cifar10, tmp_path, capsys):
    other_images = write_cifar(tmp_path / 'other', images=20, seed=1)
    renamed = shutil.copytree(cifar10, str(tmp_path / 'same images elsewhere'))
    for data, more, named in (
            (cifar10, ['--lr', 0.1], ['lr', '0.05', '0.1']),
            (cifar10, ['--seed', 4], ['seed', '3', '4']),
            (cifar10, ['--act-type', 'relu'], ['act_type', 'ChaATAC', 'relu']),
            (cifar10, ['--num-epochs', 7, '--wd', 0], ['num_epochs', '3', '7', 'wd', '0.0001', '0.0']),
            (other_images, [], ['data', '100:'])):
        code = call_script(*flags(data, copy, *more))
        error = the_error(code, capsys.readouterr().err)
        assert code == 1 and all(word in error for word in [*named, '--save-dir'])
    assert call_script(*flags(renamed, copy, '--log-interval', 1)) == 0


def test_other_pixels_are_other_data(copy, cifar10, tmp_path, capsys):
    changed = shutil.copytree(cifar10, str(tmp_path / 'changed'))
    path = os.path.join(changed, 'data_batch_1.bin')
    records = np.fromfile(path, np.uint8).reshape(-1, 3073)
    records[:, 1:] //= 2
    records.tofile(path)
    code = call_script(*flags(changed, copy))
    assert code == 1 and "'100:" in the_error(code, capsys.readouterr().err)


def test_a_new_run_does_not_start_where_another_was(copy, cifar10, capsys):
    before = outcome(copy)
    code = call_script(*flags(cifar10, copy, '--resume', 'never'))
    error = the_error(code, capsys.readouterr().err)
    assert code == 1 and copy in error and '--resume auto' in error
    assert outcome(copy) == before


def test_two_runs_do_not_share_a_folder(tmp_path, cifar10, uninterrupted, monkeypatch, capsys):
    refused = []

    def start_others():
        for more in ([], ['--resume', 'never', '--lr', 1]):
            capsys.readouterr()
            code = call_script(*flags(cifar10, tmp_path, *more))
            refused.append((code, the_error(code, capsys.readouterr().err)))

    act_at_step(monkeypatch, 5, start_others)
    assert call_script(*flags(cifar10, tmp_path)) == 0
    assert len(refused) == 2 and all(code == 1 and str(tmp_path) in error for code, error in refused)
    assert_same_end(tmp_path, uninterrupted)


# --------------------------------------------------------- a disk that is full or read-only

@pytest.mark.parametrize('file', ['arrays.params', 'last.params'])
def test_a_file_that_cannot_be_written_whole_harms_no_other(copy, cifar10, uninterrupted, capsys, file):
    drop_last_checkpoint(copy)
    name, = checkpoint_names(copy)
    folder = os.path.join(copy, 'checkpoints', name) if file == 'arrays.params' else copy
    before = [content_of(copy, name) for name in ('best.params', 'last.params')]
    with files_of_at_most(os.path.getsize(os.path.join(folder, file)) - 1000):
        code = call_script(*flags(cifar10, copy))
    error = the_error(code, capsys.readouterr().err)
    assert code == 1 and copy in error and '--resume auto' in error
    assert checkpoint_names(copy) == [name]
    if file == 'last.params':
        assert before == [content_of(copy, name) for name in ('best.params', 'last.params')]
    assert call_script(*flags(cifar10, copy)) == 0
    assert_same_end(copy, uninterrupted)


@pytest.fixture
def small_disk(tmp_path):
    """mount(options) makes tmp_path/disk a file system in memory, or mounts it again."""
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
def test_a_run_ends_on_a_full_or_read_only_disk_and_goes_on_where_there_is_room(
        copy, cifar10, uninterrupted, small_disk, capsys):
    def train():
        """(exit code, standard error); the log file is closed, for the disk to be mounted again."""
        code = call_script(*flags(cifar10, folder))
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
    assert code == 1 and folder in the_error(code, said) and checkpoint_names(folder) == [name]
    small_disk('remount,ro')
    code, said = train()
    assert code == 1 and os.strerror(errno.EROFS) in the_error(code, said)
    small_disk('remount,rw,size=100m')
    assert train()[0] == 0
    assert_same_end(folder, uninterrupted)


@pytest.mark.parametrize('name', ['checkpoints', 'train.log', 'settings.json', 'metrics.csv', 'summary.json',
                                  'history.png', 'best.params'])
def test_what_is_in_the_place_of_a_file_of_the_run_is_named(tmp_path, cifar10, capsys, name):
    if name == 'checkpoints':
        (tmp_path / name).write_text('a file')
    else:
        (tmp_path / name).mkdir()
    code = call_script(*flags(cifar10, tmp_path, '--act-type', 'relu', '--num-epochs', 1,
                              '--batch-size', 50))
    assert code == 1 and name in the_error(code, capsys.readouterr().err)


def test_a_plot_folder_that_cannot_be_made_is_noticed_before_training(tmp_path, cifar10, capsys):
    (tmp_path / 'file').write_text('')
    code = call_script(*flags(cifar10, tmp_path / 'run', '--save-plot-dir', tmp_path / 'file' / 'plots'))
    assert code == 1 and 'file' in the_error(code, capsys.readouterr().err)
    assert not (tmp_path / 'run' / 'metrics.csv').exists()
