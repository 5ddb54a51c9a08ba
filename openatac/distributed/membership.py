"""The roll call of a distributed run: who is there, who died, and small messages between workers.

MXNet's parameter server waits for ever when any of its processes dies. So each process of a run
keeps one more connection, to a hub in the scheduler's process. Whoever ends without a goodbye, or
is silent for too long, is dead: the hub tells all others, and each of them prints one sentence and
ends, whatever its main thread is stuck in.

Frames are JSON behind their length; nothing in them is executed. No MXNet is needed here.
"""
import asyncio
import contextlib
import json
import os
import queue
import signal
import socket
import struct
import sys
import threading
import time
from typing import NamedTuple

from openatac.console.text import for_terminal
from openatac.errors import OpenatacError

SMALL, LARGE = 1 << 12, 1 << 26  # bytes of a frame: from a stranger, from a member or the hub
ADVICE = 'restart the same command with --resume auto, which goes on from the last checkpoint if there is one'


class Job(NamedTuple):
    """One process's place in a run.

    role : 'scheduler', 'server' or 'worker'
    address, port : where MXNet's scheduler listens
    roll_call_port : where the hub listens, on the same address
    workers, servers : how many there are
    name : a word that all processes of one run share and those of another do not
    wait : seconds for all to arrive
    silence : seconds after which a silent process counts as dead
    grace : seconds for a process that hears of a failure to end by a sentence of its own
    """

    role: str
    address: str
    port: int
    roll_call_port: int
    workers: int
    servers: int
    name: str = ''
    wait: float = 120.0
    silence: float = 20.0
    grace: float = 1.0


# ----------------------------------------------------------------------------------- frames

def frame(message):
    """The bytes of a message."""
    text = json.dumps(message).encode()
    return struct.pack('>I', len(text)) + text


def _body_length(header, limit):
    length, = struct.unpack('>I', header)
    if length > limit:
        raise ValueError('a frame of %d bytes' % length)
    return length


def _message(body):
    message = json.loads(body)
    if not isinstance(message, dict) or not isinstance(message.get('kind'), str):
        raise ValueError('no message')
    return message


async def _read(reader, limit):
    length = _body_length(await reader.readexactly(4), limit)
    return _message(await reader.readexactly(length))


# ----------------------------------------------------------------------- the end of a process

_ending = threading.Lock()  # held by the one thread that ends the process, and never released


def leave(sentence, code=1):
    """Print one sentence, unless it is None, and end this process at once; never returns.

    Not by `sys.exit`: MXNet's exit handlers wait for processes that may no longer be there. If
    another thread is already leaving, it has the last word.
    """
    _ending.acquire()
    # What holds the streams may be stuck for good, and then its output is lost.
    flushing = threading.Thread(target=_flush, daemon=True)
    flushing.start()
    flushing.join(1)
    if sentence is not None:
        with contextlib.suppress(OSError):
            os.write(2, ('error: %s\n' % for_terminal(sentence)).encode(errors='replace'))
    os._exit(code)


def _flush():
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # closed, or no longer there
            stream.flush()


# -------------------------------------------------------------------------------- the hub

class _Guest:
    """A member, as the hub sees it."""

    def __init__(self, hello, writer):
        self.role, self.host, self.process = hello['role'], str(hello['host']), hello['process']
        self.writer, self.rank = writer, None

    def __str__(self):
        who = self.role if self.rank is None else '%s %d' % (self.role, self.rank)
        return '%s on %s (process %s)' % (who, self.host, self.process)


