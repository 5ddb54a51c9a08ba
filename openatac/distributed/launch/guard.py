"""A process that ends a run's processes if the one that started them is killed."""
from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

from openatac.console.signals import RUN_STOP_SIGNALS


def start_guard() -> Callable[[int], Any]:
    """Fork a process that ends the run's processes if this one is killed.

    It reads a pipe that closes when this process ends, for whatever reason. (A signal at a parent's death
    would not reach grandchildren.)

    Returns
    -------
    function
        Adds the process id to the guard's list; minus the id removes it.
    """
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(writer)
        try:
            _guard(reader)
        finally:
            os._exit(0)
    os.close(reader)
    return lambda pid: os.write(writer, b'%d\n' % pid)


def _guard(reader: int) -> None:
    os.setsid()
    for number in RUN_STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    groups: list[int] = []
    with os.fdopen(reader) as pipe:
        for pid in map(int, pipe):
            if pid > 0:
                groups.append(pid)
            else:
                groups.remove(-pid)
    # After a normal end no group is left, and this takes no time.
    for number, seconds in ((signal.SIGTERM, 2), (signal.SIGKILL, 0)):
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
