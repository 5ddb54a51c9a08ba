"""File locks between processes."""
from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO


@contextlib.contextmanager
def locked(path: str, wait: bool = False, remove: bool = False) -> Iterator[BinaryIO]:
    """Yield the file ``path``, locked against other processes and open to read and append.

    It is created if missing. The system unlocks it when this process ends, for whatever reason.

    Parameters
    ----------
    path : str
        A regular file, or one that does not exist yet.
    wait : bool
        Whether to wait while another process has the lock.
    remove : bool
        Whether to remove the file in the end. A process that has opened it by then notices, and creates a new
        one.

    Raises
    ------
    BlockingIOError
        If another process has the lock, without ``wait``.
    OSError
        If ``path`` is not a regular file or cannot be opened.
    """
    while True:
        with open(path, 'a+b', opener=_open_regular) as file:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if _is_named(file, path):
                try:
                    yield file
                finally:
                    if remove and _is_named(file, path):
                        with contextlib.suppress(OSError):  # the folder may have become read-only
                            os.unlink(path)  # while it is locked
                return


def _is_named(file: BinaryIO, path: str) -> bool:
    """Return whether ``path`` is still this file, which may have been renamed or removed."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    return False


def _open_regular(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NONBLOCK, 0o666)  # or a FIFO would wait for its other end
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, 'it is not a regular file', path)
    return descriptor
