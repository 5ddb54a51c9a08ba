"""File locks between processes with portalocker, which uses the system's locks (flock on Linux and macOS).

The system unlocks a file when its process ends, for any reason, so locks are never stale.
"""
from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import stat
from collections.abc import Iterator
from typing import IO, Any, BinaryIO, Union

log = logging.getLogger('openatac')

# Windows neither renames nor removes open files, and does not let others read locked ones.
OPEN_FILES_MOVE = os.name != 'nt'


@contextlib.contextmanager
def locked(path: str, wait: bool = False, remove: bool = False) -> Iterator[BinaryIO]:
    """Yield the file ``path``, locked against other processes and open to read and append.

    A missing file is created. If the system or the file system lacks locks, a warning is logged.

    Parameters
    ----------
    path : str
        A regular file, or one that does not exist yet.
    wait : bool
        Whether to wait while another process holds the lock.
    remove : bool
        Whether to remove the file on exit. A process that already has it open detects this and creates a new
        one.

    Raises
    ------
    BlockingIOError
        If another process holds the lock and ``wait`` is false.
    OSError
        If ``path`` is not a regular file or cannot be opened.
    """
    try:
        while True:
            with open(path, 'a+b', opener=_open_regular) as file:
                if not lock(file, wait):
                    _warn(os.path.dirname(os.path.abspath(path)))
                if _is_named(file, path):
                    try:
                        yield file
                    finally:
                        if remove and _is_named(file, path):
                            _unlink(path)  # while it is locked
                    return
    finally:
        if remove and not OPEN_FILES_MOVE:
            _unlink(path)


def lock(file: Union[IO[Any], int], wait: bool = False) -> bool:
    """Lock an open file until it is closed; return False where locks are not supported.

    Raises
    ------
    BlockingIOError
        If another process holds the lock and ``wait`` is false.
    """
    try:
        import portalocker
    except ImportError:  # on a system without locks
        return False
    flags = portalocker.LockFlags.EXCLUSIVE
    if not wait:
        flags |= portalocker.LockFlags.NON_BLOCKING
    while True:
        try:
            portalocker.lock(file, flags)
            return True
        except portalocker.AlreadyLocked:
            if not wait:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None
            # Windows gives up after 10 seconds, so ask again.
        except portalocker.LockException:  # on some network file systems
            return False


@functools.cache
def _warn(folder: str) -> None:
    log.warning('%s is on a file system without locks: make sure that no other process writes the same files '
                'there', folder)


def _unlink(path: str) -> None:
    with contextlib.suppress(OSError):  # the folder can have become read-only
        os.unlink(path)


def _is_named(file: BinaryIO, path: str) -> bool:
    """Return whether ``path`` still names this file, which could have been renamed or removed."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    return False


def _open_regular(path: str, flags: int) -> int:
    # Non-blocking, since a FIFO would wait for its other end. Windows has no FIFOs.
    descriptor = os.open(path, flags | getattr(os, 'O_NONBLOCK', 0), 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, 'it is not a regular file', path)
    return descriptor
