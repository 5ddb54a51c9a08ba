"""Write files atomically: a path names either the old file or the complete new one, whatever happens.

The result depends on the existing path. A regular file is replaced by a file with its mode and owner. A
symbolic link is preserved, and its target is replaced. A device or a FIFO is written to, as in a shell. A
folder is an error.
"""
from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from typing import NamedTuple, TextIO

from openatac.errors import OpenatacError, UsageError, reason
from openatac.files.locks import OPEN_FILES_MOVE, lock

STREAMS = {1: 'standard output', 2: 'standard error'}  # in messages


class Target(NamedTuple):
    """The destination of a file.

    Attributes
    ----------
    path : str
        The path with all symbolic links followed.
    status : os.stat_result or None
        The status of the existing file.
    """

    path: str
    status: os.stat_result | None

    @property
    def is_stream(self) -> bool:
        """Whether it is written to, not replaced: a device, a FIFO, or the destination of our output."""
        return self.status is not None and (
            not stat.S_ISREG(self.status.st_mode) or _standard_stream(self.status) is not None)

    def prepare(self, temporary: str) -> None:
        """Give the finished file ``temporary`` the target's mode and owner, and flush it before renaming."""
        if self.status is not None:
            for owner in (self.status.st_uid, -1):  # only the group, if we may not change the owner
                with contextlib.suppress(PermissionError, AttributeError):  # Windows has no such owners
                    os.chown(temporary, owner, self.status.st_gid)
                    break
            os.chmod(temporary, stat.S_IMODE(self.status.st_mode))
        flush(temporary)

    def write_through(self, source: str) -> None:
        """Copy the file ``source`` to a target that `is_stream`."""
        standard = _standard_stream(self.status) if self.status else None
        if standard:
            standard.flush()
        stream = os.dup(standard.fileno()) if standard else self.path
        try:
            with open(source, 'rb') as content, open(stream, 'wb') as copy:
                shutil.copyfileobj(content, copy)
        except BrokenPipeError as error:  # the reader has left
            error.filename = STREAMS[standard.fileno()] if standard else self.path
            raise


def _standard_stream(status: os.stat_result) -> TextIO | None:
    """Return standard output or error, if it is the file with this ``status``."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, AttributeError, ValueError):  # closed, or not a file
            if os.path.samestat(os.fstat(stream.fileno()), status):
                return stream
    return None


def find_target(path: str) -> Target:
    """Return the `Target` at ``path``; raise OSError for a folder, a socket or circular links."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return Target(os.path.realpath(path), None)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if stat.S_ISSOCK(status.st_mode):
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO), path)
    # The links in /proc/*/fd, and so /dev/stdout, lead to names that cannot be opened.
    return Target(os.path.realpath(path) if stat.S_ISREG(status.st_mode) else path, status)


@contextlib.contextmanager
def replace_file(path: str) -> Iterator[str]:
    """Yield the name of a temporary file that replaces ``path`` at the end.

    If the body fails, ``path`` is unchanged and nothing is left behind. See the module's docstring for paths
    that are not regular files.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    target = find_target(path)
    with temporary_file(target) as temporary:
        yield temporary
        if target.is_stream:
            target.write_through(temporary)
        else:
            target.prepare(temporary)
            os.replace(temporary, target.path)
            flush(os.path.dirname(target.path))


@contextlib.contextmanager
def temporary_file(target: Target) -> Iterator[str]:
    """Yield the name of a new file next to ``target``, or in the system's folder for a stream.

    The file is removed at the end, and so are temporary files that killed processes left for the same path. A
    living process holds a lock on its file, except on Windows, which cannot rename a locked file.
    """
    folder = tempfile.gettempdir()
    name = 'openatac'
    if not target.is_stream:
        folder, name = os.path.split(target.path)
        _remove_abandoned(folder, name)
    # A replacement for a private file is private too, until `Target.prepare` sets its final mode.
    handle, temporary = _locked_file(folder, name, 0o666 if target.status is None else 0o600)
    if not OPEN_FILES_MOVE:
        os.close(handle)
    try:
        yield temporary
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        if OPEN_FILES_MOVE:
            os.close(handle)


def _locked_file(folder: str, name: str, mode: int) -> tuple[int, str]:
    """Create a temporary file, locked if the file system has locks; return (descriptor, path)."""
    while True:
        temporary = os.path.join(folder, f'.{name}.{os.urandom(4).hex()}.part')
        try:
            # Not tempfile, which ignores the umask; reading the umask means changing it for all threads.
            handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
        except FileExistsError:
            continue
        lock(handle, wait=True)
        if os.fstat(handle).st_nlink:
            return handle, temporary
        os.close(handle)  # another process removed it as abandoned before we locked it


def _remove_abandoned(folder: str, name: str) -> None:
    """Remove the temporary files for ``name`` in ``folder`` that no process has locked."""
    with contextlib.suppress(OSError):
        for path in _leftovers(folder, re.escape(name)):
            with contextlib.suppress(OSError), open(path, 'r+b') as file:
                if lock(file):
                    os.unlink(path)


def _leftovers(folder: str, name: str) -> list[str]:
    """Return the temporary files in ``folder`` for targets with names that match the pattern ``name``."""
    # Eight letters and digits: ours are hexadecimal, those of earlier versions were tempfile's.
    pattern = re.compile(rf'\.{name}\.[a-z0-9_]{{8}}\.part', re.DOTALL)
    with os.scandir(folder) as entries:
        return [entry.path for entry in entries
                if pattern.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)]


@contextlib.contextmanager
def writing(what: str, advice: str = '') -> Iterator[None]:
    """Convert an OSError in the body to an OpenatacError: "WHAT cannot be written (...); ADVICE".

    A BrokenPipeError from our own output passes through, to end a command quietly.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, BrokenPipeError) and error.filename in STREAMS.values():
            raise
        advice = f'; {advice}' if advice else ''
        raise OpenatacError(f'{what} cannot be written ({reason(error)}){advice}') from None


def check_writable(path: str) -> None:
    """Raise OSError if no file can be written to ``path``; create its folder if missing."""
    folder = os.path.dirname(os.path.abspath(path))
    if find_target(path).status is None:
        os.makedirs(folder, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    elif not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)


def check_prefix(path: str, beside_folder: bool = True) -> str:
    """Return ``path``, a prefix for the names of new files; raise UsageError if it is a folder.

    Parameters
    ----------
    path : str
    beside_folder : bool
        Whether to accept the name of an existing folder; the files are then written next to it.

    Raises
    ------
    UsageError
        If ``path`` is a folder.
    """
    if os.path.basename(path) in ('', os.curdir, os.pardir) or (not beside_folder and os.path.isdir(path)):
        raise UsageError(f'{path!r} is a folder: add a prefix for the files')
    return path


def remove_leftovers(folder: str) -> None:
    """Remove the files that `replace_file` left in ``folder`` when its process was killed.

    No process must be writing there.
    """
    for path in _leftovers(folder, '.+'):
        os.unlink(path)


def flush(path: str) -> None:
    """Flush a file or folder to disk; on Windows only a file, which must be writable."""
    if os.name == 'nt' and os.path.isdir(path):
        return
    descriptor = os.open(path, os.O_RDWR if os.name == 'nt' else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: str, text: str) -> None:
    """Write ``text`` to the file ``path`` atomically."""
    with replace_file(path) as temporary, open(temporary, 'w', encoding='utf-8', newline='') as file:
        file.write(text)
