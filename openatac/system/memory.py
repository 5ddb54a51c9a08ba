"""Check the available memory before MXNet loads, and keep freed memory in the process while it runs."""
from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys

from openatac.errors import UnfitEnvironment
from openatac.system.threads import is_thread_count, threads_in_environment

try:
    import resource
except ModuleNotFoundError:  # on Windows
    resource = None  # type: ignore[assignment]

# Bytes for MXNet's libraries and the smallest training, and for each thread's stack and heap.
ADDRESS_SPACE, ADDRESS_SPACE_OF_THREAD = 5 * 2 ** 29, 2 ** 27

# For glibc's malloc: return the heap's top from 1 GiB on, and map arrays from 32 MiB on, the maximum.
TRIM_THRESHOLD, MMAP_THRESHOLD = 2 ** 30, 2 ** 25


def keep_freed_memory() -> None:
    """Make glibc keep the memory that training frees, unless the user has configured malloc.

    MXNet and PyTorch allocate and free hundreds of megabyte-sized arrays in every step. By default glibc
    returns them to the system at thresholds that depend on the history of the process. Each step can then
    fault in up to a hundred thousand pages again, which costs up to a third of its time.
    """
    tunables = os.environ.get('GLIBC_TUNABLES', '')
    if 'glibc.malloc.' in tunables or any(name.startswith('MALLOC_') for name in os.environ):
        return
    with contextlib.suppress(OSError, AttributeError, TypeError):  # not glibc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-1, TRIM_THRESHOLD)  # M_TRIM_THRESHOLD
        mallopt(-3, MMAP_THRESHOLD)  # M_MMAP_THRESHOLD


def memory_shortage() -> str | None:
    """Return an error message if the address space (``ulimit -v``) is too small for training, or None."""
    if resource is None:
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    text = threads_in_environment().split(',')[0]
    threads = int(text) if is_thread_count(text) else os.cpu_count() or 1
    least = ADDRESS_SPACE + threads * ADDRESS_SPACE_OF_THREAD
    if limit == resource.RLIM_INFINITY or limit >= least:
        return None
    return (f'the address space of this process is limited to {limit // 2 ** 20} MiB, but {threads} threads '
            f'need about {least // 2 ** 20} MiB: raise the limit (ulimit -v unlimited)')


def memory_in_use() -> float | None:
    """Return the memory of this process in MB, or None where the system does not report it."""
    try:
        with open('/proc/self/statm') as handle:
            return int(handle.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 2 ** 20
    except OSError:
        return None


def peak_memory() -> float | None:
    """Return the peak memory of this process in MB, or None where the system does not report it."""
    if resource is None:
        return None
    unit = 1 if sys.platform == 'darwin' else 2 ** 10  # bytes on macOS, elsewhere kB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2 ** 20


def may_be_memory_shortage(error: BaseException) -> bool:
    """Return whether a lack of memory could have caused the error, whatever its message."""
    if isinstance(error, ImportError):  # the loader names the library that did not fit
        return not isinstance(error, (ModuleNotFoundError, UnfitEnvironment))
    return isinstance(error, MemoryError) or getattr(error, 'errno', None) == errno.ENOMEM
