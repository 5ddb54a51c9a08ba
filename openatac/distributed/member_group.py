"""The part of a multi-process run that does not depend on the library: members that end together.

When one process dies, all others report it and end within seconds (see `openatac.distributed.member`).
"""
from __future__ import annotations

import atexit
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, NoReturn, TypeVar

from openatac.backends.process_group import ProcessGroup
from openatac.console import streams
from openatac.distributed.crash_exit import exit_process
from openatac.distributed.member import Member
from openatac.errors import OpenatacError, last_line


class MemberGroup(ProcessGroup):
    """The `ProcessGroup` of a worker in a multi-process run, without the library that exchanges arrays."""

    def __init__(self, member: Member) -> None:
        self._member, self._open = member, True
        self.heartbeat_timeout = member.rendezvous.heartbeat_timeout
        member.wait_for_all()

    @property
    def stop_signal(self) -> int:
        """The number of the signal that asked the whole run to stop, or 0."""
        return self._member.stop_signal

    def gather(self, message: Any, name: str = 'a message') -> list[Any]:
        """Return the JSON-serializable ``message`` of every worker, by rank, of at most 64 MB together.

        All workers must call this the same number of times; if not, the error calls this point ``name``.
        """
        return self._member.gather(message, name)

    def barrier(self, name: str = 'a barrier') -> None:
        """Wait until all workers have reached this point."""
        self.gather(None, name)

    def check_alike(self, settings: Mapping[str, Any]) -> None:
        """Raise OpenatacError, on every worker, if their settings {name: JSON-serializable value} differ."""
        everyone = self.gather(settings, 'the comparison of settings')
        wrong = setting_differences(everyone)
        if wrong:
            raise OpenatacError(f'the workers were started with different settings: {"; ".join(wrong)}; give '
                                'all of them the same command')

    def close(self) -> None:
        """Leave together with the other workers."""
        if not self._open:
            return
        self._finish()
        self.barrier('the end')
        self._leave()
        self._open = False
        self._member.leave()

    def _finish(self) -> None:
        """Wait until this process's own work is done."""

    def _leave(self) -> None:
        """Leave the library that exchanges the arrays."""

    def fail(self, message: str, code: int = 1) -> NoReturn:
        """Report a failure to the others, and end this process with the exit code."""
        if self._open:
            self._member.fail(message)
        exit_process(message, code)


def setting_differences(everyone: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a phrase for each setting that differs between workers, given their settings by rank."""
    phrases = []
    for name in sorted(set().union(*everyone)):
        if any(settings.get(name, ...) != everyone[0].get(name, ...) for settings in everyone):
            values = (repr(settings[name]) if name in settings else 'missing' for settings in everyone)
            phrases.append(f'{name} is ' + ', '.join(
                f'{value} on worker {rank}' for rank, value in enumerate(values)))
    return phrases


# ---------------------------------------------------------------------------- this process's group

Joined = TypeVar('Joined', bound=MemberGroup)
_group: MemberGroup | None = None  # of this process


def join_group(member: Member, group: Callable[[Member], Joined]) -> Joined:
    """Create this process's ``group`` from its member; from now on the process ends with its run."""
    global _group
    _report_crashes(member)
    joined = _group = group(member)
    return joined


def end_run(message: str, code: int = 1) -> NoReturn:
    """End a script that failed: print ``error: message``, and exit with the code.

    In a multi-process run, the other processes are notified and end too. A code of 128 or more means that
    the run was asked to stop: then all workers arrive here and leave together.
    """
    if _group is None:
        streams.print_to_stderr(f'error: {message}')
        sys.exit(code)
    if code >= 128:
        # After a second Ctrl-C not all of them arrive, and the others would wait forever.
        late = threading.Timer(_group.heartbeat_timeout, _group.fail, (message, code))
        late.daemon = True
        late.start()
        _group.close()
    _group.fail(message, code)


def _report_crashes(member: Member) -> None:
    """Report any unexpected end of this process to the others, without waiting for replies."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        traceback.print_exception(kind, error, trace)
        give_up(f'{type(error).__name__}: {last_line(error)}')

    def give_up(text: str) -> None:
        if not member.is_leaving:
            member.fail(text)
            exit_process(None)

    sys.excepthook = hook
    atexit.register(give_up, 'it ended before the run did')
