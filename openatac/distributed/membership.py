"""Membership of a distributed run: who is in it, who died, and small messages between workers.

MXNet's parameter server waits forever when one of its processes dies. So each process of a run keeps one more
connection, to a hub in the scheduler's process (`openatac.distributed.hub`). A process that leaves without a
goodbye, or is silent for too long, counts as dead: the hub tells all others, and each of them prints an
error message and exits, whatever its main thread is waiting for.

Messages are JSON after their length; nothing in them is executed. This needs no MXNet.
"""
from __future__ import annotations

import contextlib
import json
import os
import queue
import socket
import struct
import sys
import threading
import time
from typing import Any, NoReturn

from openatac.console.text import for_terminal
from openatac.distributed.job import Job
from openatac.errors import OpenatacError

SMALL, LARGE = 1 << 12, 1 << 26  # limits in bytes for messages from a stranger, and from a member or the hub
ADVICE = 'restart the same command with --resume auto, which resumes from the last checkpoint if there is one'

Message = dict[str, Any]


# --------------------------------------------------------------------------------- messages

def frame(message: Message) -> bytes:
    """Return the bytes of a message."""
    text = json.dumps(message).encode()
    return struct.pack('>I', len(text)) + text


def body_length(header: bytes, limit: int) -> int:
    """Return the length of the body after a header of 4 bytes; raise ValueError if it is above the limit."""
    length, = struct.unpack('>I', header)
    if length > limit:
        raise ValueError(f'a frame of {length} bytes')
    return length


def parse_message(body: bytes) -> Message:
    """Return the message in a body; raise ValueError if it is not one."""
    message = json.loads(body)
    if not isinstance(message, dict) or not isinstance(message.get('kind'), str):
        raise ValueError('not a message')
    return message


def keep_alive(connection: socket.socket) -> None:
    """Configure a connection between a member and the hub."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


# ------------------------------------------------------------------------ exit of a process

_exiting = threading.Lock()  # held by the one thread that ends the process, and never released


def exit_process(message: str | None, code: int = 1) -> NoReturn:
    """Print an error message, unless it is None, and end this process at once.

    Not by `sys.exit`: MXNet's exit handlers wait for processes that may be dead. If another
    thread is already here, its message is the one printed.
    """
    _exiting.acquire()
    # Whatever holds the streams may be stuck forever; its output is then lost.
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


# --------------------------------------------------------------------------------- members

class Member:
    """The connection of a worker or server to the hub, with a thread for each direction.

    Attributes
    ----------
    job : Job
    stop_signal : int
        The signal that asked the whole run to stop, or 0.
    is_leaving : bool
        Whether this process has said goodbye, or reported its failure.

    Raises
    ------
    OpenatacError
        If no hub answers in time.
    """

    def __init__(self, job: Job) -> None:
        self.job, self.stop_signal, self.is_leaving = job, 0, False
        self._answers: queue.Queue[Message] = queue.Queue()
        self._sending = threading.Lock()
        self._socket = _connect(job)
        # A process that we fork to load data must not keep our connection open after we die.
        os.register_at_fork(after_in_child=self._socket.close)
        self._send({'kind': 'hello', 'role': job.role, 'host': socket.gethostname(), 'process': os.getpid(),
                    'job': job.name, 'workers': job.workers, 'servers': job.servers})
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
        """Return the JSON-able ``content`` of each worker, by rank; errors call this place ``name``."""
        check_gathered_size(content, name, self.job.workers)
        self._send({'kind': 'gather', 'name': name, 'content': content})
        return self._answers.get()['contents']

    def goodbye(self) -> None:
        """Leave the run, which may then continue without this process."""
        self.is_leaving = True
        self._send({'kind': 'goodbye'})
        self._listener.join(2)  # until the hub has closed the connection
        self._socket.close()

    def fail(self, text: str) -> None:
        """Tell the others why this process fails."""
        self._send({'kind': 'failed', 'text': text})
        self.is_leaving = True

    def _send(self, message: Message) -> None:
        # If this fails, the listener learns why, perhaps from the hub's last message.
        with contextlib.suppress(OSError), self._sending:
            self._socket.sendall(frame(message))

    def _send_heartbeats(self) -> None:
        while not self.is_leaving:
            self._send({'kind': 'beat'})
            time.sleep(self.job.silence / 4)

    def _listen(self) -> None:
        try:
            while True:
                length = body_length(self._receive(4), LARGE)
                self._handle(parse_message(self._receive(length)))
        except socket.timeout:
            self._lost_hub(f'has been silent for {self.job.silence:g} s')
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
            time.sleep(self.job.grace)
            exit_process(message['text'])
        elif message['kind'] == 'stop':
            self.stop_signal = message['signal']
        elif message['kind'] in ('complete', 'gathered'):
            self._answers.put(message)

    def _lost_hub(self, what: str) -> None:
        if not self.is_leaving:
            exit_process(f'the scheduler on {self.job.address} {what}: {ADVICE}')


def check_gathered_size(content: Any, name: str, workers: int) -> None:
    """Raise ValueError if the content is too large to be gathered from that many workers."""
    if len(frame({'kind': 'gather', 'name': name, 'content': content})) * workers > LARGE:
        raise ValueError(f'{name} is too large to be gathered: {LARGE >> 20} MB is the most for all workers '
                         'together')


def _connect(job: Job) -> socket.socket:
    """Connect to the hub, trying for ``job.wait`` seconds."""
    end = time.monotonic() + job.wait
    while True:
        problem: object
        try:
            connection = socket.create_connection((job.address, job.hub_port), timeout=job.silence)
            if connection.getsockname() != connection.getpeername():
                keep_alive(connection)
                return connection
            connection.close()  # without a listener the system may connect a port to itself
            problem = 'nobody listens'
        except OSError as error:
            problem = error.strerror or error
        if time.monotonic() > end:
            raise OpenatacError(
                f'no scheduler answers on {job.address}, port {job.hub_port}, within {job.wait:g} s '
                f'({problem}): start it, or correct DMLC_PS_ROOT_URI and DMLC_PS_ROOT_PORT')
        time.sleep(0.1)
