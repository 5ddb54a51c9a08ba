"""A child process that answers through a pipe, and ends when the pipe does."""
from __future__ import annotations

import contextlib
import multiprocessing.connection
import signal
import subprocess
from collections.abc import Mapping
from typing import Any

from openatac.system.child_python import python_command


class PipedChild:
    """A process that runs Python code, in its own session, out of reach of Ctrl-C.

    Parameters
    ----------
    code : str
        Finds the descriptor of its end of the pipe, and the ``descriptors``, in ``sys.argv[1:]``.
    environment : mapping
        The child's environment variables.
    *descriptors : int
        Of files that the child inherits.
    stdout : int, optional
        As for subprocess.Popen.

    Attributes
    ----------
    pipe : multiprocessing.connection.Connection
        Our end; the child is dead if it raises EOFError or OSError.
    pid : int

    Raises
    ------
    OSError
        If the process cannot start.
    """

    def __init__(self, code: str, environment: Mapping[str, str], *descriptors: int,
                 stdout: int | None = None) -> None:
        self.pipe, theirs = multiprocessing.connection.Pipe()
        with theirs:
            self._process = subprocess.Popen(
                python_command(code, theirs.fileno(), *descriptors), env=environment,
                pass_fds=(theirs.fileno(), *descriptors), stdin=subprocess.DEVNULL, stdout=stdout,
                start_new_session=True)
        self.pid = self._process.pid

    def ask(self, question: Any) -> Any:
        """Send a question, and return the answer."""
        self.pipe.send(question)
        return self.pipe.recv()

    def describe_end(self, patience: float = 1.0) -> str:
        """Return how the process ended, within ``patience`` seconds, as the end of a sentence."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
        code = self._process.returncode
        if code is None:
            return 'stopped answering'
        return f'was ended by {_signal_name(-code)}' if code < 0 else f'ended with exit code {code}'

    def kill(self) -> None:
        """Send SIGKILL; `close` waits for the end."""
        self._process.kill()

    def close(self) -> None:
        """Kill the process, wait for its end, and close the pipe."""
        self.kill()
        self._process.wait()
        self.pipe.close()


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):  # real-time signals have no names
        return signal.Signals(number).name
    return f'signal {number}'
