"""A run resumed with another schedule equals one that always had it, or is refused with the reason."""
import os
import re
import shutil
import signal

import pytest

import train_imagenet
from tests.helpers.processes.interrupted_runs import (
    BATCHES,
    assert_same_outcome,
    checkpoint_names,
    flags,
    signal_at_step,
)
from tests.helpers.processes.scripts import log_of, run_in_process, script_error


@pytest.fixture(scope='module')
def three_epochs(tmp_path_factory, cifar10):
    """The folder of a finished run of three epochs, whose rate decays at epochs 1 and 2."""
    folder = tmp_path_factory.mktemp('three') / 'run'
    assert run_in_process(*flags(cifar10, folder)) == 0
    return str(folder)


@pytest.fixture
def copy(three_epochs, tmp_path):
    """A copy of that folder."""
    return shutil.copytree(three_epochs, str(tmp_path / 'copy'))


# ----------------------------------------------------------------------------- more epochs

LONGER = '--num-epochs', 4, '--lr-decay-epoch', '1,2,3'


def test_finished_run_is_extended_exactly(tmp_path, cifar10, copy):
    """A further decay is allowed, since it would not have changed any iteration so far."""
    assert run_in_process(*flags(cifar10, tmp_path / 'longer', *LONGER)) == 0
    assert run_in_process(*flags(cifar10, copy, *LONGER)) == 0
    assert_same_outcome(copy, tmp_path / 'longer')
    assert sorted(os.listdir(copy)) == sorted(os.listdir(tmp_path / 'longer'))
    assert re.search('num_epochs .*3 .*4', log_of(copy))


def test_run_stopped_within_an_epoch_is_extended_exactly(tmp_path, cifar10, three_epochs, monkeypatch):
    with monkeypatch.context() as patched:
        signal_at_step(patched, BATCHES + 7, signal.SIGTERM)
        assert run_in_process(*flags(cifar10, tmp_path, '--num-epochs', 2)) == 128 + signal.SIGTERM
    assert run_in_process(*flags(cifar10, tmp_path)) == 0
    assert_same_outcome(tmp_path, three_epochs)


def test_stopped_longer_run_is_not_a_finished_shorter_run(cifar10, copy, monkeypatch):
    signal_at_step(monkeypatch, 5, signal.SIGTERM)
    assert run_in_process(*flags(cifar10, copy, *LONGER)) == 128 + signal.SIGTERM
    assert not os.path.exists(os.path.join(copy, 'summary.json'))


@pytest.mark.parametrize('more, named', [
    (['--num-epochs', 4, '--lr-decay-epoch', '2,3'], ['lr_decay_epoch', str(BATCHES), '0.005', '0.05']),
    (['--num-epochs', 4, '--lr-decay', 0.5], ['lr_decay', str(BATCHES), '0.005', '0.025']),
    (['--num-epochs', 4, '--lr-decay-period', 2], ['lr_decay_period', str(BATCHES)]),
    (['--num-epochs', 2], ['num_epochs', '3', '2'])])
def test_incompatible_past_is_refused_with_the_difference_and_remedy(cifar10, copy, capsys, more, named):
    before = checkpoint_names(copy)
    error = script_error(capsys, 1, *flags(cifar10, copy, *more))
    assert all(word in error for word in [*named, '--save-dir', f'--resume-from {copy}/last.params'])
    assert checkpoint_names(copy) == before and os.path.exists(os.path.join(copy, 'summary.json'))


def test_suggested_remedy_trains_from_the_weights(cifar10, copy, tmp_path):
    assert run_in_process(*flags(cifar10, tmp_path / 'new', '--num-epochs', 1, '--lr-decay', 0.5,
                                 '--resume-from', copy + '/last.params')) == 0


# -------------------------------------------------------------------------------- ImageNet

def photo_flags(folder, photos, *more):
    return ('--data-dir', photos, '--num-classes', 2, '--input-size', 32, '--batch-size', 5, '--seed', 1,
            '-j', 0, '--lr', 0.02, '--warmup-epochs', 1, '--save-dir', folder, '--logging-file',
            f'{folder}.log', '--resume', 'auto', '--save-frequency', 1, *more)


def train_on_photos(*flags):
    assert run_in_process(*photo_flags(*flags), script=train_imagenet) == 0


@pytest.mark.usefixtures('small_network')
@pytest.mark.parametrize('more', [('--lr-decay-epoch', '1'), ('--lr-decay-epoch', '', '--mixup')])
def test_run_on_photographs_is_extended_exactly(tmp_path, photos, more):
    folders = tmp_path / 'longer', tmp_path / 'extended'
    for folder, epochs in ((folders[0], 4), (folders[1], 3), (folders[1], 4)):
        train_on_photos(folder, photos, '--num-epochs', epochs, *more)
    assert_same_outcome(*folders)
    assert sorted(os.listdir(folders[0])) == sorted(os.listdir(folders[1]))


@pytest.mark.usefixtures('small_network')
@pytest.mark.parametrize('more, named', [
    (('--lr-mode', 'cosine'), 'rate'), (('--lr-mode', 'poly'), 'rate'),
    (('--lr-decay-epoch', '3'), 'rate'),
    (('--lr-decay-epoch', '', '--mixup', '--mixup-off-epoch', 1), 'mixup')])
def test_incompatible_past_of_a_run_on_photographs_is_refused(tmp_path, photos, capsys, more, named):
    """The decay at epoch 3 was not reached, but the last learning rates for three and four epochs differ."""
    folder = tmp_path / 'run'
    train_on_photos(folder, photos, '--num-epochs', 3, *more)
    error = script_error(capsys, 1, *photo_flags(folder, photos, '--num-epochs', 4, *more),
                         script=train_imagenet)
    assert all(word in error for word in [
        named, 'num_epochs', '--save-dir', f'--resume-params {folder}/last.params'])
