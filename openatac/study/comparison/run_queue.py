"""Trainings as processes, several at a time, that can be stopped at any moment and started again.

Each goes on from its own checkpoints (train_cifar.py --resume auto), so nothing here has to be remembered.
"""
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from typing import List, NamedTuple

from openatac.console.program import stop_signals
from openatac.errors import CheckpointError, OpenatacError
from openatac.runtime.threads import thread_count
from openatac.study.comparison.runs import read_run
from openatac.training.run_folder import RunFolder
from openatac.training.tracking.log import on_terminal

WRONG_COMMAND = 2
TRAIN_CIFAR = [sys.executable, '-m', 'openatac', 'train-cifar']


class Training(NamedTuple):
    """name: in what is said of it; folder: its --save-dir; command: list of words."""

    name: str
    folder: str
    command: List[str]

    def is_finished(self):
        try:
            return bool(read_run(self.folder))
        except OpenatacError:
            return False


class Failure(NamedTuple):
    """The exit code of a training that failed, and the last line that it wrote."""

    code: int
    words: str


def run_all(trainings, jobs):
    """Run ``trainings``, ``jobs`` at a time; returns {name: Failure} of those that failed.

    A wrong command line, which all share, ends the waiting for the others. The first SIGINT or SIGTERM
    lets the running ones write a checkpoint, then raises KeyboardInterrupt; a second one kills them.
    """
    waiting, running, failed = list(trainings), [], {}
    slots = list(range(jobs))
    patience = time.monotonic() + 60  # with the end of a run whose own queue was killed a moment ago
    with _stop_signals() as asked:
        try:
            while running or waiting and not asked:
                while waiting and slots and not asked:
                    ready = next((each for each in waiting if _is_free(each.folder)), None)
                    if ready is None and (running or time.monotonic() < patience):
                        break
                    ready = ready or waiting[0]  # which will say who has its folder
                    waiting.remove(ready)
                    running.append(_Process(ready, slots.pop(0), jobs))
                time.sleep(0.2)
                if asked:
                    _ask(running, signal.SIGTERM)
                for process in [process for process in running if not process.is_running()]:
                    running.remove(process)
                    slots.append(process.slot)
                    if process.failed(asked):
                        failed[process.training.name] = process.failure()
                    if process.code == WRONG_COMMAND:
                        waiting.clear()
        finally:
            _ask(running, signal.SIGKILL)
    if asked:
        raise KeyboardInterrupt
    return failed


class _Process:
    """One training on the slot ``slot`` of the screen and of the processors."""

    def __init__(self, training, slot, jobs):
        from tqdm import tqdm
        self.training, self.slot, self.start, self.asked = training, slot, time.monotonic(), set()
        self.errors = tempfile.TemporaryFile()
        environment = dict(os.environ)
        threads, chosen = thread_count()
        if not chosen:
            environment['OMP_NUM_THREADS'] = str(max(1, int(threads) // jobs))
        self.process = subprocess.Popen(
            training.command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=self.errors, start_new_session=True, preexec_fn=_end_with_parent)
        self.bar = tqdm(desc=training.name, unit='epoch', position=slot, leave=False,
                        disable=not on_terminal())

    def is_running(self):
        if not self.bar.disable:
            self.bar.n, self.bar.total = _epochs(self.training.folder)
            self.bar.refresh()
        self.code = self.process.poll()
        return self.code is None

    def ask(self, number):
        """Send the signal, once."""
        if number not in self.asked:
            self.asked.add(number)
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    def failed(self, asked):
        """Say how it went; whether it failed, and not because it was ``asked`` to stop."""
        self.bar.close()
        if self.training.is_finished() and not self.code:
            how = 'finished in %.0f s' % (time.monotonic() - self.start)
        else:
            how = 'stopped' if asked else 'failed'
        self.bar.write('%s: %s' % (self.training.name, how))
        return how == 'failed'

    def failure(self):
        self.errors.seek(0)
        lines = self.errors.read().decode(errors='replace').strip().splitlines()
        code = self.code if self.code > 0 else 1  # a signal's is negative
        return Failure(code, lines[-1] if lines else 'it ended with code %d and said nothing' % self.code)


def _epochs(folder):
    """(finished, all) epochs of the run in ``folder``, as far as they are known."""
    run = RunFolder(folder)
    try:
        return run.epochs(), run.config().training.num_epochs
    except (OSError, ValueError, OpenatacError):
        return 0, None


def _ask(running, number):
    for process in running:
        process.ask(number)


def _end_with_parent():
    # Linux: should this program be killed, its trainings stop with a checkpoint.
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _is_free(folder):
    """Whether no other process trains in ``folder``."""
    from openatac.training.checkpoint import only_run_in
    try:
        if os.path.isdir(folder):
            with only_run_in(folder):
                pass
        return True
    except CheckpointError:
        return False


@contextlib.contextmanager
def _stop_signals():
    """Yield a list that gets the first SIGINT or SIGTERM; a second one is obeyed at once."""
    asked = []

    def ask(number, frame):
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        print('stopping with checkpoints (again to stop at once)', file=sys.stderr, flush=True)

    with stop_signals(ask):
        yield asked
