"""`openatac launch`: start all processes of a distributed run, show what they say, end them together.

    openatac launch -n 2 -s 1 -- python train_imagenet.py --kvstore dist_sync ...
    openatac launch -n 4 -s 4 --hostfile hosts -- python train_imagenet.py --kvstore dist_sync ...

Any command that uses MXNet's key-value store will do. The scheduler runs on this machine, servers
and workers where --cluster says. Ctrl-C or SIGTERM asks the workers to stop, a second one ends all.
When a process fails, the others have some seconds to end by themselves; the exit code is the first
failure's. Nothing stays behind, not even when this process is killed.
"""
import argparse
import contextlib
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid

from openatac.arguments import SECONDS, number
from openatac.distributed import clusters
from openatac.distributed.membership import bind
from openatac.errors import OpenatacError
from openatac.runtime.cores import physical_cores


def main(argv):
    """``openatac launch``; see the module."""
    args = _parse(argv)
    end_of_launcher = _guard()
    crew = Crew(end_of_launcher, args.patience)
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, lambda number, frame: crew.events.put(('signal', number)))
    try:
        start(crew, args)
        return crew.wait()
    finally:
        crew.end()


def _parse(argv):
    p = argparse.ArgumentParser(prog='openatac launch', description=__doc__, allow_abbrev=False,
                                usage='openatac launch -n WORKERS [options] -- COMMAND ...',
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    count = number(int, low=1, high=10000)
    p.add_argument('-n', '--workers', metavar='WORKERS', type=count, required=True,
                   help='how many processes train')
    p.add_argument('-s', '--servers', metavar='SERVERS', type=count,
                   help='how many processes add up the gradients (default: as many as workers)')
    p.add_argument('--cluster', choices=('local', *clusters.CLUSTERS),
                   help='where they run (default: ssh with --hostfile, else local: all on this machine, '
                        'seen by no other)')
    p.add_argument('--hostfile', metavar='FILE',
                   help='for ssh and mpi: one machine a line, HOST or HOST:PORT')
    p.add_argument('--host', metavar='ADDRESS',
                   help='the address of this machine that the others can reach (default: found by itself)')
    p.add_argument('--port', type=number(int, low=1, high=65534),
                   help="the scheduler's port (default: a free one); the roll call has the next one")
    p.add_argument('--env', metavar='NAME[=VALUE]', action='append', default=[], type=_variable,
                   help='set a variable for all processes, or pass this one on to other machines')
    p.add_argument('--patience', metavar='SECONDS', type=number(float, low=0, high=SECONDS), default=5.0,
                   help='for processes to end by themselves when one has failed or all workers are done, and '
                        'again after SIGTERM, before SIGKILL (default: %(default)g)')
    p.add_argument('command', metavar='COMMAND', nargs='+', help='what each process runs, behind --')
    args = p.parse_args(argv)
    args.servers = args.servers or args.workers
    args.cluster = args.cluster or ('ssh' if args.hostfile else 'local')
    if (args.cluster == 'ssh') > bool(args.hostfile):
        p.error('argument --hostfile: ssh needs the file with the names of the machines')
    if args.hostfile and args.cluster not in ('ssh', 'mpi'):
        p.error('argument --hostfile: it is for ssh and mpi; --cluster %s chooses machines by itself'
                % args.cluster)
    return args


def _variable(text):
    """(name, value) of NAME=VALUE, or of NAME with its value here."""
    name, equals, value = text.partition('=')
    if not re.fullmatch('[A-Za-z_][A-Za-z0-9_]*', name):
        raise argparse.ArgumentTypeError('%r is not NAME or NAME=VALUE' % text)
    if not equals and name not in os.environ:
        raise argparse.ArgumentTypeError('%s is not set here; write %s=VALUE' % (name, name))
    return name, value if equals else os.environ[name]


# ----------------------------------------------------------------------------- the processes

def start(crew, args):
    """Start all processes of the run."""
    local = args.cluster == 'local'
    address = args.host or ('127.0.0.1' if local else clusters.own_address(args.hostfile))
    crew.ports = [] if args.port else keep_ports(address, 2 + args.workers * local)
    port = args.port or crew.ports[0].getsockname()[1]
    run = {
        'DMLC_PS_ROOT_URI': address, 'DMLC_PS_ROOT_PORT': str(port), 'OPENATAC_ROLL_CALL_PORT': str(port + 1),
        'DMLC_NUM_WORKER': str(args.workers), 'DMLC_NUM_SERVER': str(args.servers),
        'DMLC_JOB_CLUSTER': args.cluster, 'OPENATAC_ROLL_CALL_NAME': uuid.uuid4().hex,
    }
    if local:
        run['DMLC_NODE_HOST'] = address
        # As many processes as workers share this machine's processors.
        run.setdefault('OMP_NUM_THREADS', os.environ.get(
            'OMP_NUM_THREADS', str(max(1, physical_cores() // args.workers))))
    run.update(args.env)
    crew.start('scheduler', args.command, {**run, 'DMLC_ROLE': 'scheduler', 'DMLC_NODE_HOST': address})
    if not local:
        return clusters.start(crew, args, {**clusters.passed_on(), **run})
    for role, count in (('server', args.servers), ('worker', args.workers)):
        for index in range(count):
            own = {'DMLC_ROLE': role, 'DMLC_TASK_ID': str(index)}
            if role == 'worker':
                # MXNet's ranks go by ports, so that worker 1 here is its worker 1 as well.
                own['PORT'] = str(port + 2 + index)
            crew.start('%s %d' % (role, index), args.command, {**run, **own})


def keep_ports(address: str, count: int) -> list[socket.socket]:
    """Sockets of `bind` for ``count`` ports in a row, to hold for as long as the run needs the ports.

    Raises OpenatacError if there are none.
    """
    for _ in range(100):
        try:
            ports = [bind(address, 0)]
        except OSError as error:
            raise OpenatacError('%s is not an address of this machine (%s): choose another --host'
                                % (address, error.strerror)) from None
        first = ports[0].getsockname()[1]
        try:
            ports += [bind(address, first + index) for index in range(1, count)]
            return ports
        except (OSError, OverflowError):  # in use, or above the highest port
            for kept in ports:
                kept.close()
    raise OpenatacError('no %d free ports in a row on %s: name the first by --port' % (count, address))


class Crew:
    """The processes of a run on this machine, each in a session of its own.

    guard : function that is told the id of each of them
    patience : seconds for them to end by themselves, and again after SIGTERM, before SIGKILL
    ports : sockets that keep the run's ports for these processes
    """

    def __init__(self, guard, patience=5.0):
        self.patience, self.ports = patience, []
        self.guard, self.events, self.processes = guard, queue.SimpleQueue(), {}
        self.readers, self.printing, self.code = [], threading.Lock(), 0

    def start(self, label, command, environment, stdin=subprocess.DEVNULL):
        """Start one process, whose lines will be shown behind the label; the Popen of it."""
        try:
            process = subprocess.Popen(
                command, env={**os.environ, **environment}, stdin=stdin, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, start_new_session=True)
        except OSError as error:
            raise OpenatacError('%s cannot be run (%s)' % (command[0], error.strerror)) from None
        self.guard(process.pid)
        self.processes[label] = process
        for source, target in ((process.stdout, sys.stdout), (process.stderr, sys.stderr)):
            reader = threading.Thread(target=self._show, args=(label, source, target), daemon=True)
            reader.start()
            self.readers.append(reader)
        threading.Thread(target=lambda: self.events.put((label, process.wait())), daemon=True).start()
        return process

    def _show(self, label, source, target):
        """Copy lines behind the label, until the process and all of its children have ended."""
        for line in source:
            text = '[%s] %s\n' % (label, line.decode(errors='replace').rstrip('\r\n'))
            with self.printing:
                # When nobody reads us any more, the processes must still be read.
                with contextlib.suppress(OSError, ValueError):
                    target.write(text)
                    target.flush()

    def wait(self):
        """The first failure's exit code, once all processes have ended; 0 if all went well."""
        running, asked, deadline = set(self.processes), False, None
        while running:
            try:
                who, what = self.events.get(timeout=None if deadline is None else
                                            max(0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if who == 'signal':
                if asked:
                    self.code = self.code or 128 + what
                    break
                self._ask_to_stop(what)
                asked = True
                continue
            running.remove(who)
            if what:
                self._note(who, what, asked)
            # Asked to stop, workers end with a code, and others may still write the checkpoint;
            # otherwise a failure is the end.
            failed = what and not (asked and _trains(who))
            if deadline is None and (failed or not any(map(_trains, running))):
                deadline = time.monotonic() + self.patience
        return self.code

    def _note(self, who, code, asked):
        """Remember and tell the first failure."""
        code = code if code > 0 else 128 - code  # Popen tells signal 9 as -9, a shell as 137
        if not self.code:
            self.code = code
            if not asked:
                self._say('%s ended with code %d: ending the others' % (who, code))

    def _ask_to_stop(self, number):
        """Pass a signal on to those who take it: workers here, else the scheduler, who tells them."""
        workers = [label for label in self.processes if re.fullmatch(r'worker \d+', label)
                   and self.processes[label].stdin is None]
        self._say('%s: asking the workers to stop (again to end them at once)' % signal.Signals(number).name)
        for label in workers or ['scheduler']:
            _kill(self.processes[label], signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)

    def _say(self, sentence):
        with self.printing:
            print('openatac launch: %s' % sentence, file=sys.stderr, flush=True)

    def end(self):
        """End what still runs, with its children: SIGTERM, then SIGKILL."""
        late = [process for process in self.processes.values() if process.poll() is None]
        for process in self.processes.values():
            if process.stdin:
                process.stdin.close()  # ends what is on the other machine
        for process in late:
            _kill(process, signal.SIGTERM)
        deadline = time.monotonic() + self.patience
        for process in late:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0, deadline - time.monotonic()))
        for process in self.processes.values():
            _kill(process, signal.SIGKILL)  # its children too, should they have outlived it
            process.wait()
        for port in self.ports:
            port.close()
        for reader in self.readers:
            reader.join(1)


def _trains(label):
    return not re.match('scheduler|server', label)


def _kill(process, number):
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


# --------------------------------------------------------------------------------- the guard

def _guard():
    """Fork a process that ends the run's processes should this one be killed.

    Returns the function that tells it of one. It reads a pipe, which only the launcher's end, of
    whatever kind, closes; a signal at a parent's death would not reach grandchildren.
    """
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(writer)
        try:
            _watch_over(reader)
        finally:
            os._exit(0)
    os.close(reader)
    return lambda pid: os.write(writer, b'%d\n' % pid)


def _watch_over(reader):
    os.setsid()
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    with os.fdopen(reader) as pipe:
        groups = [int(line) for line in pipe]
    # After a normal end there is none left of them, and killing none takes no time.
    for each, seconds in ((signal.SIGTERM, 2), (signal.SIGKILL, 0)):
        groups = [group for group in groups if _signal_group(group, each)]
        end = time.monotonic() + seconds
        while time.monotonic() < end and any(_signal_group(group, 0) for group in groups):
            time.sleep(0.05)


def _signal_group(group, number):
    try:
        os.killpg(group, number)
        return True
    except OSError:
        return False
