"""--allow-inexact-resume: a run resumes with other devices or the other engine, nearly as without."""
import re
import signal

import numpy as np
import pytest

import openatac
from openatac.backends.base import open_backend
from openatac.backends.compute import Compute
from openatac.backends.state_conversion import convert_state
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


# ------------------------------------------------------------------------ states of learners

def trained_learner(name, monkeypatch, dtype='float32', steps=3):
    """Return the engine's learner after steps on made-up images; 'mxnet2' has two devices."""
    if name == 'torch':
        pytest.importorskip('torch')
    if name == 'mxnet2':
        use_two_devices(monkeypatch)
    net = openatac.get_model('cifar_resnet8_v2_atac')
    opened = open_backend(net, Compute(engine=name.rstrip('2'), dtype=dtype), (3, 32, 32), 0, '', True)
    opened.initialize()
    learner = opened.learner({'learning_rate': 0.1, 'momentum': 0.9, 'wd': 1e-4}, {})
    chance = np.random.RandomState(0)
    for _ in range(steps):
        learner.train_batch(chance.randn(8, 3, 32, 32).astype('float32'), chance.randint(0, 10, 8), 0.1)
    return learner


@pytest.mark.parametrize('one, other', [
    ('mxnet', 'torch'), ('torch', 'mxnet'), ('mxnet2', 'torch'), ('mxnet', 'mxnet2'), ('mxnet2', 'mxnet')])
def test_state_is_converted_between_learners(one, other, monkeypatch):
    """Momenta agree to the bit, and everything else as in the original learner."""
    with monkeypatch.context() as patched:
        trained = trained_learner(one, patched)
    with monkeypatch.context() as patched:
        resumed = trained_learner(other, patched, steps=0)
    arrays, numbers = trained.state()
    converted, found = convert_state(arrays, numbers, resumed, trained.image_count)
    resumed.load_state(converted, found)
    assert resumed.iteration == 3 and resumed.image_count == 24
    momenta, expected = resumed.optimizer_states(), trained.optimizer_states()
    assert momenta.keys() == expected.keys() and any(array.any() for array in expected.values())
    assert all(np.array_equal(momenta[name], array) for name, array in expected.items())
    assert resumed.read_metrics()[:3] == pytest.approx(trained.read_metrics()[:3], rel=1e-6)
    images = np.random.RandomState(1).randn(16, 3, 32, 32).astype('float32')
    losses = [learner.evaluate([(images.copy(), np.arange(16) % 10)]).loss for learner in (trained, resumed)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_state_of_another_network_is_refused(monkeypatch):
    learner = trained_learner('mxnet', monkeypatch, steps=0)
    arrays, numbers = learner.state()
    name = next(iter(arrays))
    for wrong in ({name: np.zeros((3, 3, 7, 7), 'float32')}, {}):
        with pytest.raises((KeyError, ValueError), match=re.escape(name)):
            convert_state({**{key: array for key, array in arrays.items() if key != name}, **wrong},
                          numbers, learner, 0)
