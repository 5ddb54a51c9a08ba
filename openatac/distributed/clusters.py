"""How servers and workers are started on other machines: by ssh, mpirun, Slurm or Grid Engine.

The environment is the one that MXNet's own launcher sets, and so is the format of host files. The
commands are not its own: its tracker fails on Python from 3.9 on (Thread.isAlive), and behind that
does not quote (ssh), passes variables in a form that MPICH rejects (mpi), asks for an option that
Slurm has dropped (srun --share), sets no role at all (sge), and never learns that a process failed.
"""
import os
import shlex
import socket
import subprocess

from openatac.errors import OpenatacError
from openatac.files.reading import read_text

# Passed on to other machines where they are set here; others by --env.
PASSED_ON = ('DMLC_INTERFACE', 'LD_LIBRARY_PATH', 'OMP_NUM_THREADS', 'OPENATAC_ROLL_CALL_SILENCE',
             'OPENATAC_ROLL_CALL_WAIT', 'PYTHONPATH')

# What a machine at the other end of ssh runs: the command, which is ended when our end of the
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


def start(crew, args, variables):
    """Start the servers and workers of the parsed command line, with the run's ``variables``."""
    CLUSTERS[args.cluster](crew, args, variables)


def passed_on():
    """The variables of this process that other machines should have as well."""
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ}


def own_address(hostfile):
    """The address by which the hosts of the file, or else the local network, can reach this machine."""
    peer = read_hosts(hostfile)[0][0] if hostfile else '10.255.255.255'
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((peer, 9))  # of a datagram socket: chooses the way, and sends nothing
            return probe.getsockname()[0]
        except OSError as error:
            raise OpenatacError('no address of this machine that %s can reach was found (%s): name one by '
                                '--host' % (peer, error.strerror)) from None


def read_hosts(path):
    """[(host, port or None)] of a host file; what MPI adds (slots=2) is left out."""
    try:
        lines = [line.split('#')[0].split() for line in read_text(path).splitlines()]
    except (OSError, ValueError) as error:
        raise OpenatacError('the host file %s cannot be read (%s)' % (path, error)) from None
    hosts = []
    for host, _, port in (words[0].partition(':') for words in lines if words):
        if not host or host.startswith('-') or (port and not port.isdecimal()):
            raise OpenatacError('%s:%s in %s is not HOST or HOST:PORT' % (host, port, path))
        hosts.append((host, port or None))
    if not hosts:
        raise OpenatacError('the host file %s names no host: write one a line' % path)
    return hosts


def _by_ssh(crew, args, variables):
    """Servers, then workers, in turn over the hosts, in the folder that has this one's name there."""
    hosts = read_hosts(args.hostfile)
    tasks = [('server', index) for index in range(args.servers)]
    tasks += [('worker', index) for index in range(args.workers)]
    for place, (role, index) in enumerate(tasks):
        host, port = hosts[place % len(hosts)]
        own = {**variables, 'DMLC_ROLE': role, 'DMLC_TASK_ID': str(index), **_node_host(host)}
        pairs = ['%s=%s' % pair for pair in own.items()]
        remote = 'cd %s && exec 3<&0 && exec env %s' % (
            shlex.quote(os.getcwd()), shlex.join(pairs + ['sh', '-c', REMOTE, 'sh', *args.command]))
        crew.start('%s %d' % (role, index), ['ssh', '-o', 'BatchMode=yes', *(['-p', port] if port else []),
                                             host, 'exec sh -c ' + shlex.quote(remote)],
                   {}, stdin=subprocess.PIPE)


def _node_host(host):
    # An alias of ssh's configuration has no address; MXNet then looks for an interface itself.
    try:
        return {'DMLC_NODE_HOST': socket.gethostbyname(host)}
    except OSError:
        return {}


def _by_mpi(crew, args, variables):
    """One mpirun for the servers and one for the workers; variables are named, not quoted."""
    for role, count, own in _roles(args, variables):
        if 'Open MPI' in _version_of('mpirun'):
            passing = [word for name in own for word in ('-x', name)]
        else:  # MPICH, Intel MPI and others with its Hydra
            passing = ['-genvlist', ','.join(own)]
        hosts = ['--hostfile', args.hostfile] if args.hostfile else []
        crew.start(role, ['mpirun', '-n', str(count), *hosts, *passing, *args.command], own)


def _by_slurm(crew, args, variables):
    """One job step for the servers and one for the workers, which may share an allocation's nodes."""
    for role, count, own in _roles(args, variables):
        crew.start(role, ['srun', '--label', '--kill-on-bad-exit=1', '--export=ALL', '-n', str(count),
                          *args.command], {**own, 'SLURM_OVERLAP': '1'})


def _by_sge(crew, args, variables):
    """One array job, whose first tasks are the servers; its output is where Grid Engine puts it."""
    script = ['export %s=%s' % (name, shlex.quote(value)) for name, value in variables.items()]
    script += ['export DMLC_ROLE=worker DMLC_TASK_ID=$((SGE_TASK_ID - 1))',
               'if [ "$SGE_TASK_ID" -le %d ]; then DMLC_ROLE=server; fi' % args.servers,
               'exec ' + shlex.join(args.command)]
    job = crew.start('tasks', [
        'qsub', '-sync', 'y', '-cwd', '-S', '/bin/sh', '-N', 'openatac',
        '-t', '1-%d' % (args.servers + args.workers)], {}, stdin=subprocess.PIPE)
    with job.stdin:
        job.stdin.write('\n'.join(script + ['']).encode())


def _roles(args, variables):
    for role, count in (('server', args.servers), ('worker', args.workers)):
        yield role, count, {**variables, 'DMLC_ROLE': role}


def _version_of(program):
    try:
        return subprocess.run([program, '--version'], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        raise OpenatacError('%s cannot be run here: install it, or choose another --cluster'
                            % program) from None


CLUSTERS = {'ssh': _by_ssh, 'mpi': _by_mpi, 'slurm': _by_slurm, 'sge': _by_sge}