class Hub:
    """What the scheduler's process runs, in a thread.

    Raises OpenatacError if it can't listen.
    """

    def __init__(self, job):
        self.job, self.members, self.failure = job, [], None
        self.complete, self.empty = threading.Event(), threading.Event()
        self.round, self.round_name, self.gone = {}, None, None
        self._mxnets_port, self._socket = _take_ports(job)
        self._loop, self._tasks = asyncio.new_event_loop(), set()
        threading.Thread(target=self._loop.run_until_complete, args=(self._run(),), daemon=True).start()

    def ask_to_stop(self, number):
        """Tell the workers that a signal asks for the run's end; from any thread."""
        asyncio.run_coroutine_threadsafe(self._ask_to_stop(number), self._loop)

    def wait_for_all(self):
        """Return when all members have arrived."""
        self.complete.wait()

    def wait_for_goodbyes(self):
        """Return when all members have left."""
        if not self.empty.wait(self.job.silence):
            leave('%s did not leave at the end of the run' % ', '.join(map(str, self.members)))

    def fail(self, text):
        """End the run for this process's own reason; does not return."""
        asyncio.run_coroutine_threadsafe(self._fail('the scheduler failed: %s' % text), self._loop)
        time.sleep(self.job.grace / 2)  # for the others to be told

    async def _ask_to_stop(self, number):
        if self.complete.is_set():
            self._tell({'kind': 'stop', 'signal': number}, 'worker')
        else:
            await self._fail('stopped by %s before all had arrived' % signal.Signals(number).name)

    async def _run(self):
        server = await asyncio.start_server(self._talk, sock=self._socket)
        self._spawn(self._watch_arrivals())
        async with server:
            while True:
                self._tell({'kind': 'beat'})
                await asyncio.sleep(self.job.silence / 4)

    def _spawn(self, coroutine):
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)  # asyncio itself keeps no strong reference
        task.add_done_callback(self._tasks.discard)

    async def _watch_arrivals(self):
        await asyncio.sleep(self.job.wait)
        if not self.complete.is_set():
            here = [sum(member.role == role for member in self.members) for role in ('worker', 'server')]
            return await self._fail('only %d of %d workers and %d of %d servers came within %g s: look why '
                                    'the others did not start' % (here[0], self.job.workers, here[1],
                                                                  self.job.servers, self.job.wait))
        await asyncio.sleep(self.job.wait)
        late = [member for member in self.members if member.role == 'worker' and member.rank is None]
        if late:
            await self._fail("%s does not get through to MXNet's own processes: open the ports between the "
                             'machines, %d and 10000 to 50000' % (late[0], self.job.port))

    async def _talk(self, reader, writer):
        """One connection, from its hello to its end."""
        try:
            hello = await asyncio.wait_for(_read(reader, SMALL), self.job.silence)
            member = _Guest(hello, writer)
            refusal = self._refusal(hello)
        except (asyncio.TimeoutError, EOFError, OSError, ValueError, KeyError, TypeError, RecursionError):
            return writer.close()  # a stranger, and none of our business
        if refusal:
            writer.write(frame({'kind': 'end', 'text': refusal}))
            return writer.close()
        _keep_alive(writer.get_extra_info('socket'))
        self.members.append(member)
        if self._is_complete():
            self.complete.set()
            self._tell({'kind': 'complete'})
        try:
            await self._listen_to(member, reader)
        finally:
            writer.close()

    def _refusal(self, hello):
        """Why this one does not belong here, or None."""
        job = self.job
        if hello.get('job') != job.name:
            return 'another run has its scheduler on %s, port %d: choose another DMLC_PS_ROOT_PORT' % (
                job.address, job.port)
        theirs, ours = (hello.get('workers'), hello.get('servers')), (job.workers, job.servers)
        if theirs != ours:
            text = ('a %s was started for %s workers and %s servers, but the scheduler for %d and %d: give '
                    'all processes the same DMLC_NUM_WORKER and DMLC_NUM_SERVER' % (hello['role'], *theirs,
                                                                                  *ours))
            if not self.complete.is_set():
                self._spawn(self._fail(text))  # the run can never become complete
            return text
        limit = {'worker': job.workers, 'server': job.servers}.get(hello['role'], 0)
        if sum(member.role == hello['role'] for member in self.members) >= limit or self.complete.is_set():
            return 'the run on %s, port %d already has its %d workers and %d servers' % (
                job.address, job.port, *ours)
        return None

    def _is_complete(self):
        return len(self.members) == self.job.workers + self.job.servers and not self.complete.is_set()

    async def _listen_to(self, member, reader):
        try:
            while member in self.members:
                message = await asyncio.wait_for(_read(reader, LARGE), self.job.silence)
                await self._hear(member, message)
        except asyncio.TimeoutError:
            await self._fail('%s has been silent for %g s: %s' % (member, self.job.silence, ADVICE))
        except (EOFError, OSError):
            await self._fail('%s died: %s' % (member, ADVICE))
        except (ValueError, KeyError, TypeError, RecursionError):
            await self._fail('%s sent what is no message of the roll call: give all processes the same '
                             'version of openatac' % member)

    async def _let_go(self, member):
        self.members.remove(member)
        if member.role == 'worker':
            self.gone = member
            await self._check_round()
        if not self.members:
            self.empty.set()

    async def _hear(self, member, message):
        if message['kind'] == 'rank':
            taken = [other.rank for other in self.members]
            if message['rank'] in taken or not 0 <= message['rank'] < self.job.workers:
                raise ValueError('rank')
            member.rank = message['rank']
        elif message['kind'] == 'gather':
            await self._gather(member, message)
        elif message['kind'] == 'goodbye':
            await self._let_go(member)
        elif message['kind'] == 'failed':
            await self._fail('%s failed: %s' % (member, ' '.join(str(message['text']).split())))
        elif message['kind'] != 'beat':
            raise ValueError('kind')

    async def _gather(self, member, message):
        if self.round and message['name'] != self.round_name:
            return await self._fail('%s is at %s, but others wait at %s: all workers must do the same number '
                                    'of steps' % (member, message['name'], self.round_name))
        self.round_name = message['name']
        self.round[member.rank] = message['content']
        await self._check_round()
        if len(self.round) == self.job.workers:
            contents = [self.round[rank] for rank in range(self.job.workers)]
            self.round = {}
            self._tell({'kind': 'gathered', 'contents': contents}, 'worker')

    async def _check_round(self):
        if self.round and self.gone:
            await self._fail('%s left, but others wait for it at %s: all workers must do the same number of '
                             'steps' % (self.gone, self.round_name))

    def _tell(self, message, role=None):
        data = frame(message)
        for member in self.members:
            if role in (None, member.role):
                with contextlib.suppress(OSError, RuntimeError):  # its own reader notices, and says so
                    member.writer.write(data)

    async def _fail(self, text):
        """Tell everyone, and end this process a little after the others."""
        if self.failure is None:
            self.failure = text
            self._tell({'kind': 'end', 'text': text})
            await asyncio.sleep(self.job.grace * 1.5)
            # In a thread: the loop must still send.
            await self._loop.run_in_executor(None, leave, text)
        else:
            await asyncio.sleep(self.job.grace * 3)


