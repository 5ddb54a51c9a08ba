"""TensorBoard and Weights & Biases, with stand-ins that record their calls."""
import contextlib
import json
import os
import shutil
import sys

import pytest

from openatac.training.tracking.trackers import HistoryFigure, TensorBoard
from tests.helpers.processes.scripts import metrics_of, run_in_process, script_error

STAND_IN = '''
import json, os

def note(*call):
    with open(os.environ['CALLS'], 'a') as handle:
        handle.write(json.dumps(call, default=str) + chr(10))

'''
TENSORBOARD = STAND_IN + '''
class SummaryWriter:
    def __init__(self, logdir, purge_step=None):
        note('open', logdir, purge_step)
    def add_scalar(self, tag, value, step):
        note('scalar', tag, float(value), step)
    def flush(self):
        note('flush')
    def close(self):
        note('close')
'''
WANDB = STAND_IN + '''
class Error(Exception):
    pass

class Summary:
    def update(self, values):
        note('summary', values)

class Run:
    summary = Summary()
    def log(self, values, step):
        note('log', values, step)
    def finish(self):
        note('finish')

def init(**settings):
    if 'REFUSED' in os.environ:
        raise Error(os.environ['REFUSED'])
    note('init', settings)
    return Run()
'''
EPOCHS, BATCHES = 2, 5


@contextlib.contextmanager
def stand_ins(folder, **environment):
    """Write the stand-ins into a folder, let imports find them, and set these variables."""
    (folder / 'tensorboardX.py').write_text(TENSORBOARD)
    (folder / 'wandb.py').write_text(WANDB)
    real = {name: sys.modules.pop(name) for name in [*sys.modules]
            if name.split('.')[0] in ('tensorboardX', 'wandb')}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            yield
        finally:
            for name in ('tensorboardX', 'wandb'):
                sys.modules.pop(name, None)
            sys.modules.update(real)


@pytest.fixture(scope='module')
def tracked(tmp_path_factory, cifar10):
    """A run whose last epoch was repeated: (its folder, TensorBoard's folder, the calls of both runs)."""
    top = tmp_path_factory.mktemp('tracked')
    folder, calls = str(top / 'run'), []
    for number in range(2):
        path = top / f'calls{number}'
        with stand_ins(top, CALLS=str(path)):
            assert run_in_process(
                '--data-dir', cifar10, '--save-dir', folder, '--blocks', 1, '--act-type', 'relu',
                '--batch-size', 20, '--num-epochs', EPOCHS, '--log-interval', 3, '--resume', 'auto',
                '--tensorboard', top / 'events', '--project', 'atac', '--name', 'first') == 0
        calls.append([json.loads(line) for line in path.read_text().splitlines()])
        shutil.rmtree(os.path.join(folder, 'checkpoints', f'{EPOCHS * BATCHES:010d}'))
    return folder, str(top / 'events'), calls


def of_kind(calls, *kinds):
    return [call[1:] for call in calls if call[0] in kinds]


def test_tensorboard_gets_each_epoch_and_interval(tracked):
    folder, events, (calls, _) = tracked
    rows = metrics_of(folder)
    assert of_kind(calls, 'open')[0][0] == events and [call[0] for call in calls].count('open') == 1
    scalars = {(tag, step): value for tag, value, step in of_kind(calls, 'scalar')}
    for row in rows:
        for name in ('lr', 'train_loss', 'train_accuracy', 'val_loss', 'val_accuracy', 'best_accuracy'):
            assert scalars[name, row['iteration']] == row[name]
    steps = [epoch * BATCHES + batch for epoch in range(EPOCHS) for batch in (3, 5)]
    assert [step for tag, step in scalars if tag == 'interval/loss'] == steps
    assert {tag for tag, _ in scalars if '/' in tag} == {
        'interval/' + name for name in ('loss', 'accuracy', 'lr', 'images_per_second')}
    assert scalars['interval/loss', BATCHES] == rows[0]['train_loss']
    assert len(of_kind(calls, 'flush')) == EPOCHS and len(of_kind(calls, 'close')) == 1


def test_tensorboard_of_a_resumed_run_drops_only_the_repeated_steps(tracked):
    """A purge removes everything from its step on; the checkpoint's own step was logged before it."""
    _, _, (first, second) = tracked
    (_, purged), = of_kind(second, 'open')
    last_kept = (EPOCHS - 1) * BATCHES
    assert last_kept < purged <= min(step for _, _, step in of_kind(second, 'scalar'))
    (_, purged), = of_kind(first, 'open')
    assert purged in (None, 0, 1)


