"""The processes of a training run: one for each GPU, or the processes of a cluster."""
from __future__ import annotations

import os

from openatac.backends.devices import parse_gpus
from openatac.backends.kvstore_names import SINGLE_PROCESS_STORE
from openatac.backends.process_group import ProcessGroup
from openatac.errors import FlagError, OpenatacError, UsageError
from openatac.system.guard import can_guard
from openatac.training.config import Config
from openatac.training.networks.network_from_flags import only_makes_network


def train_in_processes(config: Config, program: str) -> int | None:
    """Train with PyTorch in one process per GPU, if the config names several; return the exit code.

    Returns None if there is nothing to start and this process, which may be one of several, must train
    itself.
    """
    gpus = parse_gpus(config.training.gpus)
    if config.compute.library != 'torch' or len(gpus) < 2 or _needs_one_process(config):
        return None
    import torch

    from openatac.distributed import torchrun
    from openatac.distributed.launch.start import run_processes
    from openatac.distributed.launch.torch_processes import own_command, start_workers
    if torchrun.is_distributed() or torch.cuda.device_count() <= max(gpus):  # a missing one is reported later
        return None
    if not can_guard():
        raise OpenatacError('this system does not let a run start processes: start one for each GPU with '
                            f'torchrun --nproc-per-node {len(gpus)}')
    return run_processes(lambda children: start_workers(children, own_command(), len(gpus)), program=program)


def join_process_group(config: Config) -> ProcessGroup:
    """Join the processes that train together; this may be the only one."""
    from openatac.distributed import kvstore, torchrun
    alone = _needs_one_process(config)
    if config.compute.library == 'gluon':
        if torchrun.is_distributed() and 'TORCHELASTIC_RUN_ID' in os.environ:
            raise FlagError('--engine', 'torchrun is for torch; start several processes of '
                            f'{config.compute.engine} with `openatac launch`')
        return kvstore.join_run(SINGLE_PROCESS_STORE if alone else config.training.kvstore)
    if alone and torchrun.is_distributed():
        raise UsageError('this command needs one process; start it without torchrun')
    if config.compute.syncbn and not (alone or torchrun.is_distributed()):
        raise FlagError('--syncbn', 'it needs two or more processes, and this is one; leave it out')
    return torchrun.join_run()


def _needs_one_process(config: Config) -> bool:
    return bool(only_makes_network(config) or config.start.evaluate)
