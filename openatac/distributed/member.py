"""A member of a distributed run: the connection of a worker or server to the hub.

When a process dies, MXNet's parameter server waits forever and NCCL waits for minutes. So each process of a
run keeps one more connection, to a hub (`openatac.distributed.hub`) that runs in the scheduler's process or,
with PyTorch, in worker 0's. A process that leaves without a goodbye, or is silent for too long, counts as
dead: the hub notifies all others, and each of them prints an error message and exits, whatever its main
thread is waiting for. This needs neither MXNet nor PyTorch.
"""
from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
import time
from typing import Any

from openatac.distributed.crash_exit import exit_process
from openatac.distributed.messages import (
    MAX_MESSAGE_BYTES,
    Message,
    body_length,
    frame,
    keep_alive,
    parse_message,
)
from openatac.distributed.rendezvous import Rendezvous
from openatac.errors import OpenatacError, reason

ADVICE = 'restart the same command with --resume auto, which resumes from the last checkpoint if there is one'


class Member:
    """The connection of a worker or server to the hub, with a thread for each direction.

    Parameters
    ----------
    rendezvous : Rendezvous
    has_hub : bool
        Whether the hub runs in this process.

    Attributes
    ----------
    rendezvous : Rendezvous
    stop_signal : int
        The signal that asked the whole run to stop, or 0.
    is_leaving : bool
        Whether this process has said goodbye or reported its failure.

    Raises
    ------
    OpenatacError
        If no hub answers in time.
    """

    def __init__(self, rendezvous: Rendezvous, has_hub: bool = False) -> None:
        self.rendezvous, self._has_hub = rendezvous, has_hub
        self.stop_signal, self.is_leaving = 0, False
        self._answers: queue.Queue[Message] = queue.Queue()
        self._sending = threading.Lock()
        self._socket = _connect(rendezvous)
        # A process that we fork to load data must not keep our connection open after we die.
        if hasattr(os, 'register_at_fork'):  # not on Windows
            os.register_at_fork(after_in_child=self._socket.close)
        self._send({'kind': 'hello', 'role': rendezvous.role, 'host': socket.gethostname(),
                    'process': os.getpid(), 'job': rendezvous.name, 'workers': rendezvous.workers,
                    'servers': rendezvous.servers})
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        threading.Thread(target=self._send_heartbeats, daemon=True).start()

    def wait_for_all(self) -> None:
        """Wait until all members have arrived."""
        self._answers.get()

    def send_rank(self, rank: int) -> None:
        """Tell the hub this worker's rank."""
        self._send({'kind': 'rank', 'rank': rank})

    def gather(self, content: Any, name: str) -> list[Any]:
        """Return the JSON-serializable ``content`` of each worker, by rank; errors call it ``name``."""
        check_gathered_size(content, name, self.rendezvous.workers)
        self._send({'kind': 'gather', 'name': name, 'content': content})
        return self._answers.get()['contents']

    def leave(self) -> None:
        """Leave the run, which can then continue without this process."""
        self.is_leaving = True
        self._send({'kind': 'goodbye'})
        self._listener.join(2)  # until the hub has closed the connection
        self._socket.close()

    def fail(self, text: str) -> None:
        """Tell the others why this process failed."""
        self._send({'kind': 'failed', 'text': text})
        self.is_leaving = True
        if self._has_hub:
            # For the hub, which ends with us, to tell the others.
            time.sleep(self.rendezvous.failure_grace / 2)

    def _send(self, message: Message) -> None:
        # If this fails, the listener learns why, possibly from the hub's last message.
        with contextlib.suppress(OSError), self._sending:
            self._socket.sendall(frame(message))

    def _send_heartbeats(self) -> None:
        while not self.is_leaving:
            self._send({'kind': 'beat'})
            time.sleep(self.rendezvous.heartbeat_timeout / 4)

    def _listen(self) -> None:
        try:
            while True:
                length = body_length(self._receive(4), MAX_MESSAGE_BYTES)
                self._handle(parse_message(self._receive(length)))
        except socket.timeout:
            self._lost_hub(f'has been silent for {self.rendezvous.heartbeat_timeout:g} s')
        except (OSError, EOFError):
            self._lost_hub('died')
        except ValueError:
            self._lost_hub('sent something that is not a message')

    def _receive(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            part = self._socket.recv(min(count - len(data), 1 << 16))
            if not part:
                raise EOFError
            data += part
        return bytes(data)

    def _handle(self, message: Message) -> None:
        if message['kind'] == 'end':
            # This process may be about to report the same failure itself.
            time.sleep(self.rendezvous.failure_grace)
            exit_process(message['text'])
        elif message['kind'] == 'stop':
            self.stop_signal = message['signal']
        elif message['kind'] in ('complete', 'gathered'):
            self._answers.put(message)

    def _lost_hub(self, what: str) -> None:
        if not self.is_leaving:
            # The launcher reports the first failure that it sees: let that be the hub's.
            time.sleep(self.rendezvous.failure_grace)
            exit_process(f'{self.rendezvous.hub_process} on {self.rendezvous.address} {what}: {ADVICE}')


def check_gathered_size(content: Any, name: str, workers: int) -> None:
    """Raise ValueError if the content is too large to gather from this number of workers."""
    if len(frame({'kind': 'gather', 'name': name, 'content': content})) * workers > MAX_MESSAGE_BYTES:
        raise ValueError(f'{name} is too large to be gathered: the limit is {MAX_MESSAGE_BYTES >> 20} MB '
                         'for all workers together')


def _connect(rendezvous: Rendezvous) -> socket.socket:
    """Connect to the hub, trying for ``rendezvous.arrival_timeout`` seconds."""
    end = time.monotonic() + rendezvous.arrival_timeout
    while True:
        problem: object
        try:
            connection = socket.create_connection((rendezvous.address, rendezvous.hub_port),
                                                  timeout=rendezvous.heartbeat_timeout)
            if connection.getsockname() != connection.getpeername():
                keep_alive(connection)
                return connection
            connection.close()  # without a listener the system may connect a port to itself
            problem = 'nobody listens'
        except OSError as error:
            problem = reason(error)
        if time.monotonic() > end:
            raise OpenatacError(
                f'{rendezvous.hub_process} does not answer on {rendezvous.address}, port '
                f'{rendezvous.hub_port}, within {rendezvous.arrival_timeout:g} s ({problem}): start it, or '
                f'correct {rendezvous.address_variable} and {rendezvous.port_variable}')
        time.sleep(0.1)
