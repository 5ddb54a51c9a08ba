"""Standard input, output and error as a command needs them, however it was started."""
import contextlib
import io
import logging
import os
import sys
from typing import Optional

from openatac.console.escapes import for_terminal

CLOSED = 141  # a shell's code for a program that SIGPIPE ended, as it ends those of other languages
_NAMES = {1: 'standard output', 2: 'standard error'}


class _Output(io.TextIOWrapper):
    """Standard output or error; in an OSError of its own it is named like a file.

    failure : the first such error, which argparse for one passes over, or None
    """

    failure = None

    def write(self, text: str) -> int:
        with self._named():
            return super().write(text)

    def flush(self) -> None:
        with self._named():
            super().flush()

    @contextlib.contextmanager
    def _named(self):
        try:
            yield
        except OSError as error:
            error.filename = _NAMES[self.fileno()]
            self.failure = self.failure or error
            raise


class LogFormatter(logging.Formatter):
    """Shows the control characters of names from outside as escapes, in the console as in a file.

    All but tabs, which are part of the published lines and do no harm.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = '\t'.join(map(for_terminal, record.message.split('\t')))
        return super().formatMessage(record)


def prepare() -> None:
    """Open what is closed of the descriptors 0 to 2, and let the streams take any text.

    A file of ours would otherwise get the number of a closed one, and with it what is meant for the stream.
    Characters that the encoding lacks are written as escapes.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # which gets the lowest free number
    if sys.stdin is None:
        sys.stdin = open(0, encoding='utf-8', errors='surrogateescape', closefd=False)
    logging.lastResort.setFormatter(LogFormatter())  # of commands that have no log of their own
    sys.stdout, sys.stderr = _output(sys.stdout, 1), _output(sys.stderr, 2)


def _output(stream: Optional[io.TextIOBase], number: int) -> io.TextIOBase:
    if stream is None:
        return _Output(open(number, 'wb', closefd=False), 'utf-8', 'backslashreplace')
    if type(stream) is not io.TextIOWrapper or stream.fileno() != number:  # ours already, or a test's
        return stream
    stream.flush()
    return _Output(stream.buffer, stream.encoding, 'backslashreplace', line_buffering=stream.line_buffering,
                   write_through=stream.write_through)


def finish() -> None:
    """Write what standard output still holds. Raises OSError if not all of the output could be written."""
    sys.stdout.flush()
    failure = getattr(sys.stdout, 'failure', None)
    if failure:
        raise failure


def is_of(error: OSError) -> bool:
    """Whether standard output or error is what could not be written."""
    return error.filename in _NAMES.values()


def is_closed_pipe(error: BaseException) -> bool:
    """Whether ``error`` says that whoever read our output has seen enough."""
    return isinstance(error, BrokenPipeError) and is_of(error)


def abandon_broken() -> None:
    """Let what can no longer be written go nowhere, so that Python's own end does not stumble over it."""
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        try:
            stream.flush()
        except (OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)


def say(sentence: str) -> None:
    """Print a sentence to standard error, in one line, if anyone can still read it."""
    with contextlib.suppress(OSError, ValueError):
        print(for_terminal(sentence), file=sys.stderr, flush=True)
