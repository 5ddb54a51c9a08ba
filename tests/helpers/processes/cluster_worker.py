"""A tiny training script for tests of `openatac.distributed.kvstore` and of the launcher.

    python tests/helpers/processes/cluster_worker.py KVSTORE [ACTION ...]   # runs the actions in turn

The lines that a worker prints begin with its rank.
"""
import os
import signal
import sys
import time

from openatac.distributed.kvstore import join_run
from openatac.distributed.member_group import end_run
from openatac.errors import OpenatacError
from openatac.training.stopping import STEP

STEPS = 3


def add_up(group):
    """Push (rank + 1) * step from each worker; print the sums that come back."""
    import mxnet as mx
    value = mx.nd.zeros(4)
    group.kvstore.init(1000, value)
    sums = []
    for step in range(1, STEPS + 1):
        group.kvstore.pushpull(1000, mx.nd.ones(4) * (group.rank + 1) * step, out=value)
        sums.append(float(value[0].asscalar()))
    say(group, 'sums', sums)


def gather(group):
    """Gather messages of all kinds, including a large one, in the order of ranks."""
    everyone = group.gather({'rank': group.rank, 'text': 'é', 'number': 0.1, 'nothing': None})
    large = group.gather(str(group.rank) * 300000, 'something large')
    group.barrier()
    say(group, 'gathered', [message['rank'] for message in everyone],
        everyone[0]['text'] == 'é' and everyone[0]['number'] == 0.1, [set(text) for text in large],
        [len(text) for text in large])


def mismatch(group):
    group.check_alike({'lr': 0.1 * (1 + group.rank), 'seed': 1, f'only{group.rank}': True})


def alike(group):
    group.check_alike({'lr': 0.1, 'layers': [1, 2]})
    say(group, 'alike')


def stuck(group):
    """Block in MXNet's C++ forever: worker 1 waits for a push that worker 0 never makes."""
    import mxnet as mx
    value = mx.nd.zeros(4)
    group.kvstore.init(2000, value)
    if group.rank:
        group.kvstore.pushpull(2000, mx.nd.ones(4), out=value)  # MXNet's threads wait from here on
    say(group, 'stuck', os.getpid())
    if group.rank:
        value.asnumpy()
    time.sleep(300)


def sentence(group):
    if group.rank:
        raise OpenatacError('the loss became nan')
    stuck(group)


def crash(group):
    if group.rank:
        raise RuntimeError('a bug')
    stuck(group)


def leave(group):
    if group.rank:
        sys.exit(3)
    stuck(group)


def unequal(group):
    """Take one more step in worker 1 than in worker 0."""
    for _ in range(2 + group.rank):
        group.gather(None, STEP)


def train(group):
    """Take two steps of weight decay alone, from which biases are exempt, and print the values.

    There are many parameters, and each worker initialises them differently: all must get worker 0's values.
    """
    import mxnet as mx
    net = mx.gluon.nn.HybridSequential()
    net.add(*[mx.gluon.nn.Dense(2, in_units=2) for _ in range(20)])
    net.initialize(mx.init.Constant(1 + group.rank))
    for layer in net:
        layer.bias.wd_mult = 0
        layer.bias.set_data(mx.nd.full(2, 1 + group.rank))
    trainer = mx.gluon.Trainer(net.collect_params(), 'nag', {'learning_rate': 0.5, 'wd': 0.1},
                               kvstore=group.kvstore, update_on_kvstore=group.is_asynchronous)
    group.prepare(trainer, 1)
    for rate in (0.5, 0.25):
        if group.is_asynchronous:
            group.set_learning_rate(rate)
        trainer.set_learning_rate(rate)
        with mx.autograd.record():
            loss = (net(mx.nd.zeros((1, 2))) * 0).sum()
        loss.backward()
        trainer.step(1)
        mx.nd.waitall()
        group.barrier()
    if group.is_asynchronous:
        for index, (_, parameter) in enumerate(sorted(net.collect_params().items())):  # as in the trainer
            group.kvstore.pull(index, out=parameter.data())
    for name in ('weight', 'bias'):
        values = mx.nd.concat(*[getattr(layer, name).data().reshape(-1) for layer in net], dim=0).asnumpy()
        say(group, name, sorted({round(float(value), 6) for value in values}))


def loop(group):
    """Train until this process or the run is asked to stop, and all workers agree."""
    asked = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: asked.append(number))
    say(group, 'looping', os.getpid())
    while not any(group.gather(max(asked, default=group.stop_signal), STEP)):
        time.sleep(0.02)
    time.sleep(0.5)  # writes its checkpoint
    say(group, 'checkpoint written')
    end_run('stopped by a signal', 143)


def say(group, *words):
    print(group.rank, *words, flush=True)


ACTIONS = {action.__name__: action for action in (
    add_up, gather, mismatch, alike, stuck, sentence, crash, leave, unequal, train, loop)}


def main(kvstore, *actions):
    group = join_run(kvstore)
    for action in actions:
        ACTIONS[action](group)
    group.close()


if __name__ == '__main__':
    try:
        main(*sys.argv[1:])
    except OpenatacError as error:
        end_run(str(error))
