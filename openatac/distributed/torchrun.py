"""Multi-process training with PyTorch, started by torchrun or by `start_workers`.

    group = torchrun.join_run()  # in each process
    ...                          # torch.distributed exchanges the arrays
    group.close()

When a process dies, all others report it and end within seconds (see `openatac.distributed.member`); PyTorch
by itself can wait for minutes. NCCL exchanges the arrays on GPUs, and gloo on CPUs.
"""
from __future__ import annotations

import contextlib
import datetime
import os
import re
import socket
import time
import uuid
from collections.abc import Iterator
from typing import Any

from openatac.backends.process_group import SingleProcess
from openatac.distributed.hub import Hub
from openatac.distributed.member import Member
from openatac.distributed.member_group import MemberGroup, join_group
from openatac.distributed.rendezvous import Rendezvous, read_seconds
from openatac.errors import OpenatacError, first_line

# For processes that are alive but do not reach an exchange; a death is noticed within seconds. Some may
# compile or read for much longer than others.
EXCHANGE_TIMEOUT = datetime.timedelta(minutes=10)
HUB, LOOPBACK = 'openatac/hub', '127.0.0.1'


class TorchWorkerGroup(MemberGroup):
    """The process group of a torch.distributed process; returned by `join_run`.

    Parameters
    ----------
    member : Member
    rank, size : int
    store : torch.distributed.Store
        The store in which the processes find each other.
    hub : Hub or None
        The hub, in worker 0.
    """

    def __init__(self, member: Member, rank: int, size: int, store: Any, hub: Hub | None) -> None:
        super().__init__(member)
        self.rank, self.size = rank, size
        self._hub = hub
        member.send_rank(rank)
        with self.exchanging():
            _connect(store, rank, size)

    @contextlib.contextmanager
    def exchanging(self) -> Iterator[None]:
        try:
            yield
        except OpenatacError:
            raise
        except RuntimeError as error:
            # This may come from the exchange. If a process died, the hub names it and ends this one during
            # the sleep.
            time.sleep(3 * self._member.rendezvous.failure_grace)
            if not re.search('gloo|nccl|connection', f'{type(error).__name__} {error}', re.IGNORECASE):
                raise
            raise OpenatacError(f'the processes cannot exchange arrays any more ({first_line(error)}): check '
                                'the network between them, and continue with --resume auto') from None

    def close(self) -> None:
        super().close()
        if self._hub:
            self._hub.wait_until_empty()

    def _leave(self) -> None:
        import torch.distributed as dist
        dist.destroy_process_group()


def is_distributed() -> bool:
    """Return whether this process is one of several, according to torchrun's variables."""
    return 'RANK' in os.environ and os.environ.get('WORLD_SIZE', '1') != '1'


def join_run() -> SingleProcess | TorchWorkerGroup:
    """Join the processes that torchrun's variables describe.

    These are RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT; LOCAL_WORLD_SIZE counts the processes on this
    machine.

    Raises
    ------
    OpenatacError
        If the variables are wrong, or not all processes arrive.
    """
    if not is_distributed():
        return SingleProcess()
    from torch.distributed import DistError, PrefixStore
    from torch.distributed.rendezvous import rendezvous
    seconds = read_seconds(os.environ)
    try:
        timeout = datetime.timedelta(seconds=seconds['arrival_timeout'])
        store, rank, size = next(rendezvous('env://', timeout=timeout))
        hub = _open_hub(store, size, seconds) if rank == 0 else None
        member = _find_hub(store, rank, size, seconds)
    except (DistError, ValueError) as error:
        raise OpenatacError(f'the processes of torchrun did not find each other ({first_line(error)}): give '
                            'all of them the same WORLD_SIZE, MASTER_ADDR and MASTER_PORT') from None
    own = PrefixStore(member.rendezvous.name, store)  # a restarted run reuses the previous run's store
    return join_group(member, lambda member: TorchWorkerGroup(member, rank, size, own, hub))


def _open_hub(store: Any, size: int, seconds: dict[str, Any]) -> Hub:
    """Open the hub on a free port, and publish its address in the store."""
    all_here = os.environ.get('LOCAL_WORLD_SIZE') == str(size)
    address = LOOPBACK if all_here else os.environ['MASTER_ADDR']
    both = not all_here and socket.has_dualstack_ipv6()
    listener = socket.create_server((LOOPBACK if all_here else '', 0), backlog=128, dualstack_ipv6=both,
                                    family=socket.AF_INET6 if both else socket.AF_INET)
    rendezvous = Rendezvous('worker', address, hub_port=listener.getsockname()[1], workers=size,
                            name=uuid.uuid4().hex, library='torch', **seconds)
    hub = Hub(rendezvous, listener)
    store.set(HUB, f'{address} {rendezvous.hub_port} {rendezvous.name}')
    return hub


def _find_hub(store: Any, rank: int, size: int, seconds: dict[str, Any]) -> Member:
    """Connect to the hub at the address in the store."""
    end = time.monotonic() + seconds['arrival_timeout']
    while True:
        address, port, name = store.get(HUB).decode().split()
        rendezvous = Rendezvous('worker', address, hub_port=int(port), workers=size, name=name,
                                library='torch', **{**seconds, 'arrival_timeout': 1.0})
        try:
            return Member(rendezvous, has_hub=rank == 0)
        except OpenatacError:  # the address may date from before a restart
            if time.monotonic() > end:
                raise OpenatacError(f'worker 0 does not answer on {address}, port {port}: open all ports '
                                    'between the machines') from None


def _connect(store: Any, rank: int, size: int) -> None:
    """Connect the processes to exchange arrays, with gloo on CPUs and NCCL on GPUs."""
    import torch
    import torch.distributed as dist
    has_nccl = torch.cuda.is_available() and dist.is_nccl_available()
    try:
        dist.init_process_group('cpu:gloo,cuda:nccl' if has_nccl else 'gloo', store=store, rank=rank,
                                world_size=size, timeout=EXCHANGE_TIMEOUT)
    except dist.DistError as error:
        raise OpenatacError(f'the processes cannot exchange arrays ({first_line(error)}): open all ports '
                            'between their machines') from None
