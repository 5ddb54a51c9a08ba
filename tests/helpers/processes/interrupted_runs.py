"""A small training run that tests interrupt and resume, and the outcome that must be equal at its end."""
import os
import random
import shutil
import signal
import time

from openatac.backends.process_group import SingleProcess
from openatac.training.stopping import STEP
from tests.helpers.processes.commands import rows_of
from tests.helpers.processes.scripts import finish, json_of, log_of, start_script, wait_until

EPOCHS, BATCHES = 3, 10


def flags(data, folder, *more):
    """Return the flags of train_cifar.py for `EPOCHS` epochs of `BATCHES` batches of `cifar10`."""
    return ('--data-dir', data, '--save-dir', folder, '--blocks', 1, '--act-layers', 1, '--useReLU',
            '--batch-size', 10, '--num-epochs', EPOCHS, '--lr', 0.05, '--lr-decay-epoch', '1,2',
            '--drop-rate', 0.1, '--seed', 3, '--log-interval', 5, '--resume', 'auto', *more)


# ---------------------------------------------------------------------------- interruptions

def kill_often(folder, kills, epochs, command):
    """Kill a run ``kills`` times across its epochs, in turn within an epoch and while saving a checkpoint."""
    chance = random.Random(kills)
    folder.mkdir()
    for number in range(kills):
        saved = checkpoint_names(folder) if (folder / 'checkpoints').exists() else []
        done = max([int(name) // BATCHES for name in saved if name.isdigit()], default=0)
        epoch = max(done, number * epochs // kills)
        process = start_script(*command)
        if number % 2:
            kill_at_checkpoint(process, folder, epoch, chance.uniform(0, 0.02))
        else:
            wait_for_batch(process, folder, epoch, chance.randrange(5, BATCHES, 5))
            kill(process, chance.uniform(0, 0.05))


def kill_at_checkpoint(process, folder, epoch, seconds=0.0):
    """Kill a run ``seconds`` after it has begun to save the checkpoint of that epoch."""
    wait_for_checkpoint(process, folder, epoch)
    kill(process, seconds)


def kill(process, seconds):
    time.sleep(seconds)
    process.kill()
    result = finish(process)
    assert result.returncode == -signal.SIGKILL, f'it ended before it was killed: {result.stderr}'


def wait_for_batch(process, folder, epoch, batch):
    """Wait until the log reports that batch once more."""
    mark = f'Epoch[{epoch}] Batch [{batch}/'
    before = log_of(folder).count(mark)
    wait_until(lambda: log_of(folder).count(mark) > before, mark, process)


def wait_for_checkpoint(process, folder, epoch):
    """Wait until the run writes the checkpoint of that epoch."""
    name = f'{(epoch + 1) * BATCHES:010d}'
    places = [folder / 'checkpoints' / ('.' + name), folder / 'checkpoints' / name]
    wait_until(lambda: any(place.exists() for place in places), f'the checkpoint {name}', process)


def signal_at_step(monkeypatch, step, number, times=1):
    """Send this process a signal ``times`` times at a step; see `act_at_step`."""
    def send():
        for _ in range(times):
            signal.raise_signal(number)

    return act_at_step(monkeypatch, step, send)


def act_at_step(monkeypatch, step, action):
    """Call ``action()`` when a run's processes agree whether to continue after ``step``.

    Returns
    -------
    list
        The messages that the run gathers from its processes, one for each step.
    """
    asked = []

    def gather(self, message, name='a message'):
        if name == STEP:
            asked.append(message)
            if len(asked) == step:
                action()
        return [message]

    monkeypatch.setattr(SingleProcess, 'gather', gather)
    return asked


# --------------------------------------------------------------------------- files of a run

def checkpoint_names(folder):
    return sorted(os.listdir(os.path.join(folder, 'checkpoints')))


def drop_last_checkpoint(folder):
    """Remove the last checkpoint, as if the run had been killed in its last epoch."""
    shutil.rmtree(os.path.join(folder, 'checkpoints', checkpoint_names(folder)[-1]))


def content_of(*path):
    with open(os.path.join(*path), 'rb') as handle:
        return handle.read()


def without_speed(rows):
    return [{key: value for key, value in row.items() if key != 'images_per_second'} for row in rows]


def outcome(folder):
    """Return the results of a run that do not depend on the clock."""
    last = os.path.join(folder, 'checkpoints', checkpoint_names(folder)[-1])
    state, summary = json_of(last, 'state.json'), json_of(folder, 'summary.json')
    state['progress']['history'] = without_speed(state['progress']['history'])
    for part in (state['progress'], summary):
        part.pop('disturbed', None)  # depends on other programs on this machine
    del summary['images_per_second'], summary['command']
    files = [content_of(folder, 'best.params'), content_of(folder, 'last.params'),
             content_of(last, 'arrays.params')]
    rows = without_speed(rows_of(os.path.join(folder, 'metrics.csv')))
    return state, summary, files, rows, os.path.basename(last)


def assert_same_outcome(folder, uninterrupted):
    for ours, theirs in zip(outcome(folder), outcome(uninterrupted)):
        assert ours == theirs