def test_weights_and_biases_get_each_epoch_and_interval(tracked, cifar10):
    folder, _, (calls, _) = tracked
    rows, logged = metrics_of(folder), of_kind(calls, 'log')
    (settings,), = of_kind(calls, 'init')
    assert settings['project'] == 'atac' and settings['name'] == 'first'
    assert settings['config']['batch_size'] == 20 and settings['config']['data_dir'] == cifar10
    for row in rows:
        expected = {key: value for key, value in row.items() if key not in ('iteration', 'images_per_second')}
        found, = (values for values, step in logged if step == row['iteration'] and 'val_loss' in values)
        assert expected.items() <= found.items()
    steps = [step for _, step in logged]
    assert steps == sorted(steps) and {3, 5, 8, 10} == set(steps)
    (summary,), = of_kind(calls, 'summary')
    assert summary['best_accuracy'] == rows[-1]['best_accuracy'] and of_kind(calls, 'finish') == [[]]


def test_weights_and_biases_resume_the_same_run(tracked):
    _, _, (first, second) = tracked
    ids = [of_kind(calls, 'init')[0][0]['id'] for calls in (first, second)]
    assert ids[0] == ids[1] and len(ids[0]) == 8
    assert of_kind(second, 'init')[0][0]['resume'] == 'allow'


def test_weights_and_biases_without_login_is_explained(tmp_path, cifar10, capsys):
    with stand_ins(tmp_path, REFUSED='No API key.'):
        error = script_error(capsys, 1, '--data-dir', cifar10, '--save-dir', tmp_path / 'run', '--blocks', 1,
                             '--batch-size', 20, '--project', 'atac')
    assert all(word in error for word in ('No API key', 'wandb login', 'WANDB_MODE=offline'))


@pytest.mark.parametrize('flags, module, extra', [
    (['--tensorboard', 'events'], 'tensorboardX', 'tensorboard'), (['--project', 'atac'], 'wandb', 'wandb')])
def test_missing_package_is_reported_before_training(tmp_path, cifar10, monkeypatch, capsys, flags, module,
                                                     extra):
    monkeypatch.setitem(sys.modules, module, None)
    error = script_error(capsys, 1, '--data-dir', cifar10, '--save-dir', tmp_path / 'run', '--blocks', 1,
                         '--batch-size', 20, *flags)
    assert f"pip install 'openatac[{extra}]'" in error
    assert not (tmp_path / 'run' / 'metrics.csv').exists()


def test_run_without_matplotlib_omits_the_figure_and_names_the_extra(tmp_path, monkeypatch, caplog):
    for name in ('matplotlib.figure', 'matplotlib.backends.backend_agg'):
        monkeypatch.setitem(sys.modules, name, None)
    HistoryFigure(str(tmp_path), 'title').finish([], {})
    assert "pip install 'openatac[demo]'" in caplog.text and not os.listdir(tmp_path)


def test_real_tensorboard_writer_writes_events(tmp_path):
    pytest.importorskip('tensorboardX')
    from tensorboardX.proto.event_pb2 import Event

    def write(first, last):
        writer = TensorBoard(str(tmp_path / 'events'), first)
        history = [{'epoch': number, 'iteration': number + 1, 'val_loss': 0.5} for number in range(last)]
        for number in range(first, last):
            writer.interval(number + 1, {'loss': 0.25})
            writer.epoch(history[:number + 1])
        writer.finish(history, {})

    def read():
        """Yield (step, purged from here, tags) of each event; a record is length, 4 bytes, data, 4 bytes."""
        for path in sorted((tmp_path / 'events').iterdir(), key=lambda path: path.stat().st_mtime):
            content = path.read_bytes()
            while content:
                length = int.from_bytes(content[:8], 'little')
                event, content = Event.FromString(content[12:12 + length]), content[16 + length:]
                yield event.step, event.HasField('session_log'), [value.tag for value in event.summary.value]

    write(0, 2)
    assert [tags for step, _, tags in read() if step == 2 and tags] == [['interval/loss'], ['val_loss']]
    write(1, 3)
    assert [step for step, purge, _ in read() if purge][-1] == 2
