"""How servers and workers are started on other machines: by ssh, mpirun, Slurm or Grid Engine.

The environment and the format of host files are those of MXNet's own launcher. Its commands are not used: its
tracker fails on Python 3.9 and newer (Thread.isAlive), does not quote (ssh), passes variables in a form that
MPICH rejects (mpi), uses an option that Slurm has dropped (srun --share), sets no role (sge), and never
notices that a process failed.
"""
import os
import shlex
import socket
import subprocess
from collections.abc import Callable, Iterator
from typing import NamedTuple, Optional

from openatac.distributed.processes import ProcessGroup
from openatac.errors import OpenatacError
from openatac.files.reading import read_text

# Passed on to other machines if they are set here; others by --env.
PASSED_ON = ('DMLC_INTERFACE', 'LD_LIBRARY_PATH', 'OMP_NUM_THREADS', 'OPENATAC_ROLL_CALL_SILENCE',
             'OPENATAC_ROLL_CALL_WAIT', 'PYTHONPATH')

# What the machine at the other end of ssh runs: the command, and a watch that ends it when our end of the
# connection closes, for whatever reason. (A background process of sh has no input of its own.)
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


class Tasks(NamedTuple):
    """The servers and workers to start, with the environment variables of the run."""

    command: list[str]
    workers: int
    servers: int
    hostfile: Optional[str]
    variables: dict[str, str]

    def by_role(self) -> Iterator[tuple[str, int, dict[str, str]]]:
        """(role, count, variables) of the servers and of the workers."""
        for role, count in (('server', self.servers), ('worker', self.workers)):
            yield role, count, {**self.variables, 'DMLC_ROLE': role}


def passed_on() -> dict[str, str]:
    """Return the variables of this process that other machines should have as well."""
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ}


def own_address(hostfile: Optional[str]) -> str:
    """Return the address at which the file's hosts, or else the local network, can reach this machine."""
    peer = read_hosts(hostfile)[0][0] if hostfile else '10.255.255.255'
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((peer, 9))  # of a datagram socket: chooses the route, and sends nothing
            return probe.getsockname()[0]
        except OSError as error:
            raise OpenatacError(f'no address of this machine was found that {peer} can reach '
                                f'({error.strerror}): name one by --host') from None


def read_hosts(path: str) -> list[tuple[str, Optional[str]]]:
    """[(host, port or None)] of a host file; MPI's additions (slots=2) are ignored."""
    try:
        lines = [line.split('#')[0].split() for line in read_text(path).splitlines()]
    except (OSError, ValueError) as error:
        raise OpenatacError(f'the host file {path} cannot be read ({error})') from None
    hosts: list[tuple[str, Optional[str]]] = []
    for host, _, port in (words[0].partition(':') for words in lines if words):
        if not host or host.startswith('-') or (port and not port.isdecimal()):
            raise OpenatacError(f'{host}:{port} in {path} is not HOST or HOST:PORT')
        hosts.append((host, port or None))
    if not hosts:
        raise OpenatacError(f'the host file {path} names no host: write one on each line')
    return hosts


def _by_ssh(group: ProcessGroup, tasks: Tasks) -> None:
    """Servers, then workers, in turn over the hosts, in the folder that has this one's name there."""
    hosts = read_hosts(tasks.hostfile or '')
    processes = [(role, index) for role, count, _ in tasks.by_role() for index in range(count)]
    for place, (role, index) in enumerate(processes):
        host, port = hosts[place % len(hosts)]
        own = {**tasks.variables, 'DMLC_ROLE': role, 'DMLC_TASK_ID': str(index), **_node_host(host)}
        pairs = [f'{name}={value}' for name, value in own.items()]
        program = shlex.join([*pairs, 'sh', '-c', REMOTE, 'sh', *tasks.command])
        remote = f'cd {shlex.quote(os.getcwd())} && exec 3<&0 && exec env {program}'
        group.start(f'{role} {index}', ['ssh', '-o', 'BatchMode=yes', *(['-p', port] if port else []),
                                        host, 'exec sh -c ' + shlex.quote(remote)],
                    {}, stdin=subprocess.PIPE)


def _node_host(host: str) -> dict[str, str]:
    # An alias in ssh's configuration has no address; MXNet then looks for an interface itself.
    try:
        return {'DMLC_NODE_HOST': socket.gethostbyname(host)}
    except OSError:
        return {}


def _by_mpi(group: ProcessGroup, tasks: Tasks) -> None:
    """One mpirun for the servers and one for the workers; variables are passed by name, not quoted."""
    for role, count, variables in tasks.by_role():
        if 'Open MPI' in _version_of('mpirun'):
            passing = [word for name in variables for word in ('-x', name)]
        else:  # MPICH, Intel MPI and others with its Hydra
            passing = ['-genvlist', ','.join(variables)]
        hosts = ['--hostfile', tasks.hostfile] if tasks.hostfile else []
        group.start(role, ['mpirun', '-n', str(count), *hosts, *passing, *tasks.command], variables)


def _by_slurm(group: ProcessGroup, tasks: Tasks) -> None:
    """One job step for the servers and one for the workers, which may share an allocation's nodes."""
    for role, count, variables in tasks.by_role():
        group.start(role, ['srun', '--label', '--kill-on-bad-exit=1', '--export=ALL', '-n', str(count),
                           *tasks.command], {**variables, 'SLURM_OVERLAP': '1'})


def _by_sge(group: ProcessGroup, tasks: Tasks) -> None:
    """One array job, whose first tasks are the servers; Grid Engine decides where its output goes."""
    script = [f'export {name}={shlex.quote(value)}' for name, value in tasks.variables.items()]
    script += ['export DMLC_ROLE=worker DMLC_TASK_ID=$((SGE_TASK_ID - 1))',
               f'if [ "$SGE_TASK_ID" -le {tasks.servers} ]; then DMLC_ROLE=server; fi',
               'exec ' + shlex.join(tasks.command)]
    job = group.start('tasks', [
        'qsub', '-sync', 'y', '-cwd', '-S', '/bin/sh', '-N', 'openatac',
        '-t', f'1-{tasks.servers + tasks.workers}'], {}, stdin=subprocess.PIPE)
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


CLUSTERS: dict[str, Callable[[ProcessGroup, Tasks], None]] = {
    'ssh': _by_ssh, 'mpi': _by_mpi, 'slurm': _by_slurm, 'sge': _by_sge}
