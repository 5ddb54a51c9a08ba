"""The model of `openatac plan` against a measured run of two workers and a server on this machine.

    python benchmarks/two_processes.py

Measures the speed of two processes that train independently side by side, the time of one push and pull of
the network's gradients, and a step in which the two train together. Writes results/two_processes.csv. All
share this machine's cores, so the figures show how well the parts add up, not how fast a network of machines
is.
"""
import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from openatac.files.csv_file import write_csv

ROOT = Path(__file__).resolve().parent.parent
LAUNCH = [sys.executable, '-m', 'openatac', 'launch', '-n', '2', '-s', '1', '--', sys.executable]
BATCH, STEPS, SIZE = 8, 20, 96


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--repeat', type=int, default=3)
    p.add_argument('--output', default=str(ROOT / 'results' / 'two_processes.csv'))
    p.add_argument('--exchange', action='store_true', help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.exchange:
        return exchange()
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(make_photos(folder), folder) for _ in range(args.repeat)]
    medians = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    write_csv(args.output, [*medians, 'n', 'machine'], [{
        **{name: f'{value:.3f}' for name, value in medians.items()}, 'n': len(rows),
        'machine': f'{os.cpu_count()} processors, one thread each process'}])
    print(f'one step alone {medians["alone_s"]:.3f} s, one exchange alone {medians["exchange_s"]:.3f} s, '
          f'together {medians["measured_s"]:.3f} s measured and {medians["model_s"]:.3f} s by the model')


def measure(photos, folder):
    from openatac.study.plan.estimate import trainable_parameters
    from openatac.study.plan.step_time import Setup, step
    parameters = trainable_parameters('resnet50_v1b_atac')
    script = [str(ROOT / 'train_imagenet.py'), '--data-dir', photos, '--num-classes', '1000', '--input-size',
              str(SIZE), '--batch-size', str(BATCH), '-j', '0', '--dry-run', str(STEPS)]

    def flags(name):
        place = os.path.join(folder, name)
        return ['--save-dir', place, '--logging-file', place + '.log']

    side_by_side = [start([sys.executable, *script, *flags(name)]) for name in 'ab']
    alone = statistics.mean(seconds_per_step(output(process)) for process in side_by_side)
    sending = float(re.search(r'exchange ([\d.]+)', output(start([*LAUNCH, __file__, '--exchange'])))[1])
    together = seconds_per_step(output(start([*LAUNCH, *script, *flags('c'), '--kvstore', 'dist_sync'])))
    # The model's server takes both workers' gradients through one link.
    bandwidth = 2 * 4 * parameters / sending * 8 / 1e9
    model = step(Setup(gpus=2, gpus_per_machine=1, servers=1, bandwidth=bandwidth, dtype='float32',
                       images_per_second=BATCH / alone, batch_size=BATCH, parameters=parameters)).seconds
    return {'alone_s': alone, 'exchange_s': sending, 'measured_s': together, 'model_s': model,
            'measured_to_model': together / model}


def start(command):
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                            env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)})


def output(process):
    text = process.communicate()[0]
    assert process.returncode == 0, f'a run failed: {text}'
    return text


def seconds_per_step(table):
    return float(re.search(r'train on +\d+ +[\d.]+ +([\d.]+)', table)[1])


def make_photos(folder):
    """A --data-dir of noise, for 1000 classes of which a few have images."""
    from PIL import Image
    root = os.path.join(folder, 'photos')
    rng = np.random.RandomState(0)
    for split in ('train', 'val'):
        for label in range(1000):
            place = os.path.join(root, split, f'{label:04}')
            os.makedirs(place, exist_ok=True)
            if label < 2 * BATCH:
                pixels = rng.randint(0, 256, (SIZE, SIZE, 3)).astype('uint8')
                Image.fromarray(pixels).save(os.path.join(place, '0.jpg'))
    return root


def exchange(times=10):
    """A worker's part in pushing and pulling arrays of the gradients' sizes; prints seconds for one."""
    from openatac.distributed import workers
    cluster = workers.join_run('dist_sync')
    import mxnet as mx

    from openatac.models.resnet_v1b import ResNet50_v1bATAC
    net = ResNet50_v1bATAC()
    net.initialize()
    net(mx.nd.zeros((1, 3, SIZE, SIZE)))
    gradients = [mx.nd.ones(parameter.shape) for parameter in net.collect_params().values()
                 if parameter.grad_req != 'null']
    for key, gradient in enumerate(gradients):
        cluster.kvstore.init(key, gradient)
    for count in range(times + 2):
        if count == 2:  # after warm-up
            mx.nd.waitall()
            cluster.barrier()
            began = time.perf_counter()
        for key, gradient in enumerate(gradients):
            cluster.kvstore.push(key, gradient, priority=-key)
            cluster.kvstore.pull(key, gradient, priority=-key)
    mx.nd.waitall()
    if cluster.rank == 0:
        print(f'exchange {(time.perf_counter() - began) / times:.4f}')
    cluster.close()


if __name__ == '__main__':
    main()
