"""Join a multi-process run, and end with it: a process that dies takes the others with it."""
from __future__ import annotations

import atexit
import sys
import threading
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import NoReturn, TypeVar

from openatac.console import streams
from openatac.distributed.crash_exit import exit_process
from openatac.distributed.member import Member
from openatac.distributed.member_group import MemberGroup
from openatac.errors import last_line

Joined = TypeVar('Joined', bound='MemberGroup')
_group: MemberGroup | None = None  # of this process


def enter(member: Member, group: Callable[[Member], Joined]) -> Joined:
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
