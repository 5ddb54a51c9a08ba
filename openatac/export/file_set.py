"""Replaces several files together: whatever happens, all are the old ones or all are the new ones."""
from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

from openatac.console.program import STOP_SIGNALS, stop_signals
from openatac.errors import OpenatacError
from openatac.files.locks import locked
from openatac.files.writing import Target, find_target, flush, temporary_file


class Stopped(OpenatacError):
    """A signal has ended the work; ``exit_code`` is the code that a shell gives it."""

    def __init__(self, number: int) -> None:
        super().__init__(f'stopped by {signal.Signals(number).name}; nothing was changed')
        self.exit_code = 128 + number


@contextlib.contextmanager
def replace_set(prefix: str, old: Sequence[str], last: str | None = None) -> Iterator[str]:
    """Yield the prefix of new files; at the end of the body they take the place of the ``old`` ones.

    What a path already is (a file, a link, a device) decides how it is written, as in
    `openatac.files.writing`. A folder among ``old`` is refused before the body begins.

    If the body fails, or SIGINT or SIGTERM ends it (by `Stopped`), the old files stay as they were and no new
    one is left. Only a kill during the renaming can leave an incomplete set, without its last file.

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
    aside = os.path.join(folder, f'.{name}.part')
    for path in old:
        find_target(path)
    # Python lets only the main thread handle signals.
    signals = STOP_SIGNALS if threading.current_thread() is threading.main_thread() else ()
    with stop_signals(_stop, signals), _held(aside, prefix), contextlib.ExitStack() as stack:
        new, backup = os.path.join(aside, 'new'), os.path.join(aside, 'old')
        for temporary in (new, backup):
            shutil.rmtree(temporary, ignore_errors=True)  # left by a process that was killed
            os.mkdir(temporary)
        yield os.path.join(new, name)
        names = sorted(os.listdir(new), key=lambda file: (file == os.path.basename(last or ''), file))
        gone = [path for path in old if os.path.basename(path) not in names and os.path.isfile(path)]
        back = [(path, os.path.join(backup, os.path.basename(path))) for path in gone]
        into_place = []
        for file in names:
            target = find_target(os.path.join(folder, file))
            if target.is_stream:
                target.write_through(os.path.join(new, file))
                continue
            source, before = _staged(target, file, new, backup, stack)
            into_place.append((source, target.path))
            if target.status is not None:
                back.append((target.path, before))
        with stop_signals(lambda number, frame: None, signals):  # too late to stop
            _move(back + into_place)
        for changed in {os.path.dirname(path) for _, path in into_place}:
            flush(changed)


def _staged(target: Target, file: str, new: str, backup: str, stack: contextlib.ExitStack) -> tuple[str, str]:
    """Return (path of the finished new file, path for the old one), both on the disk of ``target``."""
    source, before = os.path.join(new, file), os.path.join(backup, file)
    if os.path.dirname(target.path) != os.path.dirname(os.path.dirname(os.path.realpath(new))):  # by a link
        finished, source = source, stack.enter_context(temporary_file(target))
        before = stack.enter_context(temporary_file(target))
        shutil.copyfile(finished, source)
    target.prepare(source)
    return source, before


def _move(moves: Sequence[tuple[str, str]]) -> None:
    """Rename each source to its target; all or nothing."""
    done: list[tuple[str, str]] = []
    try:
        for source, target in moves:
            os.rename(source, target)
            done.append((source, target))
    except OSError:
        for source, target in reversed(done):
            os.rename(target, source)
        raise


@contextlib.contextmanager
def _held(aside: str, prefix: str) -> Iterator[None]:
    """Create the folder ``aside`` for this process alone; remove it at the end."""
    os.makedirs(aside, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(os.path.join(aside, 'lock')))
        except BlockingIOError:
            raise OpenatacError(f'another process is writing {prefix}: wait until it ends, or choose '
                                'another name') from None
        try:
            yield
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped(number)
