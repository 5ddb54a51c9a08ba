"""Replace several files together: whatever happens, all of them are old or all of them are new."""
from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

from openatac.console.signals import STOP_SIGNALS, StoppedBySignal, stop_signals
from openatac.errors import OpenatacError
from openatac.files.locks import OPEN_FILES_MOVE, locked
from openatac.files.writing import find_target, flush, temporary_file


@contextlib.contextmanager
def replace_set(prefix: str, old: Sequence[str], last: str | None = None) -> Iterator[str]:
    """Yield a prefix for new files; when the body ends, they replace the ``old`` ones.

    Files, links and devices that already exist are written as in `openatac.files.writing`. A folder among
    ``old`` is refused before the body begins.

    If the body fails, or SIGINT or SIGTERM ends it (with `StoppedBySignal`), the old files are unchanged and
    no new one is left. Only a kill during the renaming can leave an incomplete set, without its last file.

    Parameters
    ----------
    prefix : str
        The common start of the paths of all the files.
    old : sequence of str
        The paths of an older set, removed if they exist.
    last : str, optional
        The path of the new file that is renamed last, as a sign that the set is complete.

    Raises
    ------
    OSError
        If the files cannot be written.
    OpenatacError
        If another process is writing the same set.
    """
    folder, name = os.path.split(os.path.abspath(prefix))
    os.makedirs(folder, exist_ok=True)
    work = os.path.join(folder, f'.{name}.part')
    for path in old:
        find_target(path)
    # Python lets only the main thread handle signals.
    signals = STOP_SIGNALS if threading.current_thread() is threading.main_thread() else ()
    with stop_signals(_stop, signals), _held(work, prefix), contextlib.ExitStack() as stack:
        replacement = _Replacement(folder, work, stack)
        yield os.path.join(replacement.new, name)
        last_name = os.path.basename(last or '')
        new = sorted(os.listdir(replacement.new), key=lambda file: (file == last_name, file))
        for path in old:
            if os.path.basename(path) not in new and os.path.isfile(path):
                replacement.remove(path)
        for file in new:
            replacement.stage(file)
        with stop_signals(lambda number, frame: None, signals):  # too late to stop
            replacement.commit()


class _Replacement:
    """The renames that put new files in place of old ones.

    Parameters
    ----------
    folder : str
        Where the files belong.
    work : str
        A folder within it for the new files and, until the end, the old ones.
    stack : ExitStack
        Removes temporary files in other folders at the end.
    """

    def __init__(self, folder: str, work: str, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self.new = os.path.join(work, 'new')
        self.backup = os.path.join(work, 'old')
        self._stack = stack
        self._backups: list[tuple[str, str]] = []   # old path -> backup
        self._moves: list[tuple[str, str]] = []  # staged file -> final path
        for temporary in (self.new, self.backup):
            shutil.rmtree(temporary, ignore_errors=True)  # left by a process that was killed
            os.mkdir(temporary)

    def remove(self, path: str) -> None:
        """Let `commit` remove an old file that no new one replaces."""
        self._backups.append((path, os.path.join(self.backup, os.path.basename(path))))

    def stage(self, file: str) -> None:
        """Let `commit` put a new file in place; write to a device or FIFO immediately."""
        source = os.path.join(self.new, file)
        target = find_target(os.path.join(self.folder, file))
        if target.is_stream:
            target.write_through(source)
            return
        backup = os.path.join(self.backup, file)
        if os.path.dirname(target.path) != os.path.realpath(self.folder):  # a link, possibly to another disk
            finished, source = source, self._stack.enter_context(temporary_file(target))
            backup = self._stack.enter_context(temporary_file(target))
            shutil.copyfile(finished, source)
        target.prepare(source)
        self._moves.append((source, target.path))
        if target.status is not None:
            self._backups.append((target.path, backup))

    def commit(self) -> None:
        """Rename all files; if one cannot be renamed, restore the others and raise its OSError."""
        done: list[tuple[str, str]] = []
        try:
            for source, target in self._backups + self._moves:
                os.rename(source, target)
                done.append((source, target))
        except OSError:
            for source, target in reversed(done):
                os.rename(target, source)
            raise
        for folder in {os.path.dirname(target) for _, target in self._moves}:
            flush(folder)


@contextlib.contextmanager
def _held(work: str, prefix: str) -> Iterator[None]:
    """Create the folder ``work`` and lock it for this process; remove it at the end."""
    os.makedirs(work, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(os.path.join(work, 'lock')))
        except BlockingIOError:
            raise OpenatacError(f'another process is writing {prefix}: wait until it ends, or choose '
                                'another name') from None
        try:
            yield
        finally:
            shutil.rmtree(work, ignore_errors=True)
    if not OPEN_FILES_MOVE:  # the lock is still there
        shutil.rmtree(work, ignore_errors=True)


def _stop(number: int, frame: FrameType | None) -> None:
    raise StoppedBySignal(number, '; nothing was changed')
