"""Code shared by all commands: turn failures into messages and exit codes."""
from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable

from openatac.console import streams
from openatac.console.pillow_warnings import hide_pillows_warnings
from openatac.errors import OpenatacError, UsageError, reason
from openatac.system import memory
from openatac.system.installed import package_of

WRONG_COMMAND, INTERRUPTED = 2, 130


def run_command(main: Callable[[], int | None], fail: Callable[[str, int], None]) -> int:
    """Run a command and return the exit code of the process.

    Parameters
    ----------
    main : function
        Does the work and returns the exit code, or None for 0.
    fail : function
        Called with the message and the exit code for any failure that a user can cause. Other errors are bugs
        and keep their traceback. An output pipe closed by its reader is not reported.
    """
    streams.prepare_streams()
    undo_strict_environment()
    hide_pillows_warnings()
    message: str | None
    try:
        try:
            return _exit_code_of(main)
        except KeyboardInterrupt:
            code, message = INTERRUPTED, 'interrupted'
        except UsageError as error:
            code, message = WRONG_COMMAND, str(error)
        except (OpenatacError, ImportError, MemoryError, OSError) as error:
            message = _message_for(error)
            code = (streams.CLOSED if streams.is_closed_pipe(error) else
                    error.exit_code if isinstance(error, OpenatacError) else 1)
        if message is not None:
            fail(message, code)
        return code
    finally:
        streams.discard_unwritable()


def _exit_code_of(main: Callable[[], int | None]) -> int:
    """Return the exit code of ``main()``, or raise its SystemExit, once all output is written."""
    try:
        code = main() or 0
    except SystemExit:
        streams.flush_output()
        raise
    streams.flush_output()
    return code


def _message_for(error: BaseException) -> str | None:
    """Return the message for an error, None to print nothing; raise an error that no user can cause."""
    if streams.is_closed_pipe(error):
        return None
    if memory.may_be_memory_shortage(error):
        shortage = memory.memory_shortage()
        if shortage:
            return shortage
    if isinstance(error, MemoryError):
        return 'there is not enough memory: choose smaller batches or images, or a larger machine'
    if isinstance(error, OSError):
        if error.filename is None:
            raise error
        verb = 'written' if streams.is_output_error(error) else 'used'
        return f'{error.filename} cannot be {verb} ({reason(error)})'
    if isinstance(error, ImportError) and str(error).startswith('No module named'):
        if (error.name or '').startswith('openatac'):
            raise error
        return f'{error}: run pip install {package_of((error.name or "").split(".")[0])}'
    return str(error)


def undo_strict_environment() -> None:
    """Undo environment settings meant for all Python programs that would break ours.

    Warnings turned into errors (``PYTHONWARNINGS=error``) are shown as warnings, since libraries warn about
    things that their users cannot change. A matplotlib backend (``MPLBACKEND``) is unset: an unavailable one
    would keep matplotlib from loading, and no command opens a window.
    """
    os.environ.pop('MPLBACKEND', None)
    if any(action == 'error' for action, *_ in warnings.filters):
        warnings.filters[:] = [  # type: ignore[index]
            ('default' if action == 'error' else action, *rest) for action, *rest in warnings.filters]
        warnings._filters_mutated()  # type: ignore[attr-defined]
    python_warnings = os.environ.get('PYTHONWARNINGS')
    if python_warnings:  # inherited by the processes that we start
        os.environ['PYTHONWARNINGS'] = ','.join(
            re.sub('^ *error', 'default', action) for action in python_warnings.split(','))
