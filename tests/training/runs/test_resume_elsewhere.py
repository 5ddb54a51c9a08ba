"""--allow-inexact-resume: a run resumes with other devices or the other engine, nearly as without."""
import re
import signal

import pytest

from tests.helpers.learners.mxnet_learner import use_two_devices
from tests.helpers.processes import interrupted_runs
from tests.helpers.processes.interrupted_runs import BATCHES, signal_at_step
from tests.helpers.processes.scripts import json_of, log_of, metrics_of, run_in_process, script_error


def flags(data, folder, *more):
    """Return the flags of a run without dropout, since its masks differ between the engines."""
    return interrupted_runs.flags(data, folder, '--drop-rate', 0, *more)


@pytest.fixture(scope='module')
def plain(tmp_path_factory, cifar10):
    """The folder of an uninterrupted run."""
    folder = tmp_path_factory.mktemp('plain') / 'run'
    assert run_in_process(*flags(cifar10, folder)) == 0
    return str(folder)


def stop_within_an_epoch(cifar10, folder, *more):
    """Stop such a run in its second epoch after the eighth batch."""
    with pytest.MonkeyPatch.context() as patched:
        signal_at_step(patched, BATCHES + 7, signal.SIGTERM)
        assert run_in_process(*flags(cifar10, folder, *more)) == 128 + signal.SIGTERM


def assert_nearly(folder, plain, tolerance):
    ours, theirs = metrics_of(folder), metrics_of(plain)
    assert len(ours) == len(theirs)
    for row, expected in zip(ours, theirs):
        for name in ('train_loss', 'val_loss', 'train_accuracy'):
            assert row[name] == pytest.approx(expected[name], rel=tolerance, abs=tolerance), name
    return ours, theirs


@pytest.mark.parametrize('engines', [('mxnet', 'torch'), ('torch', 'mxnet')])
def test_run_resumes_in_the_other_engine(tmp_path, cifar10, plain, capsys, engines):
    pytest.importorskip('torch')
    one, other = (['--engine', engine] for engine in engines)
    run, uninterrupted = tmp_path / 'run', plain
    if engines[0] == 'torch':
        uninterrupted = tmp_path / 'uninterrupted'
        assert run_in_process(*flags(cifar10, uninterrupted, *one)) == 0
    stop_within_an_epoch(cifar10, run, *one)
    resumed = [*flags(cifar10, run), *other]
    capsys.readouterr()
    error = script_error(capsys, 1, *resumed)
    assert all(word in error for word in ['engine', *map(repr, engines), '--allow-inexact-resume'])
    assert run_in_process(*resumed, '--allow-inexact-resume') == 0
    assert_nearly(run, uninterrupted, 1e-3)
    said, = json_of(run, 'summary.json')['inexact_resumes']
    assert said in log_of(run) and re.search("engine .*'{}'.*'{}'".format(*engines), said)
    assert 'epoch 1, batch 8' in said
    assert run_in_process(*resumed) == 0  # resumes exactly from now on


def test_run_resumes_with_another_split_of_its_batches(tmp_path, cifar10, plain, monkeypatch, capsys):
    """Move to two devices and back; BatchNorm then sees half of a batch, so that the losses differ more."""
    stop_within_an_epoch(cifar10, tmp_path)
    command = flags(cifar10, tmp_path, '--allow-inexact-resume')
    with monkeypatch.context() as patched:
        use_two_devices(patched)
        capsys.readouterr()
        error = script_error(capsys, 1, *command)
        assert all(word in error for word in ['--batch-size', '10', '20'])
        signal_at_step(patched, BATCHES, signal.SIGTERM)
        assert run_in_process(*command, '--batch-size', 5) == 128 + signal.SIGTERM
    assert run_in_process(*command) == 0
    ours, theirs = assert_nearly(tmp_path, plain, 0.3)
    assert ours[0]['train_loss'] == theirs[0]['train_loss']
    there, back = json_of(tmp_path, 'summary.json')['inexact_resumes']
    assert re.search("devices .*'1 x cpu'.*'2 x cpu'", there) and re.search('batch_size .*10.* 5', there)
    assert re.search("devices .*'2 x cpu'.*'1 x cpu'", back) and re.search('batch_size .*5.* 10', back)


def test_other_changed_settings_are_refused_even_with_the_flag(tmp_path, cifar10, capsys):
    stop_within_an_epoch(cifar10, tmp_path)
    capsys.readouterr()
    error = script_error(capsys, 1, *flags(cifar10, tmp_path, '--allow-inexact-resume', '--wd', 0.5))
    assert all(word in error for word in ['wd', '0.0001', '0.5', '--save-dir'])
