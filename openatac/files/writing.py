"""How the package writes files: each is either the old one or the whole new one, whatever happens in between.

What is already at a path decides what is done there. A regular file is replaced, and the new one gets its
mode and owner; a symbolic link stays, and the file that it leads to is replaced; a device or a FIFO is
written to, as a shell does; a folder is refused.
"""
import contextlib
import csv
import errno
import fcntl
import io
import os
import re
import shutil
import stat
import sys
import tempfile
from typing import BinaryIO, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, TextIO, Tuple

from openatac.console.escapes import for_spreadsheet, from_spreadsheet
from openatac.errors import OpenatacError
from openatac.files.reading import read_text

_SUFFIX = '.part'
_LEFTOVER = re.compile(r'\..+\.[a-z0-9_]{8}\.part', re.DOTALL)  # the names that mkstemp makes here


class Target(NamedTuple):
    """Where a file is written to: ``path``, behind all links, and the `os.stat` of what is there, or None."""

    path: str
    status: Optional[os.stat_result]

    @property
    def is_stream(self) -> bool:
        """Whether it is written to and not replaced: a device, a FIFO, or where our output goes already."""
        return self.status is not None and (
            not stat.S_ISREG(self.status.st_mode) or _standard_stream(self.status) is not None)

    def prepare(self, temporary: str) -> None:
        """Give the finished file ``temporary``, to be renamed to ``path``, its mode and owner; flush it."""
        if self.status is None:
            os.chmod(temporary, 0o666 & ~_umask())
        else:
            for owner in (self.status.st_uid, -1):  # without the right to give files away, the group
                with contextlib.suppress(PermissionError):
                    os.chown(temporary, owner, self.status.st_gid)
                    break
            os.chmod(temporary, stat.S_IMODE(self.status.st_mode))
        flush(temporary)

    def write_through(self, source: str) -> None:
        """Copy the file ``source`` to a target that `is_stream`."""
        standard = _standard_stream(self.status)
        if standard:
            standard.flush()
        stream = os.dup(standard.fileno()) if standard else self.path
        with open(source, 'rb') as content, open(stream, 'wb') as copy:
            shutil.copyfileobj(content, copy)


def _standard_stream(status: os.stat_result) -> Optional[TextIO]:
    """Standard output or error, if that is what a file of this ``status`` is."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, AttributeError, ValueError):  # closed, or not a file
            if os.path.samestat(os.fstat(stream.fileno()), status):
                return stream
    return None


def find_target(path: str) -> Target:
    """The `Target` that ``path`` names. Raises OSError for a folder and for links that lead nowhere."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return Target(os.path.realpath(path), None)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    # The links of /proc/*/fd, and so /dev/stdout, lead to names that cannot be opened.
    target = Target(os.path.realpath(path) if stat.S_ISREG(status.st_mode) else path, status)
    if stat.S_ISSOCK(status.st_mode):
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO), path)
    return target


@contextlib.contextmanager
def replace_file(path: str) -> Iterator[str]:
    """Yield the name of a temporary file, whose content goes to ``path`` at the end (see the module).

    If the body fails, ``path`` is left as it was and nothing else stays behind. Raises OSError.
    """
    target = find_target(path)
    with temporary_file(None if target.is_stream else target.path) as temporary:
        yield temporary
        if target.is_stream:
            target.write_through(temporary)
        else:
            target.prepare(temporary)
            os.replace(temporary, target.path)
            flush(os.path.dirname(target.path))


@contextlib.contextmanager
def temporary_file(path: Optional[str]) -> Iterator[str]:
    """Yield the name of a new file beside ``path``, or anywhere for None; it is removed if still there.

    So are those of ``path`` whose process was killed: while one is alive, it holds a lock on its file.
    """
    folder, name = os.path.split(os.path.abspath(path)) if path else (None, 'openatac')
    if folder:
        _remove_abandoned(folder, name)
    handle, temporary = _locked_file(folder, name)
    try:
        yield temporary
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        os.close(handle)


