"""A tiny training script for tests of `openatac.distributed.kvstore` and of the launcher.

    python tests/helpers/processes/cluster_worker.py KVSTORE [ACTION ...]   # runs the actions in turn

The lines that a worker prints begin with its rank.
"""
import os
import signal
import sys
import time

from openatac.distributed.cluster import end_run
from openatac.distributed.kvstore import join_run
from openatac.errors import OpenatacError

STEPS = 3


def add_up(cluster):
    """Push (rank + 1) * step from each worker; print the sums that come back."""
    import mxnet as mx
    value = mx.nd.zeros(4)
    cluster.kvstore.init(1000, value)
    sums = []
    for step in range(1, STEPS + 1):
        cluster.kvstore.pushpull(1000, mx.nd.ones(4) * (cluster.rank + 1) * step, out=value)
        sums.append(float(value[0].asscalar()))
    say(cluster, 'sums', sums)


def gather(cluster):
    """Gather messages of all kinds, including a large one, in the order of ranks."""
    everyone = cluster.gather({'rank': cluster.rank, 'text': 'é', 'number': 0.1, 'nothing': None})
    large = cluster.gather(str(cluster.rank) * 300000, 'something large')
    cluster.barrier()
    say(cluster, 'gathered', [message['rank'] for message in everyone],
        everyone[0]['text'] == 'é' and everyone[0]['number'] == 0.1, [set(text) for text in large],
        [len(text) for text in large])


def mismatch(cluster):
    cluster.check_alike({'lr': 0.1 * (1 + cluster.rank), 'seed': 1, f'only{cluster.rank}': True})


def alike(cluster):
    cluster.check_alike({'lr': 0.1, 'layers': [1, 2]})
    say(cluster, 'alike')


def stuck(cluster):
    """Block in MXNet's C++ forever: worker 1 waits for a push that worker 0 never makes."""
    import mxnet as mx
    value = mx.nd.zeros(4)
    cluster.kvstore.init(2000, value)
    if cluster.rank:
        cluster.kvstore.pushpull(2000, mx.nd.ones(4), out=value)  # MXNet's threads wait from here on
    say(cluster, 'stuck', os.getpid())
    if cluster.rank:
        value.asnumpy()
    time.sleep(300)


def sentence(cluster):
    if cluster.rank:
        raise OpenatacError('the loss became nan')
    stuck(cluster)


def crash(cluster):
    if cluster.rank:
        raise RuntimeError('a bug')
    stuck(cluster)


def leave(cluster):
    if cluster.rank:
        sys.exit(3)
    stuck(cluster)


def unequal(cluster):
    """Do one step more in worker 1 than in worker 0."""
    for _ in range(2 + cluster.rank):
        cluster.gather(None, 'a step')


def train(cluster):
    """Take two steps of weight decay alone, from which biases are exempt, and print the values.

    There are many parameters, and each worker initialises them differently: all must get worker 0's values.
    """
    import mxnet as mx
    net = mx.gluon.nn.HybridSequential()
    net.add(*[mx.gluon.nn.Dense(2, in_units=2) for _ in range(20)])
    net.initialize(mx.init.Constant(1 + cluster.rank))
    for layer in net:
        layer.bias.wd_mult = 0
        layer.bias.set_data(mx.nd.full(2, 1 + cluster.rank))
    trainer = mx.gluon.Trainer(net.collect_params(), 'nag', {'learning_rate': 0.5, 'wd': 0.1},
                               kvstore=cluster.kvstore, update_on_kvstore=cluster.is_asynchronous)
    cluster.prepare(trainer, 1)
    for rate in (0.5, 0.25):
        if cluster.is_asynchronous:
            cluster.set_learning_rate(rate)
        trainer.set_learning_rate(rate)
        with mx.autograd.record():
            loss = (net(mx.nd.zeros((1, 2))) * 0).sum()
        loss.backward()
        trainer.step(1)
        mx.nd.waitall()
        cluster.barrier()
    if cluster.is_asynchronous:
        for index, (_, parameter) in enumerate(sorted(net.collect_params().items())):  # as in the trainer
            cluster.kvstore.pull(index, out=parameter.data())
    for name in ('weight', 'bias'):
        values = mx.nd.concat(*[getattr(layer, name).data().reshape(-1) for layer in net], dim=0).asnumpy()
        say(cluster, name, sorted({round(float(value), 6) for value in values}))


def loop(cluster):
    """Train until this process or the run is asked to stop, and all workers agree."""
    asked = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: asked.append(number))
    say(cluster, 'looping', os.getpid())
    while not any(cluster.gather(max(asked, default=cluster.stop_signal), 'a step')):
        time.sleep(0.02)
    time.sleep(0.5)  # writes its checkpoint
    say(cluster, 'checkpoint written')
    end_run('stopped by a signal', 143)


def say(cluster, *words):
    print(cluster.rank, *words, flush=True)


ACTIONS = {action.__name__: action for action in (
    add_up, gather, mismatch, alike, stuck, sentence, crash, leave, unequal, train, loop)}


def main(kvstore, *actions):
    cluster = join_run(kvstore)
    for action in actions:
        ACTIONS[action](cluster)
    cluster.close()


if __name__ == '__main__':
    try:
        main(*sys.argv[1:])
    except OpenatacError as error:
        end_run(str(error))
