"""Multi-process training with MXNet's parameter server.

    group = kvstore.join_run('dist_sync')  # in a scheduler or server it never returns
    ...                                    # gluon.Trainer(..., kvstore=group.kvstore)
    group.close()

`openatac launch` starts all processes of a run. When one of them dies, all others report it and end within
seconds (see `openatac.distributed.member`); MXNet by itself would wait forever.
"""
from __future__ import annotations

import functools
import os
import signal
import socket
import threading
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from openatac.backends.kvstore_names import KVSTORES
from openatac.backends.process_group import SingleProcess
from openatac.console.signals import RUN_STOP_SIGNALS
from openatac.distributed.crash_exit import exit_process
from openatac.distributed.member import Member
from openatac.distributed.member_group import MemberGroup, join_group
from openatac.distributed.parameter_server import send_learning_rate, send_optimizer, serve
from openatac.distributed.rendezvous import Rendezvous, read_rendezvous, set_addresses
from openatac.errors import OpenatacError, last_line


class MxnetWorkerGroup(MemberGroup):
    """The process group of a worker with MXNet's parameter server; returned by `join_run`.

    Attributes
    ----------
    kvstore : mxnet.kvstore.KVStore
        The store to give to gluon.Trainer.
    """

    def __init__(self, name: str, member: Member) -> None:
        import mxnet as mx
        super().__init__(member)
        self.is_asynchronous = name == 'dist_async'
        self.kvstore = mx.kv.create(name)
        self.kvstore.set_optimizer = functools.partial(send_optimizer, self.kvstore)  # sends JSON, not pickle
        self.rank, self.size = self.kvstore.rank, self.kvstore.num_workers
        member.send_rank(self.rank)

    def prepare(self, trainer: Any, batch_size: int) -> None:
        """Give all workers worker 0's initial values, before the first step of the gluon.Trainer.

        The step would do this itself but without waiting, so a worker could mistake the sum of the first
        gradients for its initial values (on CPUs one in three did). ``batch_size`` is the batch size of the
        steps; servers that update the weights learn it only here.
        """
        import mxnet as mx
        if not trainer._kv_initialized:
            trainer._check_and_rescale_grad(trainer._scale / batch_size)
            trainer._init_kvstore()
        if trainer._params_to_init:
            trainer._init_params()
        mx.nd.waitall()
        self.barrier('the initial values')

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set the learning rate from now on for servers that update the weights (dist_async)."""
        send_learning_rate(self.kvstore, learning_rate)

    def _finish(self) -> None:
        import mxnet as mx
        mx.nd.waitall()

    def _leave(self) -> None:
        import mxnet as mx
        # MXNet leaves when the store is freed, and then waits for the others. Python would free it at an
        # arbitrary time, or never.
        self.kvstore.__del__()
        self.kvstore.handle = mx.base.KVStoreHandle()


# ---------------------------------------------------------------------------- joining a run

def join_run(name: str) -> SingleProcess | MxnetWorkerGroup:
    """Join a run with MXNet's key-value store ``name``.

    In a scheduler or server, it serves until the run ends, then ends the process. Call it before importing
    MXNet, which would otherwise start serving in its own way.

    Parameters
    ----------
    name : str
        One of `KVSTORES`.

    Returns
    -------
    SingleProcess or MxnetWorkerGroup
        `SingleProcess` for a single-process store, `MxnetWorkerGroup` in a worker of a distributed run.

    Raises
    ------
    OpenatacError
        If the name or the DMLC_* variables are wrong, or nobody answers.
    """
    if name not in KVSTORES:
        raise OpenatacError(f'there is no key-value store {name!r}: choose from {", ".join(KVSTORES)}')
    if not name.startswith('dist'):
        if os.environ.get('DMLC_ROLE', 'worker') != 'worker':
            raise OpenatacError(f'this process is the {os.environ["DMLC_ROLE"]} of a distributed run, and '
                                f'the key-value store {name!r} is for one process: choose dist_sync, '
                                'dist_device_sync or dist_async')
        return SingleProcess(name)
    rendezvous = read_rendezvous(os.environ, name)
    set_addresses(rendezvous)
    if rendezvous.role != 'worker':
        _serve(rendezvous)
    import mxnet  # noqa: F401  (its exit handler, registered before ours, runs after it)
    return join_group(Member(rendezvous), functools.partial(MxnetWorkerGroup, name))


def _serve(rendezvous: Rendezvous) -> NoReturn:
    """Act as scheduler or server until the run ends, then end the process."""
    from openatac.distributed.hub import Hub
    connection: Hub | Member
    if rendezvous.role == 'scheduler':
        hub = connection = Hub(rendezvous)
        leave = hub.wait_until_empty
        _pass_on_signals(hub.ask_to_stop)
    else:
        # Only the workers are asked to stop, and they need the servers until they have stopped.
        for number in RUN_STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        connection = Member(rendezvous)
        leave = connection.leave

    def fail(message: str) -> NoReturn:
        connection.fail(message)
        exit_process(message)

    try:
        serve(rendezvous.role, connection.wait_for_all, fail)
    except ImportError as error:
        fail(str(error))
    except Exception as error:
        traceback.print_exc()
        fail(f'{type(error).__name__}: {last_line(error)}')
    leave()
    exit_process(None, 0)


def _pass_on_signals(ask_to_stop: Callable[[int], object]) -> None:
    """Make `RUN_STOP_SIGNALS` ask the workers to stop while the main thread is in MXNet's C++."""
    received, sender = socket.socketpair()
    sender.setblocking(False)
    for number in RUN_STOP_SIGNALS:
        signal.signal(number, lambda *_: None)  # without a handler nothing would be written
    signal.set_wakeup_fd(sender.fileno())

    def pass_on(_: socket.socket) -> None:
        while True:
            ask_to_stop(received.recv(1)[0])

    threading.Thread(target=pass_on, args=(sender,), daemon=True).start()  # it keeps the sender open
