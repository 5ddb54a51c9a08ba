"""Detect other processes that compete for the processors that training on the CPU needs."""
from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from openatac.system.cores import allowed_processors, has_affinity
from openatac.system.threads import thread_count
from openatac.text import counted
from openatac.training.checkpoints.progress import Progress
from openatac.training.tracking.trackers import Tracker

log = logging.getLogger('openatac')
WINDOW = 10.0  # seconds per measurement: far above the kernel's 10 ms ticks
WINDOWS = 2    # consecutive crowded windows before the warning, which a brief compilation does not cause
MARGIN = 0.25  # processors that others may keep busy beyond the free ones: a desktop's usual load


class Usage(NamedTuple):
    """Seconds since some start: on the clock, of busy processors, and of processors busy with this process.

    ``processors`` is the number of processors that this process may use.
    """

    clock: float
    busy: float
    own: float
    processors: int


class ContentionWatch(Tracker):
    """Warns once, with a remedy, if other processes compete for the CPU; sets ``progress.disturbed``.

    Parameters
    ----------
    progress : Progress
    read : function, optional
        Returns the `Usage` now, or None where the system does not report it.
    threads : int
        The number that this process computes with; 0 for the configured number.
    """

    def __init__(self, progress: Progress, read: Callable[[], Usage | None] | None = None,
                 threads: int = 0) -> None:
        self.progress = progress
        self.read = read or read_usage
        self.threads = threads or thread_count().threads
        self.before = self.read()
        self.crowded = 0
        self.said = False

    def interval(self, step: int, values: dict[str, float]) -> None:
        """Check the usage since the last check, unless that was only a moment ago."""
        if self.said or self.before is None:
            return
        now = self.read()
        if now is None or now.clock - self.before.clock < WINDOW:
            return
        others = others_busy(self.before, now)
        self.before = now
        self.crowded = self.crowded + 1 if self.threads + others > now.processors + MARGIN else 0
        if self.crowded == WINDOWS:
            self.said = self.progress.disturbed = True
            log.warning('%s', contention_warning(others, now.processors, self.threads))


def others_busy(before: Usage, now: Usage) -> float:
    """Return how many processors other processes kept busy, on average."""
    return max(0.0, (now.busy - before.busy) - (now.own - before.own)) / (now.clock - before.clock)


def contention_warning(others: float, processors: int, threads: int) -> str:
    """Return the warning in the log when other processes compete for the CPU."""
    free = max(1, round(processors - others))
    remedy = ('wait until they have ended' if free >= threads else
              f'stop it with Ctrl-C and continue with OMP_NUM_THREADS={free} and --resume auto')
    return (f'other processes keep {others:.1f} of {processors} processors busy alongside this training with '
            f'{counted(threads, "thread")}, so the images/s reported here understate its normal speed; '
            f'if it is too slow, {remedy}')


def read_usage(root: str = '/proc') -> Usage | None:
    """Return the current `Usage`; None without Linux's /proc, or if that hides this process."""
    if not has_affinity():
        return None
    processors = allowed_processors()
    try:
        # Time stolen by the host of a virtual machine counts as others' work.
        with open(os.path.join(root, 'stat')) as handle:
            busy = _busy_ticks(handle, processors)
        own = _ticks_of_descendants(root, os.getpid())
    except (OSError, ValueError, IndexError, KeyError):  # a KeyError if this process is not in /proc
        return None
    tick = os.sysconf('SC_CLK_TCK')
    return Usage(time.monotonic(), busy / tick, own / tick, len(processors))


def _busy_ticks(lines: Iterable[str], processors: Collection[int]) -> int:
    """Sum the user, nice, system, irq, softirq and steal ticks of /proc/stat, without idle and iowait."""
    names = {f'cpu{processor}' for processor in processors}
    rows = (line.split() for line in lines)
    return sum(sum(map(int, row[1:4] + row[6:9])) for row in rows if row and row[0] in names)


def _ticks_of_descendants(root: str, process: int) -> int:
    """Sum the ticks of a process and all of its descendants, such as its data workers."""
    ticks: dict[int, int] = {}
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir(root)):
        try:
            with open(os.path.join(root, name, 'stat')) as handle:
                fields = handle.read().rpartition(')')[2].split()
        except OSError:  # it has ended
            continue
        ticks[int(name)] = sum(map(int, fields[11:15]))  # its own, and its children's that it has waited for
        children.setdefault(int(fields[1]), []).append(int(name))
    total = 0
    family = [process]
    while family:
        member = family.pop()
        total += ticks[member]
        family += children.get(member, ())
    return total
