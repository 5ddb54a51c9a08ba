"""Start the processes of a run: on this machine, or with ssh, mpirun, Slurm or Grid Engine.

The environment and the format of host files match MXNet's own launcher. We do not use that launcher: its
tracker fails on Python 3.9 and newer (Thread.isAlive), does not quote (ssh), passes variables in a form that
MPICH rejects (mpi), uses an option that Slurm has dropped (srun --share), sets no role (sge), and never
notices when a process fails.
"""
from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from openatac.distributed.launch.processes import Child, ChildProcesses
from openatac.errors import OpenatacError
from openatac.files.reading import read_text

# What ssh runs on the remote machine: the command, and a watcher that ends it when our end of the connection
# closes for any reason. (A background process of sh has no input of its own.)
REMOTE = '''
"$@" 3<&- </dev/null & command=$!
{
    cat
    kill -TERM $command
    for second in 1 2 3 4 5; do sleep 1; kill -0 $command || exit; done
    kill -KILL $command
} <&3 3<&- >/dev/null 2>&1 & watch=$!
wait $command; code=$?
kill $watch 2>/dev/null
exit $code
'''


class Launch(NamedTuple):
    """The command, processes and machines of a distributed run.

    Attributes
    ----------
    command : list of str
        What each process runs.
    workers, servers : int
        How many processes train, and how many add up the gradients.
    cluster : str
        One of `CLUSTERS`.
    hostfile : str, optional
        The file with the names of the machines, for ssh and mpi.
    host : str, optional
        The address of this machine that the others can reach. Default: found automatically.
    port : int, optional
        The scheduler's port; the hub uses the next one. Default: a free port.
    variables : dict, optional
        Environment variables for all processes.
    """

    command: list[str]
    workers: int
    servers: int
    cluster: str = 'local'
    hostfile: str | None = None
    host: str | None = None
    port: int | None = None
    variables: dict[str, str] | None = None

    @property
    def counts(self) -> dict[str, int]:
        """The number of processes with each role, besides the one scheduler."""
        return {'server': self.servers, 'worker': self.workers}

    def processes(self) -> Iterator[tuple[str, int]]:
        """Yield (role, index) of each process, servers first."""
        for role, count in self.counts.items():
            for index in range(count):
                yield role, index


Variables = Mapping[str, str]


def _locally(children: ChildProcesses, launch: Launch, variables: Variables) -> None:
    """Start all processes on this machine."""
    for role, index in launch.processes():
        own = {**variables, 'DMLC_ROLE': role, 'DMLC_TASK_ID': str(index)}
        if role == 'worker':
            # MXNet ranks by port, so worker 1 here is its worker 1, too.
            own['PORT'] = str(int(variables['DMLC_PS_ROOT_PORT']) + 2 + index)
        children.start(Child(role, index), launch.command, own)


def read_hosts(path: str) -> list[tuple[str, str | None]]:
    """Return [(host, port or None)] from a host file; MPI's additions (slots=2) are ignored."""
    try:
        lines = [line.split('#')[0].split() for line in read_text(path).splitlines()]
    except (OSError, ValueError) as error:
        raise OpenatacError(f'the host file {path} cannot be read ({error})') from None
    hosts: list[tuple[str, str | None]] = []
    for host, _, port in (words[0].partition(':') for words in lines if words):
        if not host or host.startswith('-') or (port and not port.isdecimal()):
            raise OpenatacError(f'{host}:{port} in {path} is not HOST or HOST:PORT')
        hosts.append((host, port or None))
    if not hosts:
        raise OpenatacError(f'the host file {path} names no host: write one on each line')
    return hosts


def _by_ssh(children: ChildProcesses, launch: Launch, variables: Variables) -> None:
    """Start servers, then workers, round-robin over the hosts, in the folder with the same path there."""
    hosts = read_hosts(launch.hostfile or '')
    for (role, index), (host, port) in zip(launch.processes(), itertools.cycle(hosts)):
        own = {**variables, 'DMLC_ROLE': role, 'DMLC_TASK_ID': str(index)}
        # An alias in ssh's configuration has no address; MXNet then looks for an interface itself.
        with contextlib.suppress(OSError):
            own['DMLC_NODE_HOST'] = socket.gethostbyname(host)
        pairs = [f'{name}={value}' for name, value in own.items()]
        program = shlex.join([*pairs, 'sh', '-c', REMOTE, 'sh', *launch.command])
        remote = f'cd {shlex.quote(os.getcwd())} && exec 3<&0 && exec env {program}'
        children.start(Child(role, index), ['ssh', '-o', 'BatchMode=yes', *(['-p', port] if port else []),
                                            host, 'exec sh -c ' + shlex.quote(remote)],
                       {}, stdin=subprocess.PIPE)


def _by_mpi(children: ChildProcesses, launch: Launch, variables: Variables) -> None:
    """Start one mpirun for the servers and one for the workers; variables are passed by name, not quoted."""
    names = [*variables, 'DMLC_ROLE']
    if 'Open MPI' in _version_of('mpirun'):
        passing = [word for name in names for word in ('-x', name)]
    else:  # MPICH, Intel MPI and others that use MPICH's Hydra
        passing = ['-genvlist', ','.join(names)]
    hosts = ['--hostfile', launch.hostfile] if launch.hostfile else []
    for role, count in launch.counts.items():
        children.start(Child(role), ['mpirun', '-n', str(count), *hosts, *passing, *launch.command],
                       {**variables, 'DMLC_ROLE': role})


def _by_slurm(children: ChildProcesses, launch: Launch, variables: Variables) -> None:
    """Start one job step for the servers and one for the workers, which may share an allocation's nodes."""
    for role, count in launch.counts.items():
        children.start(Child(role), ['srun', '--label', '--kill-on-bad-exit=1', '--export=ALL', '-n',
                                     str(count), *launch.command],
                       {**variables, 'DMLC_ROLE': role, 'SLURM_OVERLAP': '1'})


def _by_sge(children: ChildProcesses, launch: Launch, variables: Variables) -> None:
    """Submit one array job, whose first tasks are the servers; Grid Engine decides where its output goes."""
    script = [f'export {name}={shlex.quote(value)}' for name, value in variables.items()]
    script += ['export DMLC_ROLE=worker DMLC_TASK_ID=$((SGE_TASK_ID - 1))',
               f'if [ "$SGE_TASK_ID" -le {launch.servers} ]; then DMLC_ROLE=server; fi',
               'exec ' + shlex.join(launch.command)]
    job = children.start(Child('tasks'), [
        'qsub', '-sync', 'y', '-cwd', '-S', '/bin/sh', '-N', 'openatac',
        '-t', f'1-{launch.servers + launch.workers}'], {}, stdin=subprocess.PIPE)
    if job.stdin:
        with job.stdin as stdin:
            stdin.write('\n'.join([*script, '']).encode())


def _version_of(program: str) -> str:
    try:
        return subprocess.run([program, '--version'], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        raise OpenatacError(f'{program} cannot be run here: install it, or choose another '
                            '--cluster') from None


CLUSTERS: dict[str, Callable[[ChildProcesses, Launch, Variables], None]] = {
    'local': _locally, 'ssh': _by_ssh, 'mpi': _by_mpi, 'slurm': _by_slurm, 'sge': _by_sge}
