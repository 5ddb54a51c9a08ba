"""End a process of a run at once, with a message, whatever its threads are waiting for."""
from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import NoReturn

from openatac.text import for_terminal

_exiting = threading.Lock()  # held by the one thread that ends the process, and never released


def exit_process(message: str | None, code: int = 1) -> NoReturn:
    """Print an error message, unless it is None, and end this process at once.

    It avoids `sys.exit`, because MXNet's exit handlers wait for processes that may be dead. If another thread
    is already here, only that thread's message is printed.
    """
    _exiting.acquire()
    # A thread that holds the streams may be stuck forever; its output is then lost.
    flushing = threading.Thread(target=_flush, daemon=True)
    flushing.start()
    flushing.join(1)
    if message is not None:
        with contextlib.suppress(OSError):
            os.write(2, f'error: {for_terminal(message)}\n'.encode(errors='replace'))
    os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # closed
            stream.flush()
