"""The hub of a distributed run, in one of its processes: it watches the members and relays messages."""
from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
import time
from collections.abc import Coroutine
from typing import Any

from openatac.distributed.crash_exit import exit_process
from openatac.distributed.member import ADVICE
from openatac.distributed.messages import (
    MAX_HELLO_BYTES,
    MAX_MESSAGE_BYTES,
    Message,
    body_length,
    frame,
    keep_alive,
    parse_message,
)
from openatac.distributed.ports import bind
from openatac.distributed.rendezvous import Rendezvous
from openatac.errors import OpenatacError, reason

# The errors that a malformed message can raise.
MALFORMED = (ValueError, KeyError, TypeError, RecursionError)


class _Connected:
    """A worker or server that is connected to the hub."""

    def __init__(self, hello: Message, writer: asyncio.StreamWriter) -> None:
        self.role, self.host, self.process = hello['role'], str(hello['host']), hello['process']
        self.writer = writer
        self.rank: int | None = None

    def __str__(self) -> str:
        who = self.role if self.rank is None else f'{self.role} {self.rank}'
        return f'{who} on {self.host} (process {self.process})'


class Hub:
    """Accepts the members of a run and watches them, in its own thread.

    Parameters
    ----------
    rendezvous : Rendezvous
    listener : socket, optional
        The socket to listen on. Default: one at the hub's address, with MXNet's port reserved too.

    Attributes
    ----------
    complete : threading.Event
        Set when all members have arrived.
    empty : threading.Event
        Set when all members have left.

    Raises
    ------
    OpenatacError
        If it cannot listen.
    """

    def __init__(self, rendezvous: Rendezvous, listener: socket.socket | None = None) -> None:
        self.rendezvous = rendezvous
        self.members: list[_Connected] = []
        self.failure: str | None = None
        self.complete, self.empty = threading.Event(), threading.Event()
        self._step: str | None = None  # where workers wait for each other
        self._gathered: dict[int | None, Any] = {}  # what the workers waiting there sent, by rank
        self._left: _Connected | None = None  # the last worker that left
        self._sockets = [listener] if listener else _take_ports(rendezvous)  # it listens on the last
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Future[None]] = set()
        threading.Thread(target=self._loop.run_until_complete, args=(self._run(),), daemon=True).start()

    def ask_to_stop(self, number: int) -> None:
        """Tell the workers that a signal asks the run to stop; callable from any thread."""
        asyncio.run_coroutine_threadsafe(self._ask_to_stop(number), self._loop)

    def wait_for_all(self) -> None:
        """Wait until all members have arrived."""
        self.complete.wait()

    def wait_until_empty(self) -> None:
        """Wait until all members have left."""
        if not self.empty.wait(self.rendezvous.heartbeat_timeout):
            exit_process(f'{", ".join(map(str, self.members))} did not leave at the end of the run')

    def fail(self, text: str) -> None:
        """Tell the others why this process failed, and give the message time to reach them."""
        report = self._fail(f'{self.rendezvous.hub_process} failed: {text}')
        asyncio.run_coroutine_threadsafe(report, self._loop)
        time.sleep(self.rendezvous.failure_grace / 2)

    async def _ask_to_stop(self, number: int) -> None:
        if self.complete.is_set():
            self._broadcast({'kind': 'stop', 'signal': number}, 'worker')
        else:
            await self._fail(f'stopped by {signal.Signals(number).name} before all had arrived')

    async def _run(self) -> None:
        server = await asyncio.start_server(self._serve, sock=self._sockets[-1])
        self._spawn(self._watch_arrivals())
        async with server:
            while True:
                self._broadcast({'kind': 'beat'})
                await asyncio.sleep(self.rendezvous.heartbeat_timeout / 4)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)  # asyncio itself keeps no strong reference
        task.add_done_callback(self._tasks.discard)

    async def _watch_arrivals(self) -> None:
        rendezvous = self.rendezvous
        await asyncio.sleep(rendezvous.arrival_timeout)
        if not self.complete.is_set():
            arrived = [f'{self._count(role)} of {count} {role}s' for role, count in (
                ('worker', rendezvous.workers), ('server', rendezvous.servers)) if count]
            await self._fail(f'only {" and ".join(arrived)} arrived within {rendezvous.arrival_timeout:g} s: '
                             'check why the others did not start')
            return
        await asyncio.sleep(rendezvous.arrival_timeout)
        late = [member for member in self.members if member.role == 'worker' and member.rank is None]
        if late:  # only in MXNet: PyTorch's workers know their ranks before they arrive
            await self._fail(f"{late[0]} cannot reach MXNet's own processes: open the ports between the "
                             f'machines, {rendezvous.scheduler_port} and 10000 to 50000')

    # ----------------------------------------------------- one connection, from its hello to its end

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            hello = await asyncio.wait_for(_read(reader, MAX_HELLO_BYTES), self.rendezvous.heartbeat_timeout)
            member = _Connected(hello, writer)
            refusal = self._refusal(hello)
        except (asyncio.TimeoutError, EOFError, OSError, *MALFORMED):
            writer.close()  # not a member of any run
            return
        if refusal:
            writer.write(frame({'kind': 'end', 'text': refusal}))
            writer.close()
            return
        keep_alive(writer.get_extra_info('socket'))
        self.members.append(member)
        if len(self.members) == self.rendezvous.workers + self.rendezvous.servers:
            self.complete.set()
            self._broadcast({'kind': 'complete'})
        try:
            await self._listen(member, reader)
        finally:
            writer.close()

    def _refusal(self, hello: Message) -> str | None:
        """Return why the sender of this hello does not belong to the run, or None."""
        rendezvous = self.rendezvous
        if hello.get('job') != rendezvous.name:
            return (f'{rendezvous.hub_process} on {rendezvous.run_address} belongs to another run: choose '
                    f'another {rendezvous.port_variable}')
        workers, servers = hello.get('workers'), hello.get('servers')
        if (workers, servers) != (rendezvous.workers, rendezvous.servers):
            text = (f'a {hello["role"]} was started for {_in_words(workers, servers)}, but '
                    f'{rendezvous.hub_process} for {_in_words(rendezvous.workers, rendezvous.servers)}: give '
                    f'all processes the same {rendezvous.count_variables}')
            if not self.complete.is_set():
                self._spawn(self._fail(text))  # the run can never become complete
            return text
        limit = {'worker': rendezvous.workers, 'server': rendezvous.servers}.get(hello['role'], 0)
        if self._count(hello['role']) >= limit or self.complete.is_set():
            return (f'the run on {rendezvous.run_address} already has its '
                    f'{_in_words(rendezvous.workers, rendezvous.servers)}')
        return None

    def _count(self, role: str) -> int:
        return sum(member.role == role for member in self.members)

    async def _listen(self, member: _Connected, reader: asyncio.StreamReader) -> None:
        try:
            while member in self.members:
                message = await asyncio.wait_for(_read(reader, MAX_MESSAGE_BYTES),
                                                 self.rendezvous.heartbeat_timeout)
                await self._handle(member, message)
        except asyncio.TimeoutError:
            silence = self.rendezvous.heartbeat_timeout
            await self._fail(f'{member} has been silent for {silence:g} s: {ADVICE}')
        except (EOFError, OSError):
            await self._fail(f'{member} died: {ADVICE}')
        except MALFORMED:
            await self._fail(f'{member} sent something that is not a message: give all processes the same '
                             'version of openatac')

    async def _handle(self, member: _Connected, message: Message) -> None:
        if message['kind'] == 'rank':
            taken = [other.rank for other in self.members]
            if message['rank'] in taken or not 0 <= message['rank'] < self.rendezvous.workers:
                raise ValueError('rank')
            member.rank = message['rank']
        elif message['kind'] == 'gather':
            await self._gather(member, message)
        elif message['kind'] == 'goodbye':
            await self._remove(member)
        elif message['kind'] == 'failed':
            await self._fail(f'{member} failed: {" ".join(str(message["text"]).split())}')
        elif message['kind'] != 'beat':
            raise ValueError('kind')

    async def _remove(self, member: _Connected) -> None:
        self.members.remove(member)
        if member.role == 'worker':
            self._left = member
            await self._check_gathering()
        if not self.members:
            self.empty.set()

    async def _gather(self, member: _Connected, message: Message) -> None:
        if self._gathered and message['name'] != self._step:
            await self._fail(f'{member} is at {message["name"]}, but others wait at {self._step}: '
                             'all workers must do the same number of steps')
            return
        self._step = message['name']
        self._gathered[member.rank] = message['content']
        await self._check_gathering()
        if len(self._gathered) == self.rendezvous.workers:
            contents = [self._gathered[rank] for rank in range(self.rendezvous.workers)]
            self._gathered = {}
            self._broadcast({'kind': 'gathered', 'contents': contents}, 'worker')

    async def _check_gathering(self) -> None:
        if self._gathered and self._left:
            await self._fail(f'{self._left} left, but others wait for it at {self._step}: all workers must '
                             'do the same number of steps')

    def _broadcast(self, message: Message, role: str | None = None) -> None:
        data = frame(message)
        for member in self.members:
            if role in (None, member.role):
                with contextlib.suppress(OSError, RuntimeError):  # noticed and reported by its own reader
                    member.writer.write(data)

    async def _fail(self, text: str) -> None:
        """Report a failure to everyone, and end this process a little after the others."""
        if self.failure is None:
            self.failure = text
            self._broadcast({'kind': 'end', 'text': text})
            await asyncio.sleep(self.rendezvous.failure_grace * 1.5)
            # In a thread: the loop must still send.
            await self._loop.run_in_executor(None, exit_process, text)
        else:
            await asyncio.sleep(self.rendezvous.failure_grace * 3)


def _in_words(workers: Any, servers: Any) -> str:
    return f'{workers} workers and {servers} servers' if servers else f'{workers} workers'


async def _read(reader: asyncio.StreamReader, limit: int) -> Message:
    length = body_length(await reader.readexactly(4), limit)
    return parse_message(await reader.readexactly(length))


def _take_ports(rendezvous: Rendezvous) -> list[socket.socket]:
    """Reserve MXNet's port until MXNet's scheduler listens there, and listen on the hub's port."""
    sockets = []
    for port in (rendezvous.scheduler_port, rendezvous.hub_port):
        try:
            sockets.append(bind(rendezvous.address, port))
        except OSError as error:
            raise OpenatacError(
                f'the scheduler cannot listen on {rendezvous.address}, port {port} ({reason(error)}): '
                'DMLC_PS_ROOT_URI must be an address of its machine, DMLC_PS_ROOT_PORT and '
                'OPENATAC_MEMBERSHIP_PORT must be free') from None
    sockets[1].listen(128)
    return sockets
