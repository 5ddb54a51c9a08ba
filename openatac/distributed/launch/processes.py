"""Start the processes of a run on this machine, show their output, and end them, even if this one dies."""
from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO, NamedTuple, TextIO

from openatac.console.signals import STOP_SIGNALS, shell_code
from openatac.errors import OpenatacError, reason
from openatac.system.guard import Guard, signal_group


class Child(NamedTuple):
    """A process of a run, or one that starts all with its role.

    Attributes
    ----------
    role : str
        'scheduler', 'server', 'worker' or, for an array job of servers and workers, 'tasks'.
    rank : int, optional
        Its number among those with its role.
    """

    role: str
    rank: int | None = None

    @property
    def label(self) -> str:
        """Its name before each line of its output."""
        return self.role if self.rank is None else f'{self.role} {self.rank}'

    @property
    def trains(self) -> bool:
        """Whether the run lasts until it ends."""
        return self.role not in ('scheduler', 'server')


class Ended(NamedTuple):
    """A process has ended with an exit code."""

    child: Child
    code: int


class Signalled(NamedTuple):
    """The process that started them has received a signal."""

    number: int


class ChildProcesses:
    """The processes of a run on this machine, each in its own session.

    Parameters
    ----------
    guard : Guard
        It ends them if this process is killed.
    program : str
        The name of this program in messages.
    patience : float
        Seconds for processes to end on their own, and again after SIGTERM, before SIGKILL.

    Attributes
    ----------
    events : queue
        `Ended` and `Signalled`, in the order in which they happened.
    """

    def __init__(self, guard: Guard, program: str, patience: float) -> None:
        self.guard, self.program = guard, program
        self.patience = patience
        self.events: queue.SimpleQueue[Ended | Signalled] = queue.SimpleQueue()
        self.processes: dict[Child, subprocess.Popen[bytes]] = {}
        self.code = 0
        self._running: set[Child] = set()
        self._gone: set[int] = set()  # groups without processes, whose ids may be reused
        self._stopping = False
        self._deadline: float | None = None  # for the processes that still run
        self._readers: list[threading.Thread] = []
        self._printing = threading.Lock()

    def start(self, child: Child, command: Sequence[str], environment: Mapping[str, str],
              stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Start one process; its output is shown line by line, after its label."""
        try:
            process = subprocess.Popen(
                command, env={**os.environ, **environment}, stdin=stdin, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, start_new_session=True)
        except OSError as error:
            raise OpenatacError(f'{command[0]} cannot be run ({reason(error)})') from None
        self.guard.add(process.pid)
        self.processes[child] = process
        for source, target in ((process.stdout, sys.stdout), (process.stderr, sys.stderr)):
            reader = threading.Thread(target=self._show, args=(child.label, source, target), daemon=True)
            reader.start()
            self._readers.append(reader)
        threading.Thread(target=self._wait_for, args=(child, process), daemon=True).start()
        return process

    def _wait_for(self, child: Child, process: subprocess.Popen[bytes]) -> None:
        """Report the end of a process, and forget its group unless children have outlived it."""
        code = process.wait()
        if not signal_group(process.pid, 0):
            self._gone.add(process.pid)
            self.guard.remove(process.pid)
        self.events.put(Ended(child, code))

    def _show(self, label: str, source: IO[bytes], target: TextIO) -> None:
        """Copy lines with the label, until the process and all of its children have ended."""
        for line in source:
            text = line.decode(errors='replace').rstrip('\r\n')
            # The processes' output must be read even when nothing reads ours any more.
            with self._printing, contextlib.suppress(OSError, ValueError):
                target.write(f'[{label}] {text}\n')
                target.flush()

    def wait(self) -> int:
        """Wait for all processes, and return the exit code of the first failure, or 0."""
        self._running = set(self.processes)
        while self._running and (event := self._next_event()):
            if isinstance(event, Signalled):
                self._handle_signal(event.number)
            else:
                self._handle_exit(event.child, event.code)
        return self.code

    def _next_event(self) -> Ended | Signalled | None:
        """Wait for an event; return None after the deadline."""
        timeout = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
        try:
            return self.events.get(timeout=timeout)
        except queue.Empty:
            return None

    def _handle_signal(self, number: int) -> None:
        """Ask the workers to stop; at a second Ctrl-C or SIGTERM, stop waiting for them."""
        if not self._stopping:
            self._stopping = True
            self._ask_to_stop(number)
        elif number in STOP_SIGNALS:  # a lost terminal may send SIGHUP twice
            self.code = self.code or 128 + number
            self._deadline = time.monotonic()

    def _handle_exit(self, child: Child, code: int) -> None:
        """Record the end of a process; if it ends the run, give the others a deadline."""
        self._running.remove(child)
        if code:
            self._record_failure(child.label, code)
        # Workers that were asked to stop end with an exit code while others may still be writing the
        # checkpoint; any other failure ends the run.
        failed = code and not (self._stopping and child.trains)
        if self._deadline is None and (failed or not any(running.trains for running in self._running)):
            self._deadline = time.monotonic() + self.patience

    def _record_failure(self, label: str, code: int) -> None:
        """Keep the code of the first failure, and report it."""
        code = shell_code(code)
        if not self.code:
            self.code = code
            if not self._stopping:
                self._print(f'{label} ended with code {code}: ending the others')

    def _ask_to_stop(self, number: int) -> None:
        """Pass a signal on to the workers if they run here, or else to the scheduler, which notifies them."""
        workers = [process for child, process in self.processes.items()
                   if child.role == 'worker' and child.rank is not None and process.stdin is None]
        self._print(f'{signal.Signals(number).name}: asking the workers to stop (again to end them at once)')
        for process in workers or [self.processes[Child('scheduler')]]:
            self._signal(process, signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)

    def _print(self, message: str) -> None:
        with self._printing:
            print(f'{self.program}: {message}', file=sys.stderr, flush=True)

    def end(self) -> None:
        """End the processes that still run, with their children: SIGTERM, then SIGKILL."""
        late = [process for process in self.processes.values() if process.poll() is None]
        for process in self.processes.values():
            if process.stdin:
                process.stdin.close()  # ends the process on the other machine
        for process in late:
            self._signal(process, signal.SIGTERM)
        deadline = time.monotonic() + self.patience
        for process in late:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0, deadline - time.monotonic()))
        for process in self.processes.values():
            self._signal(process, signal.SIGKILL)  # and any children that have outlived it
            process.wait()
        for reader in self._readers:
            reader.join(1)

    def _signal(self, process: subprocess.Popen[bytes], number: int) -> None:
        if process.pid not in self._gone:
            signal_group(process.pid, number)