def _locked_file(folder: Optional[str], name: str) -> Tuple[int, str]:
    """(descriptor, path) of a new temporary file that is locked, where the file system has locks."""
    while True:
        handle, temporary = tempfile.mkstemp(prefix=f'.{name}.', suffix=_SUFFIX, dir=folder)
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, temporary
        os.close(handle)  # another process took it for abandoned before it was locked


def _remove_abandoned(folder: str, name: str) -> None:
    """Remove the temporary files for ``name`` in ``folder`` that no process holds."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        found = [entry.path for entry in entries
                 if entry.name.startswith(f'.{name}.') and _LEFTOVER.fullmatch(entry.name)
                 and len(entry.name) == len(f'.{name}.12345678{_SUFFIX}')
                 and entry.is_file(follow_symlinks=False)]
        for path in found:
            with contextlib.suppress(OSError), locked(path):
                os.unlink(path)


@contextlib.contextmanager
def writing(what: str, advice: str = '') -> Iterator[None]:
    """Turn a failure of the system to write into an OpenatacError: "WHAT cannot be written (...)ADVICE"."""
    try:
        yield
    except OSError as error:
        raise OpenatacError(f'{what} cannot be written ({reason(error)}){advice}') from None


def check_prefix(path: str, beside_folder: bool = True) -> str:
    """``path``, which the names of files to be written begin with; ValueError if it names a folder's inside.

    beside_folder : whether a folder may have that very name, beside which the files would lie
    """
    if os.path.basename(path) in ('', os.curdir, os.pardir) or not beside_folder and os.path.isdir(path):
        raise ValueError(f'{path!r} is a folder: add what the names of the files begin with')
    return path


def reason(error: OSError) -> str:
    """Why the system refused, in its own words."""
    return error.strerror or str(error)


def remove_leftovers(folder: str) -> None:
    """Remove what `replace_file` left in ``folder`` when its process was killed, and no one writes there."""
    with os.scandir(folder) as entries:
        leftovers = [entry.path for entry in entries
                     if _LEFTOVER.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)]
    for path in leftovers:
        os.unlink(path)


def flush(path: str) -> None:
    """Have the operating system put the file or folder on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(path: str, wait: bool = False) -> Iterator[BinaryIO]:
    """Yield the file ``path``, made if missing, open to read and append and locked against other processes.

    The system unlocks it when this process ends, however that happens. Raises BlockingIOError if another
    process has it, unless told to ``wait``, and OSError if it is not a regular file.
    """
    with open(path, 'a+b', opener=_open_regular) as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield file


def _open_regular(path: str, flags: int) -> int:
    handle = os.open(path, flags | os.O_NONBLOCK, 0o666)  # or a FIFO would wait for its other end
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, 'it is not a regular file', path)
    return handle


def write_text(path: str, text: str) -> None:
    """Put ``text`` in the file ``path``, whole or not at all."""
    with replace_file(path) as temporary:
        with open(temporary, 'w', encoding='utf-8', newline='') as handle:
            handle.write(text)


def write_csv(path: str, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write rows, as dicts, under ``columns``, whole or not at all; what is in no column is left out.

    Text that a spreadsheet would run is made harmless (see `openatac.console.escapes.for_spreadsheet`).
    """
    lines = [_csv_line(columns)]
    lines += [_csv_line([for_spreadsheet(row.get(column)) for column in columns]) for row in rows]
    write_text(path, ''.join(lines))


def _csv_line(cells: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator='\r\n').writerow(cells)  # with which a cell's own \r gets its quotes
    return text.getvalue().removesuffix('\r\n') + '\n'


def read_csv(path: str) -> List[dict]:
    """The rows of a file of `write_csv`, {column: the text as it was}; raises as `read_text`."""
    try:
        return [{column: from_spreadsheet(value) for column, value in row.items()}
                for row in csv.DictReader(io.StringIO(read_text(path), newline=''))]
    except csv.Error as error:
        raise ValueError(str(error)) from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
