"""A process that ends the others that this one has started, if this one is killed."""
from __future__ import annotations

import contextlib
import os
import signal
import time

from openatac.errors import OpenatacError


class Guard:
    """A forked process that ends groups of processes once this process has ended, for whatever reason.

    It reads a pipe that closes then. (A signal at a parent's death would not reach grandchildren.)

    Parameters
    ----------
    patience : float
        Seconds between SIGTERM and SIGKILL.

    Attributes
    ----------
    pid : int
        The id of the guard's own process.

    Raises
    ------
    OpenatacError
        If this system has no guards; see `can_guard`.
    """

    def __init__(self, patience: float = 2.0) -> None:
        if not can_guard():
            raise OpenatacError('this system has no fork, so nothing could end the processes of a run if '
                                'this one is killed: use Linux or macOS')
        reader, self._writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._writer)
            try:
                _guard(reader, patience)
            finally:
                os._exit(0)
        os.close(reader)

    def add(self, group: int) -> None:
        """Guard a group, whose number is the process id of its leader."""
        self._send(group)

    def remove(self, group: int) -> None:
        """Forget a group, whose number may from now on belong to others."""
        self._send(-group)

    def _send(self, number: int) -> None:
        with contextlib.suppress(BrokenPipeError):  # the guard itself was killed
            os.write(self._writer, b'%d\n' % number)


def can_guard() -> bool:
    """Return whether this system has guards: Windows has no fork."""
    return hasattr(os, 'fork')


def _guard(reader: int, patience: float) -> None:
    os.setsid()
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # it ends after the others
    groups: list[int] = []
    with os.fdopen(reader) as pipe:
        for number in map(int, pipe):
            if number > 0:
                groups.append(number)
            else:
                groups.remove(-number)
    # After a normal end no group is left, and this takes no time.
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 0)):
        groups = [group for group in groups if signal_group(group, number)]
        end = time.monotonic() + seconds
        while time.monotonic() < end and any(signal_group(group, 0) for group in groups):
            time.sleep(0.05)


def signal_group(group: int, number: int) -> bool:
    """Send a signal to a group of processes; return whether there is one."""
    try:
        os.killpg(group, number)
        return True
    except OSError:
        return False
