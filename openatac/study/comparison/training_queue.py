"""Runs trainings in processes, several at a time; they can be stopped at any time and resumed.

Each resumes from its own checkpoints (train_cifar.py --resume auto), so the queue has no state to keep.
"""
from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import IO, Any, NamedTuple

from openatac.console.program import stop_signals
from openatac.errors import CheckpointError, OpenatacError
from openatac.runtime.threads import thread_count
from openatac.study.finished_runs import read_run
from openatac.training.run_folder import RunFolder
from openatac.training.tracking.log import on_terminal

WRONG_COMMAND = 2
TRAIN_CIFAR = [sys.executable, '-m', 'openatac', 'train-cifar']
PATIENCE = 60  # seconds to wait for a run that a killed queue has left behind


class Training(NamedTuple):
    """One training: its name in messages, its --save-dir, and its command as a list of words."""

    name: str
    folder: str
    command: list[str]

    def is_finished(self) -> bool:
        """Return whether its folder holds a finished run."""
        try:
            return bool(read_run(self.folder))
        except OpenatacError:
            return False


class Failure(NamedTuple):
    """The exit code of a training that failed, and the last line that it wrote."""

    code: int
    words: str


def run_queue(trainings: Sequence[Training], jobs: int) -> dict[str, Failure]:
    """Run ``trainings``, ``jobs`` at a time.

    Returns
    -------
    dict
        {name: Failure} of the trainings that failed. After a wrong command line, which affects all, no
        further training starts.

    Raises
    ------
    KeyboardInterrupt
        After the first SIGINT or SIGTERM, once the running trainings have written a checkpoint; a second
        one kills them.
    """
    waiting = list(trainings)
    running: list[_Process] = []
    failed: dict[str, Failure] = {}
    slots = list(range(jobs))
    deadline = time.monotonic() + PATIENCE
    with _stop_signals() as stopping, contextlib.ExitStack() as files:
        try:
            while running or (waiting and not stopping):
                while waiting and slots and not stopping:
                    ready = next((each for each in waiting if _is_free(each.folder)), None)
                    if ready is None and (running or time.monotonic() < deadline):
                        break
                    ready = ready or waiting[0]  # it will report that its folder is in use
                    waiting.remove(ready)
                    errors = files.enter_context(tempfile.TemporaryFile())
                    running.append(_Process(ready, slots.pop(0), jobs, errors))
                time.sleep(0.2)
                if stopping:
                    _send(running, signal.SIGTERM)
                for process in [process for process in running if not process.is_running()]:
                    running.remove(process)
                    slots.append(process.slot)
                    if process.report(bool(stopping)) == 'failed':
                        failed[process.training.name] = process.failure()
                    if process.code == WRONG_COMMAND:
                        waiting.clear()
        finally:
            _send(running, signal.SIGKILL)
    if stopping:
        raise KeyboardInterrupt
    return failed


class _Process:
    """A running training, with its line on the screen."""

    def __init__(self, training: Training, slot: int, jobs: int, errors: IO[bytes]) -> None:
        from tqdm import tqdm
        self.training, self.slot, self.start = training, slot, time.monotonic()
        self.code: int | None = None
        self._sent: list[int] = []
        self._errors = errors
        environment = dict(os.environ)
        threads, chosen = thread_count()
        if not chosen:
            environment['OMP_NUM_THREADS'] = str(max(1, int(threads) // jobs))
        self._process = subprocess.Popen(
            training.command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=errors, start_new_session=True, preexec_fn=_end_with_parent)
        self._bar = tqdm(desc=training.name, unit='epoch', position=slot, leave=False,
                         disable=not on_terminal())

    def is_running(self) -> bool:
        """Return whether it is still running, and show its progress."""
        if not self._bar.disable:
            self._bar.n, self._bar.total = _epochs(self.training.folder)
            self._bar.refresh()
        self.code = self._process.poll()
        return self.code is None

    def send(self, number: int) -> None:
        """Send the signal, once."""
        if number not in self._sent:
            self._sent.append(number)
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def report(self, stopping: bool) -> str:
        """Print and return how it ended: 'finished', 'stopped' or 'failed'."""
        self._bar.close()
        if self.training.is_finished() and not self.code:
            how, when = 'finished', f' in {time.monotonic() - self.start:.0f} s'
        else:
            how, when = 'stopped' if stopping else 'failed', ''
        self._bar.write(f'{self.training.name}: {how}{when}')
        return how

    def failure(self) -> Failure:
        """Return why it failed."""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors='replace').strip().splitlines()
        code = self.code if self.code and self.code > 0 else 1  # a signal's is negative
        return Failure(code, lines[-1] if lines else f'it ended with code {self.code} and printed nothing')


def _epochs(folder: str) -> tuple[int, int | None]:
    """Return (finished, all) epochs of the run in ``folder``; (0, None) before it starts."""
    run = RunFolder(folder)
    try:
        return run.epochs(), run.config().training.num_epochs
    except (OSError, ValueError, OpenatacError):
        return 0, None


def _send(running: Sequence[_Process], number: int) -> None:
    for process in running:
        process.send(number)


def _end_with_parent() -> None:
    # Linux only: if this program is killed, its trainings stop with a checkpoint.
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _is_free(folder: str) -> bool:
    """Return whether no other process trains in ``folder``."""
    from openatac.training.checkpoint import only_run_in
    try:
        if os.path.isdir(folder):
            with only_run_in(folder):
                pass
        return True
    except CheckpointError:
        return False


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Yield a list that receives the first SIGINT or SIGTERM; a second one takes effect at once."""
    received: list[int] = []

    def receive(number: int, frame: Any) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        print('stopping with checkpoints (again to stop at once)', file=sys.stderr, flush=True)

    with stop_signals(receive):
        yield received
