"""How fast the engines train on this CPU, in turns: MXNet, and PyTorch in three ways.

    python benchmarks/training_engines.py

Each engine has its own process, which waits while another computes. In every round each takes the same
number of steps, on random images, and is compared with MXNet's time in that round. Writes
results/training_engines.csv and prints the table of docs/reference/speed.md.
"""
import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import openatac
from openatac.files.csv_file import write_csv
from openatac.study.bench.machine import machine
from openatac.text import markdown_table

ROOT = Path(__file__).resolve().parent.parent
NETWORKS = 'cifar_resnet8_v2_relu', 'cifar_resnet8_v2_atac', 'cifar_resnet20_v2_atac'
ENGINES = {  # the value of --engine, whether the network is of plain modules, and --compile
    'MXNet': ('mxnet', False, False),
    'PyTorch, modules': ('torch', True, False),
    'PyTorch, converted graph': ('torch', False, False),
    'PyTorch, modules, --compile': ('torch', True, True),
}
BATCH, STEPS = 128, 5
FIELDS = ('network', 'engine', 'images_per_second', 'range', 'ratio_to_mxnet', 'ratio_range', 'rounds',
          'threads', 'versions')


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--networks', default=','.join(NETWORKS), help='default: %(default)s')
    p.add_argument('--rounds', type=int, default=5, help='default: %(default)s')
    p.add_argument('--output', default=str(ROOT / 'results' / 'training_engines.csv'))
    p.add_argument('--worker', nargs=2, metavar=('NETWORK', 'ENGINE'), help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.worker:
        return work(*args.worker)
    rows = [row for name in args.networks.split(',') for row in measure(name, args.rounds)]
    write_csv(args.output, FIELDS, rows)
    print(markdown_table(FIELDS[:6], ([*row.values()][:6] for row in rows)))


def measure(name, rounds):
    """Yield a row for each engine."""
    workers = {engine: subprocess.Popen([sys.executable, __file__, '--worker', name, engine], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE) for engine in ENGINES}
    seconds = {engine: [] for engine in ENGINES}
    for turn in range(-1, rounds):  # the first one warms up
        for engine, worker in workers.items():
            worker.stdin.write('go\n')
            worker.stdin.flush()
            answer = float(worker.stdout.readline())
            if turn >= 0:
                seconds[engine].append(answer)
    for worker in workers.values():
        worker.communicate()
    for engine, times in seconds.items():
        speeds = [BATCH * STEPS / each for each in times]
        ratios = [base / each for base, each in zip(seconds['MXNet'], times)]
        yield dict(zip(FIELDS, (
            name, engine, f'{statistics.median(speeds):.0f}', f'{min(speeds):.0f} to {max(speeds):.0f}',
            f'{statistics.median(ratios):.2f}', f'{min(ratios):.2f} to {max(ratios):.2f}', rounds,
            os.environ.get('OMP_NUM_THREADS', 'default'),
            f'{machine()["versions"]}, openatac {openatac.__version__}')))


def work(name, engine):
    """Take steps for each line of the input, and print their seconds."""
    learner = make_learner(name, engine)
    random = np.random.RandomState(0)
    images = random.randn(BATCH, 3, 32, 32).astype('float32')
    labels = random.randint(0, 10, BATCH)
    for _ in range(2):
        learner.train_batch(images, labels, 0.1)
    learner.wait()
    for _ in sys.stdin:
        start = time.perf_counter()
        for _ in range(STEPS):
            learner.train_batch(images, labels, 0.1)
        learner.read_metrics()
        learner.wait()
        print(time.perf_counter() - start, flush=True)


def make_learner(name, label):
    from openatac.backends.base import open_backend
    from openatac.backends.compute import Compute
    from openatac.pytorch import get_model
    from openatac.pytorch.nn.normalisation import use_biased_variance
    engine, as_modules, compiled = ENGINES[label]
    net = (get_model if as_modules else openatac.get_model)(name, classes=10)
    if as_modules:
        use_biased_variance(net)  # as --engine torch trains it
    backend = open_backend(net, Compute(engine=engine, compile=compiled), (3, 32, 32), 0, '', fall_back=True)
    backend.initialize()
    return backend.learner({'learning_rate': 0.1, 'momentum': 0.9, 'wd': 1e-4}, {})


if __name__ == '__main__':
    main()
