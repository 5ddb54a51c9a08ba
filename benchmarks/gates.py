"""How fast networks with gates train on the CPU, compared with the same network with plain ReLUs.

    python benchmarks/gates.py

Images per second of whole training steps of a hybridized ResNet-8 on batches of 128 random images: with ReLU,
with each attention block over ReLU, with ATAC, and with ATAC's global gate. They run in the form that
training gives them (openatac.backends.mxnet.cpu_graph) or, with plain: before the name, as they are. The
networks take turns, so that noise affects all alike; a speed is the median of the rounds, after a warm-up.
Writes results/gates_training.csv and prints the table of docs/reference/speed.md.
"""
import argparse
import statistics
import time
from pathlib import Path

import openatac  # (makes MXNet import, and sets its threads)
from openatac.files.csv_file import write_csv
from openatac.study.bench.machine import machine
from openatac.text import markdown_table

ROOT = Path(__file__).resolve().parent.parent
FIELDS = 'network', 'operators', 'images_per_second', 'range', 'rounds', 'threads', 'versions'

DEFAULT = ['plain:relu', 'plain:se', 'plain:atac', 'plain:atac_global', 'relu', 'se', 'atac', 'atac_global']


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('names', nargs='*', default=DEFAULT,
                   help='relu, atac, atac_global or attention blocks, maybe with plain: before the name '
                   f'(default: {" ".join(DEFAULT)})')
    p.add_argument('--rounds', type=int, default=5)
    p.add_argument('--steps', type=int, default=20, help='training steps a round (default: %(default)s)')
    p.add_argument('--output', default=str(ROOT / 'results' / 'gates_training.csv'))
    args = p.parse_args()
    steps = {name: training_step(network(name.replace('plain:', '')), name.startswith('plain:'))
             for name in args.names}
    speeds = {name: [] for name in steps}
    for step in steps.values():
        images_per_second(step, 3)
    for _ in range(args.rounds):
        for name, step in steps.items():
            speeds[name].append(images_per_second(step, args.steps))
    here = machine()
    rows = [dict(zip(FIELDS, (
        name.replace('plain:', ''), "MXNet's" if name.startswith('plain:') else 'ours',
        f'{statistics.median(speed):.0f}', f'{min(speed):.0f} to {max(speed):.0f}', args.rounds,
        here['threads'], f'{here["versions"]}, openatac {openatac.__version__}')))
            for name, speed in speeds.items()]
    write_csv(args.output, FIELDS, rows)
    print(markdown_table(FIELDS[:4], ([*row.values()][:4] for row in rows)))


def network(name):
    """A ResNet-8 with the gates that ``name`` stands for."""
    from openatac.models.cifar_resnet import ResNet20V2ATAC
    if name in ('atac', 'atac_global'):
        return ResNet20V2ATAC([1] * 3, useGlobal=name == 'atac_global')
    return ResNet20V2ATAC([1] * 3, act_type='relu', attention=None if name == 'relu' else name)


def training_step(net, plain, batch=128):
    """A function that trains ``net``, in the form that training gives it or ``plain``, by one step."""
    import mxnet as mx
    import numpy as np
    from mxnet import autograd, gluon

    from openatac.backends.mxnet.cpu_graph import faster_network
    net.initialize(mx.init.MSRAPrelu())
    net.hybridize(static_alloc=True)
    rng = np.random.RandomState(0)
    x, y = mx.nd.array(rng.randn(batch, 3, 32, 32)), mx.nd.array(rng.randint(0, 10, batch))
    loss_function = gluon.loss.SoftmaxCrossEntropyLoss()
    net(x)
    form = net if plain else faster_network(net, x.shape[1:])
    form.hybridize(static_alloc=True)
    trainer = gluon.Trainer(net.collect_params(), 'nag', {'learning_rate': 0.01, 'momentum': 0.9})

    def step():
        with autograd.record():
            loss = loss_function(form(x), y)
        loss.backward()
        trainer.step(batch)
    step.batch = batch
    return step


def images_per_second(step, steps):
    import mxnet as mx
    mx.nd.waitall()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    mx.nd.waitall()
    return step.batch * steps / (time.perf_counter() - start)


if __name__ == '__main__':
    main()
