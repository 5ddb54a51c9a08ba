"""The log of a run: on the console, around progress bars, and in a file."""
from __future__ import annotations

import logging
import sys
from logging.handlers import MemoryHandler

from openatac.console.streams import LogFormatter

LOG_FORMAT = '%(asctime)s %(levelname)s %(message)s'  # of a line in the log file
log = logging.getLogger('openatac')


class _Console(logging.Handler):
    """Prints above a progress bar instead of through it, and skips what the bar itself shows."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(LogFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, 'on_bar', False):
            return
        from tqdm import tqdm
        try:
            tqdm.write(self.format(record), file=sys.stderr)
        except Exception:  # a closed terminal must not end the run
            self.handleError(record)


def log_to(path: str | None = None, log_format: str = LOG_FORMAT) -> None:
    """Send the log to the console and append it to the file ``path``, once that is known.

    Earlier messages, for example from the data reader, go into the file as well.
    """
    logging.raiseExceptions = False  # a full disk is reported by the checkpoint, once
    log.setLevel(logging.INFO)
    if path is None:
        _close_handlers()
        log.handlers = [_Console(), MemoryHandler(capacity=1000, flushLevel=logging.CRITICAL + 1)]
        return
    file = logging.FileHandler(path, encoding='utf-8', errors='backslashreplace')
    file.setFormatter(LogFormatter(log_format))
    held = next((handler for handler in log.handlers if isinstance(handler, MemoryHandler)), None)
    if held is None:
        _close_handlers()
        log.handlers = [_Console(), file]
        return
    # Keep this handler, since another thread may be giving it a message; from now on it passes messages on at
    # once.
    before = held.target
    held.flushLevel = logging.NOTSET
    held.setTarget(file)
    held.flush()
    if before is not None:
        before.close()


def _close_handlers() -> None:
    for handler in log.handlers:
        file = handler.target if isinstance(handler, MemoryHandler) else None
        handler.close()
        if file is not None:
            file.close()
