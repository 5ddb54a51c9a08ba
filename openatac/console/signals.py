"""Signals that stop a command: their numbers, handlers and exit codes."""
from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from openatac.errors import OpenatacError


def _signals(*names: str) -> tuple[signal.Signals, ...]:
    """Return the named signals that this system has."""
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


STOP_SIGNALS = _signals('SIGINT', 'SIGTERM', 'SIGBREAK')  # the last is Windows's own
RUN_STOP_SIGNALS = (*STOP_SIGNALS, *_signals('SIGUSR1', 'SIGHUP'))  # Slurm's warning, and a lost terminal


class StoppedBySignal(OpenatacError):
    """A signal stopped the work; ``exit_code`` is the code that a shell reports for it.

    Parameters
    ----------
    number : int
        The signal.
    outcome : str
        The end of the message, after 'stopped by SIGINT'.
    """

    def __init__(self, number: int, outcome: str) -> None:
        super().__init__(f'stopped by {signal.Signals(number).name}{outcome}')
        self.exit_code = 128 + number


def shell_code(code: int) -> int:
    """Return a child process's exit code as a shell reports it: 137 for signal 9, which Popen calls -9."""
    return code if code >= 0 else 128 - code


@contextlib.contextmanager
def stop_signals(handler: Callable[[int, Any], None],
                 numbers: Sequence[int] = STOP_SIGNALS) -> Iterator[dict[int, Any]]:
    """Within this context, make signals that stop long work call ``handler(number, frame)``.

    SIGHUP stays ignored if it already is, for example by ``nohup``.

    Yields
    ------
    dict
        The previous handler of each signal, by its number.
    """
    numbers = [number for number in numbers
               if number not in _signals('SIGHUP') or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield before
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
