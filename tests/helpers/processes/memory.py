"""A pytest plugin that limits the suite's memory and reports the peak of all its processes together.

Memory that processes share, such as MXNet's library, counts once (Linux's proportional set size).
"""
import ctypes
import gc
import os
import threading
from pathlib import Path

import pytest

INTERVAL = 2  # seconds between measurements, each of which takes some 50 ms
GROWTH = 256 * 2 ** 20  # bytes by which a process may grow before it returns freed memory to the system


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
    """Return the process ``root`` and all its descendants."""
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
    """Return the proportional set size of a process in bytes, or 0 if it has ended."""
    try:
        lines = Path(f'/proc/{process}/smaps_rollup').read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith('Pss:'))
    except (OSError, StopIteration):
        return 0


class FreedMemory:
    """Returns freed memory to the system; the C library would keep some 250 MB for each network."""

    def __init__(self):
        self._trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)  # only in glibc
        self._after = 0

    def pytest_collection_finish(self):
        gc.collect()
        gc.freeze()  # later collections need not go through the modules

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self):
        if self._trim and resident() > self._after + GROWTH:
            gc.collect()  # networks contain reference cycles
            self._trim(0)
            self._after = resident()


def resident() -> int:
    """Return the memory of this process in bytes."""
    return int(Path('/proc/self/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE')


def pytest_configure(config):
    config.pluginmanager.register(FreedMemory())
    if not hasattr(config, 'workerinput'):  # the first process also watches pytest-xdist's workers
        config.pluginmanager.register(PeakMemory())
