"""Read files named by users safely: only regular files, and only up to a size limit.

A FIFO or a device could keep a reader waiting, or reading, forever. So files are opened without waiting for a
writer and checked before they are read; the check is on the open file, which nothing can replace in between.
"""
from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Iterator
from typing import BinaryIO, Union

from openatac.errors import DataError, reason

PathLike = Union[str, 'os.PathLike[str]']

MEGABYTE = 2 ** 20
_SEEKING = threading.Lock()
MAX_TEXT_BYTES = 64 * MEGABYTE    # for settings, metrics, class lists and other files read whole
MAX_IMAGE_BYTES = 512 * MEGABYTE  # for one image file, also on standard input
BYTE_ORDER_MARK = '\ufeff'     # begins text files from some editors

# Windows supports only the first and the last.
_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0)
                           for name in ('O_CLOEXEC', 'O_NONBLOCK', 'O_NOCTTY', 'O_BINARY'))
_KINDS = {stat.S_IFDIR: 'a folder', stat.S_IFIFO: 'a FIFO', stat.S_IFCHR: 'a device',
          stat.S_IFBLK: 'a device', stat.S_IFSOCK: 'a socket'}


def open_descriptor(path: PathLike, limit: int | None = None) -> int:
    """Open the regular file ``path`` for reading, and return its descriptor.

    Parameters
    ----------
    path : path
    limit : int, optional
        The largest size allowed, in bytes.

    Raises
    ------
    OSError
        If the file is missing, not a regular file, or larger than ``limit``.
    """
    descriptor = os.open(path, _FLAGS)
    try:
        _check(os.fstat(descriptor), path, limit)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def open_input(path: PathLike, limit: int | None = None) -> BinaryIO:
    """Open the regular file ``path`` as a binary file; raise the errors of `open_descriptor`."""
    return open(open_descriptor(path, limit), 'rb')


def check_input(path: PathLike, limit: int) -> None:
    """Check a file before a library opens it by path; raise the errors of `open_descriptor`."""
    os.close(open_descriptor(path, limit))


def read_input(path: PathLike, limit: int) -> bytes:
    """Return the content of the regular file ``path``; raise the errors of `open_descriptor`."""
    with open_input(path, limit) as file:
        return read_limited(file, limit, path)


def read_text(path: PathLike, errors: str = 'strict') -> str:
    """Return the text of a UTF-8 file of at most `MAX_TEXT_BYTES` bytes.

    Raises
    ------
    OSError
        As `open_descriptor` does.
    ValueError
        If the file is not UTF-8 (see ``errors`` of `bytes.decode`).
    """
    return read_input(path, MAX_TEXT_BYTES).decode('utf-8', errors)


def read_lines(path: str, what: str) -> list[str]:
    """Return the lines of a hand-edited text file, without byte-order mark, trailing blanks and empty lines.

    Parameters
    ----------
    path : str
    what : str
        The file's description in messages, such as 'the class list'.

    Raises
    ------
    DataError
        If the file cannot be read, or is not in UTF-8.
    """
    with opening(f'{what} {path}'):
        text = read_text(path, errors='surrogateescape').removeprefix(BYTE_ORDER_MARK)
    if '\0' in text:
        raise DataError(f'{what} {path} is not UTF-8 text (perhaps UTF-16): save it as UTF-8')
    return [line.rstrip() for line in text.split('\n') if line.strip()]


def read_limited(stream: BinaryIO, limit: int, name: PathLike) -> bytes:
    """Read the rest of a binary stream; raise OSError if it exceeds ``limit`` bytes."""
    data = stream.read(limit + 1)  # a file can grow, and files in /proc have no size
    if len(data) > limit:
        raise _too_large(name, limit)
    return data


@contextlib.contextmanager
def opening(what: str) -> Iterator[None]:
    """Convert an OSError in the body to a DataError: "cannot open WHAT (...)"."""
    try:
        yield
    except OSError as error:
        raise DataError(f'cannot open {what} ({reason(error)})') from error


def _check(status: os.stat_result, path: PathLike, limit: int | None) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), 'of another kind')
        number = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
        raise OSError(number, f'it is {kind}, not a regular file', os.fspath(path))
    if limit is not None and status.st_size > limit:
        raise _too_large(path, limit)


def _too_large(path: PathLike, limit: int) -> OSError:
    return OSError(errno.EFBIG, f'it is larger than the limit of {limit / MEGABYTE:.0f} MB', os.fspath(path))


def read_at(descriptor: int, size: int, offset: int) -> bytes:
    """Read up to ``size`` bytes of an open file from ``offset`` on, in any thread."""
    if hasattr(os, 'pread'):
        return os.pread(descriptor, size, offset)
    with _SEEKING:  # on Windows
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, size)
