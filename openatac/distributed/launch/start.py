"""Start all processes of a distributed run on this machine or a cluster."""
from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable

from openatac.console.signals import RUN_STOP_SIGNALS, stop_signals
from openatac.distributed.launch.clusters import CLUSTERS, Launch, read_hosts
from openatac.distributed.launch.processes import Child, ChildProcesses, Signalled
from openatac.distributed.ports import keep_ports
from openatac.errors import OpenatacError, reason
from openatac.system.cores import cores_per_process
from openatac.system.guard import Guard

# Passed on to other machines if they are set here; --env adds others.
PASSED_ON = ('DMLC_INTERFACE', 'LD_LIBRARY_PATH', 'OMP_NUM_THREADS', 'OPENATAC_MEMBERSHIP_SILENCE',
             'OPENATAC_MEMBERSHIP_WAIT', 'PYTHONPATH')


def run_processes(begin: Callable[[ChildProcesses], object], program: str = 'openatac launch',
                  patience: float = 5.0) -> int:
    """Start processes with ``begin(children)``, wait for them to end, and return the exit code.

    Parameters
    ----------
    begin : function
        Starts them; its return value is kept alive until they have ended.
    program, patience
        As in `ChildProcesses`.
    """
    children = ChildProcesses(Guard(), program, patience)
    with stop_signals(lambda number, frame: children.events.put(Signalled(number)), RUN_STOP_SIGNALS):
        try:
            kept = begin(children)  # noqa: F841
            return children.wait()
        finally:
            children.end()


def start_processes(children: ChildProcesses, launch: Launch) -> list[socket.socket]:
    """Start all processes of the run; raises OpenatacError if one cannot start.

    Returns
    -------
    list of socket
        They reserve the run's ports, and must outlive its processes.
    """
    local = launch.cluster == 'local'
    address = launch.host or ('127.0.0.1' if local else _own_address(launch.hostfile))
    ports = [] if launch.port else keep_ports(address, 2 + (launch.workers if local else 0))
    port = launch.port or ports[0].getsockname()[1]
    variables = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    variables.update(
        DMLC_PS_ROOT_URI=address, DMLC_PS_ROOT_PORT=str(port), OPENATAC_MEMBERSHIP_PORT=str(port + 1),
        DMLC_NUM_WORKER=str(launch.workers), DMLC_NUM_SERVER=str(launch.servers),
        DMLC_JOB_CLUSTER=launch.cluster, OPENATAC_MEMBERSHIP_NAME=uuid.uuid4().hex)
    if local:
        variables['DMLC_NODE_HOST'] = address
        # The workers share the processors of this machine.
        variables.setdefault('OMP_NUM_THREADS', str(cores_per_process(launch.workers)))
    variables.update(launch.variables or {})
    children.start(Child('scheduler'), launch.command,
                   {**variables, 'DMLC_ROLE': 'scheduler', 'DMLC_NODE_HOST': address})
    CLUSTERS[launch.cluster](children, launch, variables)
    return ports


def _own_address(hostfile: str | None) -> str:
    """Return the address at which the file's hosts, or else the local network, reach this machine."""
    peer = read_hosts(hostfile)[0][0] if hostfile else '10.255.255.255'
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((peer, 9))  # on a datagram socket, chooses the route and sends nothing
            return probe.getsockname()[0]
        except OSError as error:
            raise OpenatacError(f'no address of this machine was found that {peer} can reach '
                                f'({reason(error)}): give one with --host') from None
