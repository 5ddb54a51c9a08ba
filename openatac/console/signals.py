"""SIGINT and SIGTERM, which stop long work."""
import contextlib
import signal

STOPS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def stop_signals(handler, numbers=STOPS):
    """While open, ``handler(number, frame)`` is called for them; yields {number: the handler of before}."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield before
    finally:
        for number, other in before.items():
            signal.signal(number, other)
