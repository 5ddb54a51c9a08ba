"""Stop a run on a signal, after the current batch and a checkpoint, in all of its processes together."""
from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Iterator
from typing import Any

from openatac.backends.process_group import ProcessGroup
from openatac.console.signals import RUN_STOP_SIGNALS, STOP_SIGNALS, StoppedBySignal, stop_signals

log = logging.getLogger('openatac')
STEP = 'a step'  # where the processes agree whether to stop, in error messages


class Stopped(StoppedBySignal):
    """The run was asked to stop, and has written a checkpoint."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number, ' after a checkpoint: continue with --resume auto')


class StopRequest:
    """Whether to stop because a signal asked any of the processes that train together.

    Attributes
    ----------
    received : int
        The signal that this process received, or 0. Only the handler sets it, since it can arrive while the
        processes agree.
    signal : int
        The signal that all processes have agreed on, or 0.
    """

    def __init__(self, process_group: ProcessGroup) -> None:
        self.process_group = process_group
        self.received, self.signal = 0, 0

    def agreed(self, midway: bool = False) -> bool:
        """Agree with the other processes, which must call this at the same points, on whether to stop.

        Parameters
        ----------
        midway : bool
            Whether this is within an epoch, where asynchronous processes share no common point.
        """
        if midway and self.process_group.is_asynchronous:
            return False
        group = self.process_group
        self.signal = max(group.gather(max(self.received, group.stop_signal), STEP))
        return bool(self.signal)


@contextlib.contextmanager
def stop_request(process_group: ProcessGroup) -> Iterator[StopRequest]:
    """Within this context, let a signal only request a stop; a second SIGINT or SIGTERM stops at once."""
    request = StopRequest(process_group)

    def receive(number: int, frame: Any) -> None:
        request.received = number
        again = ' (again to stop at once)' if number in STOP_SIGNALS else ''
        log.info('%s: stopping after this batch with a checkpoint%s', signal.Signals(number).name, again)
        if again:  # a lost terminal may send SIGHUP twice
            signal.signal(number, before[number])

    with stop_signals(receive, RUN_STOP_SIGNALS) as before:
        yield request
