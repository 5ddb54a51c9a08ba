"""--dry-run times every part of a run, and leaves no run."""
import os
import re

import pytest

from tests.helpers.processes.scripts import run_in_process, script_error

pytestmark = pytest.mark.usefixtures('isolated_cwd')
NETWORK = '--blocks', 1, '--act-layers', 1, '--useReLU', '--seed', 3


def test_dry_run_times_every_part_and_leaves_no_run(cifar10, capsys):
    these = '--data-dir', cifar10, *NETWORK, '--batch-size', 5, '--save-dir', 'run'
    assert run_in_process(*these, '--dry-run', 3, '--export', 'net') == 0
    header, *parts, _ = capsys.readouterr().out.splitlines()
    assert [line.split('  ')[0] for line in parts] == [
        'read', 'first batch', 'warm-up', 'train', 'validate', 'checkpoint', 'resume']
    assert [int(re.split('  +', line)[1]) for line in parts[:5]] == [3, 1, 1, 2, 3]
    assert header.split()[0] == 'part'
    assert os.listdir() == ['run'] and os.listdir('run') == ['train.log']
    assert run_in_process(*these, '--num-epochs', 1) == 0      # in the same, still empty folder


def test_dry_run_of_one_batch_times_its_training_too(cifar10, capsys):
    assert run_in_process('--data-dir', cifar10, *NETWORK, '--batch-size', 5, '--dry-run', 1) == 0
    _, *parts, _ = capsys.readouterr().out.splitlines()
    assert [line.split('  ')[0] for line in parts] == [
        'read', 'first batch', 'train', 'validate', 'checkpoint', 'resume']


def test_dry_run_reports_a_learning_rate_that_is_too_high(cifar10, capsys):
    error = script_error(capsys, 1, '--data-dir', cifar10, *NETWORK, '--batch-size', 20, '--lr', 1e30,
                         '--dry-run', 9)
    assert '--lr' in error
    assert os.listdir('params') == ['train.log']
