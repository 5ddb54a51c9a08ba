"""Standard input, output and error as a command needs them, however it was started."""
from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

from openatac.files.writing import STREAMS
from openatac.text import for_terminal

CLOSED = 141  # a shell's code for a program ended by SIGPIPE, as programs in other languages are


class _Output(io.TextIOWrapper):
    """Standard output or error, whose OSErrors name the stream as file errors name the file.

    Errors on standard error are not raised, since there is nowhere left to report them.

    Attributes
    ----------
    failure : OSError or None
        The first such error, kept because argparse, for example, suppresses errors on standard output.
    """

    failure: OSError | None = None

    def write(self, text: str) -> int:
        with self._named():
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with self._named():
            super().flush()

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            error.filename = STREAMS[self.fileno()]
            self.failure = self.failure or error
            if self.fileno() != 2:
                raise


class LogFormatter(logging.Formatter):
    """Escapes control characters in names from outside, in the console and in log files.

    Tabs are kept: they are harmless, and part of the published lines.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Format a record; see `logging.Formatter`."""
        record.message = '\t'.join(map(for_terminal, record.message.split('\t')))
        return super().formatMessage(record)


def prepare_streams() -> None:
    """Open any closed descriptor from 0 to 2, and make the streams accept any text.

    Otherwise a file that we open would get the number of a closed stream, and with it the text meant for that
    stream. Characters that the encoding lacks are written as escapes.
    """
    for number, stream in enumerate((sys.stdin, sys.stdout, sys.stderr)):
        # Python has no stream for a descriptor that was closed at startup. It may be open by now: some
        # library loaders leave a file open, which gets the lowest free number.
        if stream is None or not _is_open(number):
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            os.set_inheritable(number, True)
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), 'utf-8',
                                     'surrogateescape')
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(LogFormatter())  # for commands without their own log
    sys.stdout, sys.stderr = _output(sys.stdout, 1), _output(sys.stderr, 2)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _output(stream: Any, number: int) -> Any:
    if stream is None:
        return _Output(open(number, 'wb', closefd=False), 'utf-8', 'backslashreplace')
    if type(stream) is not io.TextIOWrapper or stream.fileno() != number:  # ours already, or a test's
        return stream
    stream.flush()
    return _Output(stream.buffer, stream.encoding, 'backslashreplace', line_buffering=stream.line_buffering,
                   write_through=stream.write_through)


def flush_output() -> None:
    """Flush standard output; raises OSError if any of the output could not be written."""
    sys.stdout.flush()
    failure = getattr(sys.stdout, 'failure', None)
    if failure:
        raise failure


def is_output_error(error: OSError) -> bool:
    """Return whether the error means that standard output or error could not be written."""
    return error.filename in STREAMS.values()


def is_closed_pipe(error: BaseException) -> bool:
    """Return whether the reader of our output has closed the pipe."""
    return isinstance(error, BrokenPipeError) and is_output_error(error)


def discard_unwritable() -> None:
    """Redirect unwritable streams to the null device, so that Python exits without an error."""
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
            if getattr(stream, 'failure', None) is None:
                continue
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


def print_to_stderr(message: str) -> None:
    """Print a message to standard error, on one line, if it can still be written."""
    with contextlib.suppress(OSError, ValueError):
        print(for_terminal(message), file=sys.stderr, flush=True)


@contextlib.contextmanager
def silenced_stderr() -> Iterator[None]:
    """Silence standard error, even for C++ libraries, while the context is open."""
    try:
        standard_error = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    with open(os.devnull, 'w') as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)


def on_terminal() -> bool:
    """Return whether standard error is open and a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()
