"""Set how many threads MXNet uses, and how they wait for each other and for other programs."""
from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import NamedTuple

from openatac.errors import UnfitEnvironment
from openatac.system import cores
from openatac.system.installed import has_cuda_wheel

THREAD_VARIABLES = ('OMP_NUM_THREADS', 'MXNET_OMP_MAX_THREADS')
MAX_THREADS = 1024
SPINS = '20000'  # of a waiting thread before it sleeps; 0.1 to 1 ms, depending on the processor


class ThreadCount(NamedTuple):
    """A number of threads, and the environment variable in which the user set it, if any."""

    threads: int
    variable: str | None


def set_threads() -> None:
    """Set the thread variables that MXNet reads on loading to single numbers, `thread_count` by default.

    OpenMP allows a list with a number for each level of nested parallelism, but MXNet aborts on a list.
    """
    for count, variable in _chosen_counts() or [thread_count()]:
        os.environ[variable or 'OMP_NUM_THREADS'] = str(count)


def thread_count() -> ThreadCount:
    """Return the number of threads for MXNet.

    The user's own ``OMP_NUM_THREADS`` or ``MXNET_OMP_MAX_THREADS`` wins. Otherwise it is one per physical
    core. (MXNet's own default is half of the visible processors, which halves the speed without
    hyper-threading.) OpenMP never exceeds ``OMP_THREAD_LIMIT``, so neither does this number.

    Raises
    ------
    UnfitEnvironment
        If the user's setting is not a number of threads.
    """
    chosen = _chosen_counts()
    if chosen:
        return chosen[0]
    count = cores.physical_cores()
    limit = os.environ.get('OMP_THREAD_LIMIT', '')
    return ThreadCount(min(count, int(limit)) if is_thread_count(limit) else count, None)


def threads_in_environment() -> str:
    """Return the number of threads that the environment sets for MXNet; '' if it sets none.

    It is not `thread_count`: no number was set if MXNet was loaded before openatac.
    """
    return next(filter(None, map(os.environ.get, THREAD_VARIABLES)), '')


def _chosen_counts() -> list[ThreadCount]:
    """Return the user's settings, with the first number of each list; raise the errors of `thread_count`."""
    counts = []
    for variable in THREAD_VARIABLES:
        text = os.environ.get(variable)
        if not text:
            continue
        fields = [field.strip() for field in text.split(',')]
        allowed = len(fields) == 1 or variable == 'OMP_NUM_THREADS'
        if not allowed or not all(map(is_thread_count, fields)):
            raise UnfitEnvironment(f'the environment variable {variable} is {text!r}, but must be a number '
                                   f'of threads from 1 to {MAX_THREADS}: correct it, or unset it')
        counts.append(ThreadCount(int(fields[0]), variable))
    return counts


def is_thread_count(text: str) -> bool:
    """Return whether ``text`` is a whole number from 1 to `MAX_THREADS`."""
    return text.isascii() and text.isdecimal() and len(text) < 9 and 0 < int(text) <= MAX_THREADS


@contextlib.contextmanager
def openmp_for_shared_machine() -> Iterator[None]:
    """Let libgomp load with settings for a shared machine within the context; the user's settings win.

    By default a thread waits at a barrier by spinning for some milliseconds, longer than its time slice, and
    oneDNN's own barriers never sleep. Next to another busy process, the scheduler moves all threads of a step
    onto one core, where each of the hundreds of barriers costs a time slice: two runs on two cores ran
    at a tenth of their speed. Threads bound to one core each keep running simultaneously, and shorter waits
    leave the rest of the time to other processes. Results are bit-identical.

    libgomp reads its variables when it loads, and binds the thread that loads it. Both are undone here:
    child processes would inherit the variables, and all later threads the single core.
    """
    settings = {}
    if not _any_set('GOMP_SPINCOUNT', 'OMP_WAIT_POLICY'):
        settings['GOMP_SPINCOUNT'] = SPINS
    binds = _has_a_thread_for_each_core() and not _any_set('OMP_PROC_BIND', 'OMP_PLACES', 'GOMP_CPU_AFFINITY')
    if binds:
        settings.update(OMP_PROC_BIND='true', OMP_PLACES='cores')
    allowed = cores.allowed_processors()
    os.environ.update(settings)
    try:
        yield
    finally:
        for name in settings:
            del os.environ[name]
        if binds:
            os.sched_setaffinity(0, allowed)


def _has_a_thread_for_each_core() -> bool:
    """Return whether it is safe to bind threads.

    Processes with fewer threads than cores would all crowd onto the first cores. So would training runs with
    MXNet's CUDA build, which keep only a few processors busy.
    """
    count = len(cores.allowed_cores())
    return (cores.has_affinity() and not has_cuda_wheel()
            and 1 < count == cores.physical_cores() == thread_count().threads)


def _any_set(*variables: str) -> bool:
    return any(os.environ.get(variable) for variable in variables)
