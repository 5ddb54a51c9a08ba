"""--val-split chooses the best epoch on held-out training images, and uses the test images once."""
import os
import re
import shutil
import signal

import numpy as np
import pytest

import train_imagenet
from openatac import cli
from openatac.study.comparison.comparison import Comparison, group_runs
from openatac.study.comparison.sentences import circumstances
from openatac.study.finished_runs import find_runs
from openatac.training.checkpoints.checkpoint import checkpoints_of
from tests.helpers.images.made_up_images import write_data_dir
from tests.helpers.processes.commands import call_command, command_error, rows_of
from tests.helpers.processes.interrupted_runs import (
    BATCHES,
    assert_same_outcome,
    content_of,
    flags,
    signal_at_step,
)
from tests.helpers.processes.scripts import json_of, log_of, metrics_of, run_in_process, script_error

SPLIT = '--val-split', 0.2


# ---------------------------------------------------------------------------------------- CIFAR

@pytest.fixture(scope='module')
def held_out(tmp_path_factory, cifar10):
    """The folder of a run of `tests.helpers.processes.interrupted_runs` with a validation split."""
    folder = tmp_path_factory.mktemp('held-out') / 'run'
    assert run_in_process(*flags(cifar10, folder, *SPLIT)) == 0
    return str(folder)


def test_run_reports_the_validation_and_the_test_part(held_out, cifar10, capsys):
    summary, rows = json_of(held_out, 'summary.json'), metrics_of(held_out)
    assert [summary[key] for key in ('training_images', 'validation_images', 'test_images')] == [80, 20, 20]
    assert rows[-1]['iteration'] == 3 * 8
    assert summary['best_accuracy'] == max(row['val_accuracy'] for row in rows)
    assert f'{summary["test_accuracy"]:.4f}' in log_of(held_out).splitlines()[-1]
    assert run_in_process('--data-dir', cifar10, '--blocks', 1, '--act-layers', 1, '--useReLU', '--evaluate',
                          held_out + '/best.params') == 0
    tested = float(re.search(r'accuracy=(\S+)', capsys.readouterr().err)[1])
    assert summary['test_accuracy'] == pytest.approx(tested, abs=1e-6)


def test_only_the_test_accuracy_depends_on_the_test_images(held_out, cifar10, tmp_path):
    other = shutil.copytree(cifar10, str(tmp_path / 'data'))
    path = os.path.join(other, 'test_batch.bin')
    records = np.fromfile(path, np.uint8).reshape(-1, 3073)
    records[:, 0] = (records[:, 0] + 1) % 10
    records.tofile(path)
    assert run_in_process(*flags(other, tmp_path / 'run', *SPLIT)) == 0
    for name in ('best.params', 'last.params'):
        assert content_of(tmp_path, 'run', name) == content_of(held_out, name)
    ours, theirs = (json_of(folder, 'summary.json') for folder in (tmp_path / 'run', held_out))
    assert ours['best_accuracy'] == theirs['best_accuracy']
    assert ours['test_accuracy'] != theirs['test_accuracy']


