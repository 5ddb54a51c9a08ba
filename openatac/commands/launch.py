"""Start all processes of a distributed run, show their output, and end them together.

It works for any command that uses MXNet's key-value store. The scheduler runs on this machine, servers and
workers where --cluster puts them. Ctrl-C or SIGTERM asks the workers to stop; a second one ends everything at
once. When a process fails, the others get a few seconds to end on their own; the exit code is that of the
first failure. No process is left behind, even if this one is killed.
"""
import argparse
import os
import re
from collections.abc import Sequence

from openatac.commands.shared.catalogue import command_parser
from openatac.distributed.launch.clusters import CLUSTERS, Launch
from openatac.distributed.launch.start import run_processes, start_processes
from openatac.distributed.rendezvous import MAX_PROCESSES
from openatac.errors import FlagError
from openatac.limits import MAX_PORT, MAX_SECONDS
from openatac.options.flag_types import PORT, number


def main(argv: Sequence[str]) -> int:
    """Run ``openatac launch``; see the module."""
    args = _parse(argv)
    launch = Launch(args.command, args.workers, args.servers, args.cluster, args.hostfile, args.host,
                    args.port, dict(args.env))
    return run_processes(lambda group: start_processes(group, launch), patience=args.patience)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    p = command_parser('launch', __doc__, allow_abbrev=False,
                       usage='%(prog)s -n WORKERS [options] -- COMMAND ...')
    count = number(int, low=1, high=MAX_PROCESSES)
    p.add_argument('-n', '--workers', metavar='WORKERS', type=count, required=True,
                   help='number of processes that train')
    p.add_argument('-s', '--servers', metavar='SERVERS', type=count,
                   help='number of processes that add up the gradients (default: as many as workers)')
    p.add_argument('--cluster', choices=tuple(CLUSTERS),
                   help='where they run (default: ssh with --hostfile; otherwise local: all on this machine, '
                        'unreachable from others)')
    p.add_argument('--hostfile', metavar='FILE',
                   help='for ssh and mpi: one machine on each line, HOST or HOST:PORT')
    p.add_argument('--host', metavar='ADDRESS',
                   help='an address of this machine that the others can reach (default: found automatically)')
    p.add_argument('--port', type=PORT,
                   help="the scheduler's port (default: a free one); the next port is used too, to watch the "
                        'processes')
    p.add_argument('--env', metavar='NAME[=VALUE]', action='append', default=[], type=_variable,
                   help='set a variable for all processes; NAME without a value passes on its value here')
    p.add_argument('--patience', metavar='SECONDS', type=number(float, low=0, high=MAX_SECONDS), default=5.0,
                   help='time for processes to end once one has failed or all workers are done, and '
                        'again between SIGTERM and SIGKILL (default: %(default)g)')
    p.add_argument('command', metavar='COMMAND', nargs='+', help='what each process runs, after --')
    args = p.parse_args(argv)
    args.servers = args.servers or args.workers
    args.cluster = args.cluster or ('ssh' if args.hostfile else 'local')
    most = MAX_PORT - 1 - (args.workers if args.cluster == 'local' else 0)  # each local worker needs one
    if args.port and args.port > most:
        raise FlagError('--port', f'{args.port} leaves no ports for the processes; choose one up to {most}')
    if args.cluster == 'ssh' and not args.hostfile:
        raise FlagError('--hostfile', 'ssh needs the file with the names of the machines')
    if args.hostfile and args.cluster not in ('ssh', 'mpi'):
        raise FlagError('--hostfile', f'it is for ssh and mpi; --cluster {args.cluster} chooses machines '
                        'itself')
    return args


def _variable(text: str) -> tuple[str, str]:
    """Return (name, value) from NAME=VALUE, or from NAME and its value in this environment."""
    name, equals, value = text.partition('=')
    if not re.fullmatch('[A-Za-z_][A-Za-z0-9_]*', name):
        raise argparse.ArgumentTypeError(f'{text!r} is not NAME or NAME=VALUE')
    if not equals and name not in os.environ:
        raise argparse.ArgumentTypeError(f'{name} is not set here; write {name}=VALUE')
    return name, value if equals else os.environ[name]
