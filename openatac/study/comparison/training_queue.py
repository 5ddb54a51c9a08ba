"""Train in processes, several runs at a time; they can be stopped at any time and resumed.

Each resumes from its own checkpoints (train_cifar.py --resume auto), so the queue itself is stateless.
"""
from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from openatac.console.program import WRONG_COMMAND
from openatac.console.signals import StoppedBySignal, shell_code, stop_signals
from openatac.console.streams import on_terminal
from openatac.errors import OpenatacError
from openatac.files.locks import locked
from openatac.files.run_file_names import LOCK
from openatac.study.finished_runs import read_run
from openatac.system.guard import Guard, can_guard
from openatac.system.threads import thread_count
from openatac.training.run_folder import RunFolder

TRAIN_CIFAR = [sys.executable, '-m', 'openatac', 'train-cifar']
PATIENCE = 60  # seconds to wait for a run that a killed queue has left behind
ORPHAN_PATIENCE = 600  # seconds that such a run has for its checkpoint, which may follow an evaluation
# Windows has no SIGTERM that a process can handle.
_STOP = getattr(signal, 'CTRL_BREAK_EVENT', signal.SIGTERM)


class QueuedRun(NamedTuple):
    """A training run: its name in messages, its --save-dir, and its command as a list of words."""

    name: str
    folder: str
    command: list[str]

    def is_finished(self) -> bool:
        """Return whether its folder contains a finished run."""
        with contextlib.suppress(OpenatacError):
            read_run(self.folder)
            return True
        return False


class Failure(NamedTuple):
    """The exit code and last line of output of a failed run."""

    code: int
    last_line: str


def run_queue(runs: Sequence[QueuedRun], jobs: int, gpus: Sequence[str] = ()) -> dict[str, Failure]:
    """Run ``runs``, ``jobs`` at a time.

    Parameters
    ----------
    runs : sequence of QueuedRun
    jobs : int
    gpus : sequence of str
        As in CUDA_VISIBLE_DEVICES. Each job sees one of them, in turn; if empty, each sees all that this
        process sees.

    Returns
    -------
    dict
        {name: Failure} of the runs that failed. After a wrong command line, which affects all, no
        further run starts.

    Raises
    ------
    StoppedBySignal
        After the first SIGINT or SIGTERM, once the active runs have written a checkpoint.
    KeyboardInterrupt
        After a second one, which kills them.
    """
    queue = _Queue(runs, jobs, gpus)
    with _stop_signals() as stopping:
        try:
            while queue.running or (queue.waiting and not stopping):
                if not stopping:
                    queue.start_free()
                time.sleep(0.2)
                if stopping:
                    queue.stop()
                queue.collect(bool(stopping))
        finally:
            queue.kill()
    if stopping:
        raise StoppedBySignal(stopping[0], ': the same command resumes from the checkpoints')
    return queue.failed


class _Queue:
    """Training runs: waiting, running and failed."""

    def __init__(self, runs: Sequence[QueuedRun], jobs: int, gpus: Sequence[str]) -> None:
        self._jobs, self._gpus = jobs, gpus
        self._guard = Guard(ORPHAN_PATIENCE) if can_guard() else None
        self.waiting = list(runs)
        self.running: list[_Process] = []
        self.failed: dict[str, Failure] = {}
        self._deadline = time.monotonic() + PATIENCE

    def start_free(self) -> None:
        """Start runs until all jobs are taken, skipping folders where another process trains."""
        while self.waiting and len(self.running) < self._jobs:
            free = next((run for run in self.waiting if _is_free(run.folder)), None)
            if free is None and (self.running or time.monotonic() < self._deadline):
                return
            run = free or self.waiting[0]  # it will report that its folder is in use
            self.waiting.remove(run)
            slot = min(set(range(self._jobs)) - {process.slot for process in self.running})
            gpu = self._gpus[slot % len(self._gpus)] if self._gpus else None
            process = _Process(run, slot, self._jobs, gpu)
            self.running.append(process)
            if self._guard:
                self._guard.add(process.pid)

    def stop(self) -> None:
        """Ask all active runs to stop with a checkpoint."""
        for process in self.running:
            process.stop()

    def kill(self) -> None:
        """Kill all active runs."""
        for process in self.running:
            process.kill()

    def collect(self, stopping: bool) -> None:
        """Remove runs that have ended, print how they ended, and record failures."""
        for process in [process for process in self.running if not process.is_running()]:
            self.running.remove(process)
            if self._guard:
                self._guard.remove(process.pid)
            failure = process.end(stopping)
            if failure:
                self.failed[process.run.name] = failure
            if process.code == WRONG_COMMAND:
                self.waiting.clear()


class _Process:
    """A training run in progress, with its progress bar."""

    def __init__(self, run: QueuedRun, slot: int, jobs: int, gpu: str | None) -> None:
        from tqdm import tqdm
        self.run, self.slot = run, slot
        self.start = time.monotonic()
        self.code: int | None = None
        self._stopping = False
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (`end` closes it)
        environment = dict(os.environ)
        if gpu is not None:
            environment['CUDA_VISIBLE_DEVICES'] = gpu
        threads, chosen = thread_count()
        if not chosen:
            environment['OMP_NUM_THREADS'] = str(max(1, threads // jobs))
        self._bar = tqdm(desc=run.name, unit='epoch', position=slot, leave=False,
                         disable=not on_terminal())
        self._process = subprocess.Popen(
            run.command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=self._errors, start_new_session=True,
            creationflags=getattr(subprocess, 'CREATE_NEW_PROCESS_GROUP', 0))
        self.pid = self._process.pid

    def is_running(self) -> bool:
        """Return whether it is still running, and show its progress."""
        if not self._bar.disable:
            self._bar.n, self._bar.total = _epochs(self.run.folder)
            self._bar.refresh()
        self.code = self._process.poll()
        return self.code is None

    def stop(self) -> None:
        """Ask it to stop with a checkpoint, once."""
        if not self._stopping:
            self._stopping = True
            self._process.send_signal(_STOP)

    def kill(self) -> None:
        """Kill it, and wait for its end."""
        self._process.kill()
        self._process.wait()

    def end(self, stopping: bool) -> Failure | None:
        """Print how it ended; return a `Failure` if it failed, else None."""
        self._bar.close()
        with self._errors:
            self._errors.seek(0)
            lines = self._errors.read().decode(errors='replace').strip().splitlines()
        finished = not self.code and self.run.is_finished()
        how = (f'finished in {time.monotonic() - self.start:.0f} s' if finished else
               'stopped' if stopping else 'failed')
        self._bar.write(f'{self.run.name}: {how}')
        if finished or stopping:
            return None
        code = shell_code(self.code or 1)
        return Failure(code, lines[-1] if lines else f'it ended with code {self.code} and printed nothing')


def _epochs(folder: str) -> tuple[int, int | None]:
    """Return (finished, all) epochs of the run in ``folder``; (0, None) before it starts."""
    run = RunFolder(folder)
    try:
        return run.epochs(), run.config().training.num_epochs
    except (OSError, ValueError, OpenatacError):
        return 0, None


def _is_free(folder: str) -> bool:
    """Return whether no other process trains in ``folder``."""
    try:
        if os.path.isdir(folder):
            with locked(os.path.join(folder, LOCK), remove=True):
                pass
    except BlockingIOError:
        return False
    except OSError:  # the run will report it
        pass
    return True


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