def test_resumed_run_keeps_its_split(held_out, cifar10, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patched:
        signal_at_step(patched, BATCHES, signal.SIGTERM)
        assert run_in_process(*flags(cifar10, tmp_path, *SPLIT)) == 128 + signal.SIGTERM
    for more in (['--val-split', 0.3], [*SPLIT, '--val-seed', 1], []):
        capsys.readouterr()
        assert 'val_s' in script_error(capsys, 1, *flags(cifar10, tmp_path, *more))
    assert run_in_process(*flags(cifar10, tmp_path, *SPLIT)) == 0
    assert_same_outcome(tmp_path, held_out)


def test_the_other_engine_has_the_same_split(tmp_path, cifar10, held_out):
    pytest.importorskip('torch')
    assert run_in_process(*flags(cifar10, tmp_path, *SPLIT, '--engine', 'torch', '--num-epochs', 1)) == 0
    summary = json_of(tmp_path, 'summary.json')
    assert summary['validation_images'] == 20 and 0 <= summary['test_accuracy'] <= 1
    assert summary['settings']['data'] == json_of(held_out, 'summary.json')['settings']['data']


@pytest.fixture
def whole(tmp_path, cifar10):
    """The folder of a run without a split."""
    assert run_in_process(*flags(cifar10, tmp_path / 'whole', '--num-epochs', 1)) == 0
    return str(tmp_path / 'whole')


def test_run_without_split_warns_that_test_images_chose_the_epoch(whole):
    summary = json_of(whole, 'summary.json')
    assert summary['training_images'] == 100 and summary['test_images'] == 20
    assert not {'validation_images', 'test_accuracy'} & set(summary)
    last = log_of(whole).splitlines()[-1]
    assert '--val-split' in last


def test_checkpoint_older_than_the_flag_resumes(whole, cifar10):
    checkpoints = checkpoints_of(whole)
    arrays, state = checkpoints.latest()
    del state['settings']['val_split'], state['settings']['val_seed']
    checkpoints.save(BATCHES, arrays, state)
    assert run_in_process(*flags(cifar10, whole, '--num-epochs', 1)) == 0
    assert 'is 0' not in log_of(whole)


# ---------------------------------------------------------------------------------- comparisons

def test_comparison_shows_test_and_validation_accuracy(held_out, tmp_path):
    folder = tmp_path / 'comparison'
    assert call_command('compare', folder, '--from', held_out, '--measure', 'test') == 0
    text = (folder / 'comparison.md').read_text('utf-8')
    summary = json_of(held_out, 'summary.json')
    assert '| test accuracy |' in text and f'| {summary["test_accuracy"]:.4f} |' in text
    assert 'validation' in text and 'val_split 0.2' in text
    row, = rows_of(folder / 'runs.csv')
    assert float(row['test_accuracy']) == summary['test_accuracy'] and row['validation_images'] == '20'


def test_comparison_without_a_split_says_how_the_best_epoch_was_chosen(whole, held_out, tmp_path, capsys):
    folder = tmp_path / 'comparison'
    assert call_command('compare', folder, '--from', whole) == 0
    text = (folder / 'comparison.md').read_text('utf-8')
    assert 'chosen' in text and 'validation' not in text
    assert 'val_split' not in text and '| test accuracy |' not in text
    ours, theirs = (Comparison(group_runs(find_runs(run))) for run in (whole, held_out))
    assert (ours.images_of_epochs, theirs.images_of_epochs) == ('test', 'validation')
    said = circumstances(ours)[-1]
    assert said in text and said != circumstances(theirs)[-1]
    capsys.readouterr()
    assert '--val-split' in command_error(capsys, 'compare', 1, folder, '--measure', 'test')
    assert 'val_split' in command_error(capsys, 'compare', 1, folder, '--from', held_out)


# ------------------------------------------------------------------------------------- ImageNet

@pytest.mark.usefixtures('small_network')
def test_photographs_split_alike_in_folders_and_record_files(tmp_path, capsys):
    photos = write_data_dir(tmp_path / 'photos', training=20)
    for split in ('train', 'val'):
        assert cli.main(['pack', os.path.join(photos, split), str(tmp_path / split)]) == 0
    records = '--use-rec', '--rec-train', tmp_path / 'train.rec', '--rec-val', tmp_path / 'val.rec'
    summaries = []
    for name, source in (('folder', ('--data-dir', photos)), ('records', records)):
        run = tmp_path / name
        assert run_in_process(
            *source, '--num-classes', 2, '--input-size', 32, '--batch-size', 4, '-j', 1, '--num-epochs', 2,
            '--save-dir', run, '--logging-file', f'{run}.log', *SPLIT, script=train_imagenet) == 0
        summaries.append(json_of(run, 'summary.json'))
    for summary in summaries:
        assert [summary[key] for key in ('training_images', 'validation_images', 'test_images')] == [16, 4, 6]
        assert 0 <= summary['test_accuracy'] <= summary['test_top5_accuracy'] == 1
    assert metrics_of(tmp_path / 'folder')[-1]['iteration'] == 8
