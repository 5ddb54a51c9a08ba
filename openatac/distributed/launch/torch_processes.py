"""Start PyTorch's processes on this machine, as torchrun would."""
from __future__ import annotations

import os
import sys
from typing import Any

from openatac.distributed.launch.processes import Child, ChildProcesses
from openatac.distributed.torchrun import LOOPBACK
from openatac.system.cores import cores_per_process


def own_command() -> list[str]:
    """Return the command that runs this process's program again, with its arguments."""
    spec = sys.modules['__main__'].__spec__
    return [sys.executable, *([sys.argv[0]] if spec is None else ['-m', spec.name]), *sys.argv[1:]]


def start_workers(children: ChildProcesses, command: list[str], count: int) -> Any:
    """Start ``count`` processes of ``command`` on this machine, with torchrun's variables.

    Returns
    -------
    torch.distributed.TCPStore
        The store in which they find each other; it must outlive them.
    """
    from torch.distributed import TCPStore
    store = TCPStore(LOOPBACK, 0, is_master=True, wait_for_workers=False)  # 0: a free port
    variables = {
        'WORLD_SIZE': str(count), 'LOCAL_WORLD_SIZE': str(count), 'MASTER_ADDR': LOOPBACK,
        'MASTER_PORT': str(store.port),
        # As in torchrun: the store is in the process that starts the others.
        'TORCHELASTIC_USE_AGENT_STORE': 'True', 'TORCHELASTIC_RESTART_COUNT': '0',
        'OMP_NUM_THREADS': os.environ.get('OMP_NUM_THREADS') or str(cores_per_process(count))}
    for rank in range(count):
        children.start(Child('worker', rank), command,
                       {**variables, 'RANK': str(rank), 'LOCAL_RANK': str(rank)})
    return store
