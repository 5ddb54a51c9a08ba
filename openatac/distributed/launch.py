"""All processes of a distributed run started on this machine or a cluster."""
import os
import uuid
from typing import NamedTuple, Optional

from openatac.distributed import clusters
from openatac.distributed.ports import keep_ports
from openatac.distributed.processes import ProcessGroup
from openatac.runtime.cores import physical_cores


class Launch(NamedTuple):
    """What to start.

    Attributes
    ----------
    command : list of str
        What each process runs.
    workers, servers : int
        How many processes train, and how many add up the gradients.
    cluster : str
        'local', or one of `openatac.distributed.clusters.CLUSTERS`.
    hostfile : str, optional
        For ssh and mpi: the file with the names of the machines.
    host : str, optional
        The address of this machine that the others can reach; found by default.
    port : int, optional
        The scheduler's port, free by default; the hub has the next one.
    variables : dict, optional
        Environment variables for all processes.
    """

    command: list[str]
    workers: int
    servers: int
    cluster: str = 'local'
    hostfile: Optional[str] = None
    host: Optional[str] = None
    port: Optional[int] = None
    variables: Optional[dict[str, str]] = None


def start(group: ProcessGroup, launch: Launch) -> None:
    """Start all processes of the run; raises OpenatacError if one cannot start."""
    local = launch.cluster == 'local'
    address = launch.host or ('127.0.0.1' if local else clusters.own_address(launch.hostfile))
    group.ports = [] if launch.port else keep_ports(address, 2 + launch.workers * local)
    port = launch.port or group.ports[0].getsockname()[1]
    variables = {
        'DMLC_PS_ROOT_URI': address, 'DMLC_PS_ROOT_PORT': str(port), 'OPENATAC_ROLL_CALL_PORT': str(port + 1),
        'DMLC_NUM_WORKER': str(launch.workers), 'DMLC_NUM_SERVER': str(launch.servers),
        'DMLC_JOB_CLUSTER': launch.cluster, 'OPENATAC_ROLL_CALL_NAME': uuid.uuid4().hex,
    }
    if local:
        variables['DMLC_NODE_HOST'] = address
        # The workers share the processors of this machine.
        variables['OMP_NUM_THREADS'] = os.environ.get(
            'OMP_NUM_THREADS', str(max(1, physical_cores() // launch.workers)))
    variables.update(launch.variables or {})
    group.start('scheduler', launch.command,
                {**variables, 'DMLC_ROLE': 'scheduler', 'DMLC_NODE_HOST': address})
    if not local:
        tasks = clusters.Tasks(launch.command, launch.workers, launch.servers, launch.hostfile,
                               {**clusters.passed_on(), **variables})
        return clusters.CLUSTERS[launch.cluster](group, tasks)
    for role, count in (('server', launch.servers), ('worker', launch.workers)):
        for index in range(count):
            own = {'DMLC_ROLE': role, 'DMLC_TASK_ID': str(index)}
            if role == 'worker':
                # MXNet's ranks go by ports, so that worker 1 here is its worker 1 as well.
                own['PORT'] = str(port + 2 + index)
            group.start(f'{role} {index}', launch.command, {**variables, **own})
