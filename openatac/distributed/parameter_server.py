"""MXNet's scheduler and server processes, without its pickles.

MXNet's own server unpickles, and so executes, whatever a worker or a stranger sends it as an
optimizer. Ours is run by `serve` and knows two commands, both JSON: make one of MXNet's optimizers,
and set its learning rate. `send_optimizer` and `send_learning_rate` are the workers' end of it.
Gradients and weights travel through MXNet's own C++, as ever.
"""
import ctypes
import json
import os

from openatac.errors import OpenatacError


def serve(role, wait_for_all, fail):
    """Run this process's role to the end of the run, once ``wait_for_all()`` returns.

    role : 'scheduler' or 'server'
    fail : called with a sentence when a command can't be carried out; does not return
    """
    # Under its role's name the import itself would become MXNet's server, and never return.
    del os.environ['DMLC_ROLE']
    import mxnet as mx
    from mxnet.base import _LIB, check_call
    os.environ['DMLC_ROLE'] = role
    wait_for_all()
    store = mx.kv.create('dist')
    commands = _Commands(store, fail)
    kind = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
    callback = kind(lambda head, body, _: commands.obey(body))
    check_call(_LIB.MXKVStoreRunServer(store.handle, callback, None))


class _Commands:
    """What a server does for the workers beside adding up."""

    def __init__(self, store, fail):
        self.store, self.fail, self.optimizer, self.rate = store, fail, None, None

    def obey(self, body):
        """Carry out one command; a callback of C++, to which no error may get through."""
        try:
            command = json.loads(body)
            if 'optimizer' in command:
                self.optimizer = make_optimizer(command['optimizer'])
                self.store.set_optimizer(self.optimizer)
            else:
                self.rate = float(command['learning_rate'])
            if self.optimizer and self.rate is not None:
                self.optimizer.set_learning_rate(self.rate)
        except Exception as error:
            self.fail('the server was sent a command that is none (%s: %s): send optimizers of MXNet '
                      'through the store that openatac.distributed.workers gives'
                      % (type(error).__name__, error))


def describe_optimizer(optimizer):
    """An optimizer as JSON-able values, from which `make_optimizer` makes its equal.

    Raises OpenatacError if it is not one of MXNet's own, or holds more than plain values.
    """
    values = dict(optimizer.__getstate__())
    if type(optimizer).__module__ != 'mxnet.optimizer.optimizer' or values.pop('lr_scheduler') is not None:
        raise OpenatacError('%s cannot be sent to the servers: choose one of MXNet, and set its rate by '
                            'set_learning_rate instead of a scheduler' % type(optimizer).__name__)
    for name in ('sym_info', '_all_index_update_counts', '_index_update_count'):
        values.pop(name, None)
    # What each parameter asks for by itself (no decay of biases) would otherwise stay behind.
    for name in ('lr_mult', 'wd_mult'):
        own = {index: getattr(parameter, name) for index, parameter in optimizer.param_dict.items()}
        values[name] = list({**values[name], **own}.items())
    values['idx2name'] = list(values['idx2name'].items())
    try:
        json.dumps(values)
    except (TypeError, ValueError):
        raise OpenatacError('%s cannot be sent to the servers: its settings must be plain numbers'
                            % type(optimizer).__name__) from None
    return {'name': type(optimizer).__name__, 'values': values}


def make_optimizer(description):
    """The optimizer that `describe_optimizer` described."""
    import mxnet as mx
    values = dict(description['values'])
    for name in ('lr_mult', 'wd_mult', 'idx2name'):
        values[name] = dict(values[name])
    optimizer = mx.optimizer.create(description['name'])
    unknown = set(values) - set(vars(optimizer))
    if unknown:
        raise ValueError('%s has no %s' % (description['name'], ', '.join(sorted(unknown))))
    vars(optimizer).update(values)
    return optimizer


def send_optimizer(store, optimizer):
    """Let the servers update the weights by ``optimizer``; in place of the store's own set_optimizer."""
    _send(store, {'optimizer': describe_optimizer(optimizer)})
    if optimizer.multi_precision:
        store._send_command_to_servers(1, '')  # kSetMultiPrecision, which has no Python in it


def send_learning_rate(store, rate):
    """Let the servers go on with another learning rate."""
    _send(store, {'learning_rate': float(rate)})


def _send(store, command):
    store._send_command_to_servers(0, json.dumps(command))  # the one command that reaches Python
