"""A pytest plugin that keeps the suite's memory small, and reports the peak of all its processes together.

What processes share, such as MXNet's library, counts once (the proportional set size of Linux).
"""
import ctypes
import gc
import os
import threading
from pathlib import Path

import pytest

INTERVAL = 2  # seconds between two looks, each of which takes the system some 50 ms
GROWTH = 256 * 2 ** 20  # bytes by which a process may grow before its freed memory goes back to the system


class PeakMemory:
    """Watches the processes below this one until the session ends.

    Attributes
    ----------
    peak : int
        The largest sum seen, in bytes.
    """

    def __init__(self):
        self.peak = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self):
        while not self._end.wait(INTERVAL):
            self.peak = max(self.peak, sum(map(memory_of, family(os.getpid()))))

    def pytest_sessionfinish(self):
        self._end.set()
        self._thread.join()

    def pytest_terminal_summary(self, terminalreporter):
        terminalreporter.write_line(f'peak memory of all processes: {self.peak / 1e9:.1f} GB')


def family(root: int) -> list[int]:
    """The process ``root`` and all that descend from it."""
    children = {}
    for stat in Path('/proc').glob('[0-9]*/stat'):
        try:
            parent = int(stat.read_text().rpartition(')')[2].split()[1])
        except (OSError, ValueError):  # it ended meanwhile
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    members = [root]
    for member in members:
        members += children.get(member, [])
    return members


def memory_of(process: int) -> int:
    """The proportional set size of a process, in bytes; 0 if it has ended."""
    try:
        lines = Path(f'/proc/{process}/smaps_rollup').read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith('Pss:'))
    except (OSError, StopIteration):
        return 0


class FreedMemory:
    """Returns to the system what tests have freed, which the C library would keep: some 250 MB a network."""

    def __init__(self):
        self._trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)  # glibc's alone
        self._after = 0

    def pytest_collection_finish(self):
        gc.collect()
        gc.freeze()  # modules stay, and later collections need not go through them

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self):
        if self._trim and resident() > self._after + GROWTH:
            gc.collect()  # networks are circles of references
            self._trim(0)
            self._after = resident()


def resident() -> int:
    """The memory of this process, in bytes."""
    return int(Path('/proc/self/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')


def pytest_configure(config):
    config.pluginmanager.register(FreedMemory())
    if not hasattr(config, 'workerinput'):  # one of pytest-xdist's workers, which the first process watches
        config.pluginmanager.register(PeakMemory())
