"""MXNet's scheduler and server processes, without its pickles.

MXNet's own server unpickles, and so executes, whatever anyone sends it as an optimizer. Ours, run by `serve`,
accepts two commands, both in JSON: create one of MXNet's optimizers, and set its learning rate. Workers send
them with `send_optimizer` and `send_learning_rate`. Gradients and weights travel through MXNet's own C++, as
usual.
"""
from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Callable
from typing import Any

from openatac.errors import OpenatacError


def serve(role: str, wait_for_all: Callable[[], object], fail: Callable[[str], object]) -> None:
    """Wait for ``wait_for_all()``, then act in this process's role until the run ends.

    Parameters
    ----------
    role : str
        'scheduler' or 'server'.
    wait_for_all : function
    fail : function
        Called with a message if a command cannot be executed; does not return.
    """
    # With the role in the environment, importing MXNet would start MXNet's own server and never return.
    del os.environ['DMLC_ROLE']
    import mxnet as mx
    from mxnet.base import _LIB, check_call
    os.environ['DMLC_ROLE'] = role
    wait_for_all()
    store = mx.kv.create('dist')
    commands = _Commands(store, fail)
    kind = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
    callback = kind(lambda head, body, _: commands.execute(body))
    check_call(_LIB.MXKVStoreRunServer(store.handle, callback, None))


class _Commands:
    """Executes the commands of workers on a server."""

    def __init__(self, store: Any, fail: Callable[[str], object]) -> None:
        self.store, self.fail = store, fail
        self.optimizer: Any = None
        self.learning_rate: float | None = None

    def execute(self, body: bytes) -> None:
        """Execute one command; must not raise, because C++ calls it."""
        try:
            command = json.loads(body)
            if 'optimizer' in command:
                self.optimizer = make_optimizer(command['optimizer'])
                self.store.set_optimizer(self.optimizer)
            else:
                self.learning_rate = float(command['learning_rate'])
            if self.optimizer and self.learning_rate is not None:
                self.optimizer.set_learning_rate(self.learning_rate)
        except Exception as error:
            self.fail(f'the server received an unknown command ({type(error).__name__}: {error}): send '
                      'optimizers of MXNet through the store of openatac.distributed.kvstore')


def describe_optimizer(optimizer: Any) -> dict[str, Any]:
    """Describe an optimizer with JSON-serializable values, from which `make_optimizer` rebuilds it.

    Raises
    ------
    OpenatacError
        If it is not one of MXNet's own, or its settings are not plain values.
    """
    values = dict(optimizer.__getstate__())
    if type(optimizer).__module__ != 'mxnet.optimizer.optimizer' or values.pop('lr_scheduler') is not None:
        raise OpenatacError(f'{type(optimizer).__name__} cannot be sent to the servers: choose one of '
                            "MXNet's, without a scheduler, and call set_learning_rate instead")
    for name in ('sym_info', '_all_index_update_counts', '_index_update_count'):
        values.pop(name, None)
    # Settings of individual parameters (no weight decay for biases) would otherwise be lost.
    for name in ('lr_mult', 'wd_mult'):
        own = {index: getattr(parameter, name) for index, parameter in optimizer.param_dict.items()}
        values[name] = list({**values[name], **own}.items())
    values['idx2name'] = list(values['idx2name'].items())
    try:
        json.dumps(values)
    except (TypeError, ValueError):
        raise OpenatacError(f'{type(optimizer).__name__} cannot be sent to the servers: its settings must be '
                            'plain numbers') from None
    return {'name': type(optimizer).__name__, 'values': values}


def make_optimizer(description: dict[str, Any]) -> Any:
    """Rebuild the optimizer that `describe_optimizer` described."""
    import mxnet as mx
    values = dict(description['values'])
    for name in ('lr_mult', 'wd_mult', 'idx2name'):
        values[name] = dict(values[name])
    optimizer = mx.optimizer.create(description['name'])
    unknown = set(values) - set(vars(optimizer))
    if unknown:
        raise ValueError(f'{description["name"]} has no {", ".join(sorted(unknown))}')
    vars(optimizer).update(values)
    return optimizer


def send_optimizer(store: Any, optimizer: Any) -> None:
    """Make the servers update the weights with ``optimizer``; replaces the store's own set_optimizer."""
    _send(store, {'optimizer': describe_optimizer(optimizer)})
    if optimizer.multi_precision:
        store._send_command_to_servers(1, '')  # kSetMultiPrecision, which C++ executes


def send_learning_rate(store: Any, learning_rate: float) -> None:
    """Set the learning rate that the servers use from now on."""
    _send(store, {'learning_rate': float(learning_rate)})


def _send(store: Any, command: dict[str, Any]) -> None:
    store._send_command_to_servers(0, json.dumps(command))  # 0 is the one command that reaches Python