def bind(address: str, port: int) -> socket.socket:
    """A socket that keeps the port (0: a free one) from everyone but this run's processes.

    The system gives the port to nobody else until the socket is closed, and who binds it must set
    SO_REUSEADDR, as MXNet's ZeroMQ does. So nobody can take it before that process listens. Raises
    OSError, or OverflowError for what is not a port.
    """
    family = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0][0]
    kept = socket.socket(family, socket.SOCK_STREAM)
    try:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind((address, port))
    except (OSError, OverflowError):
        kept.close()
        raise
    return kept


def _take_ports(job: Job) -> list[socket.socket]:
    """MXNet's port, kept until MXNet's scheduler listens there by number, and the hub's, listening."""
    sockets = []
    for port in (job.port, job.roll_call_port):
        try:
            sockets.append(bind(job.address, port))
        except OSError as error:
            raise OpenatacError(
                'the scheduler cannot listen on %s, port %d (%s): DMLC_PS_ROOT_URI must be an address of its '
                'machine, DMLC_PS_ROOT_PORT and OPENATAC_ROLL_CALL_PORT must be free'
                % (job.address, port, error.strerror)) from None
    sockets[1].listen(128)
    return sockets


def _keep_alive(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


# ------------------------------------------------------------------------------ the members

class Member:
    """A worker's or server's end of the roll call; two threads keep it alive.

    Raises OpenatacError if there is no hub in time.
    """

    def __init__(self, job):
        self.job, self.stop_signal, self._leaving = job, 0, False
        self._answers, self._sending = queue.Queue(), threading.Lock()
        self._socket = _connect(job)
        # A process forked by ours, to load data, must not keep our connection open after our death.
        os.register_at_fork(after_in_child=self._socket.close)
        self._send({'kind': 'hello', 'role': job.role, 'host': socket.gethostname(), 'process': os.getpid(),
                    'job': job.name, 'workers': job.workers, 'servers': job.servers})
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        threading.Thread(target=self._beat, daemon=True).start()

    def wait_for_all(self):
        """Return when all members have arrived."""
        self._answers.get()

    def say_rank(self, rank):
        """Tell the hub this worker's rank."""
        self._send({'kind': 'rank', 'rank': rank})

    def gather(self, content, name):
        """The JSON-able ``content`` of each worker, in the order of ranks; ``name`` says what it is."""
        message = {'kind': 'gather', 'name': name, 'content': content}
        if len(frame(message)) * self.job.workers > LARGE:
            raise ValueError('%s is too large to be gathered: %d MB is the most for all workers together'
                             % (name, LARGE >> 20))
        self._send(message)
        return self._answers.get()['contents']

    def goodbye(self):
        """Leave; from then on nobody misses this process."""
        self._leaving = True
        self._send({'kind': 'goodbye'})
        self._listener.join(2)  # until the hub has closed the connection
        self._socket.close()

    def fail(self, text):
        """Tell the others why this process fails."""
        self._send({'kind': 'failed', 'text': text})
        self._leaving = True

    def _send(self, message):
        # If it fails, the listener learns why, perhaps from the hub's last words.
        with contextlib.suppress(OSError), self._sending:
            self._socket.sendall(frame(message))

    def _beat(self):
        while not self._leaving:
            self._send({'kind': 'beat'})
            time.sleep(self.job.silence / 4)

    def _listen(self):
        try:
            while True:
                length = _body_length(self._receive(4), LARGE)
                self._hear(_message(self._receive(length)))
        except socket.timeout:
            self._hub_is_gone('has been silent for %g s' % self.job.silence)
        except (OSError, EOFError):
            self._hub_is_gone('died')
        except ValueError:
            self._hub_is_gone('sent what is no message of the roll call')

    def _receive(self, count):
        data = bytearray()
        while len(data) < count:
            part = self._socket.recv(min(count - len(data), 1 << 16))
            if not part:
                raise EOFError
            data += part
        return bytes(data)

    def _hear(self, message):
        if message['kind'] == 'end':
            # Whatever the others fail of, this process may be about to say so itself.
            time.sleep(self.job.grace)
            leave(message['text'])
        elif message['kind'] == 'stop':
            self.stop_signal = message['signal']
        elif message['kind'] in ('complete', 'gathered'):
            self._answers.put(message)

    def _hub_is_gone(self, what):
        if not self._leaving:
            leave('the scheduler on %s %s: %s' % (self.job.address, what, ADVICE))


def _connect(job):
    """A connection to the hub, tried for ``job.wait`` seconds."""
    end = time.monotonic() + job.wait
    while True:
        try:
            connection = socket.create_connection((job.address, job.roll_call_port), timeout=job.silence)
            if connection.getsockname() != connection.getpeername():
                _keep_alive(connection)
                return connection
            connection.close()  # a port without listener, given to us for our end: we met ourselves
            error = 'nobody listens'
        except OSError as failure:
            error = failure.strerror or failure
        if time.monotonic() > end:
            raise OpenatacError(
                'no scheduler answers on %s, port %d, within %g s (%s): start it, or correct '
                'DMLC_PS_ROOT_URI and DMLC_PS_ROOT_PORT'
                % (job.address, job.roll_call_port, job.wait, error))
        time.sleep(0.1)
