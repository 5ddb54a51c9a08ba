"""The models of `openatac plan` against a measured run of two processes on this machine.

    python benchmarks/two_processes.py                  # MXNet's parameter server
    python benchmarks/two_processes.py --engine torch   # PyTorch's DistributedDataParallel over gloo

Measures the speed of two processes that train independently side by side, the time of one exchange of the
network's gradients, and a step in which the two train together. Writes results/two_processes.csv or
results/two_processes_torch.csv. All share this machine's cores, so the figures show how well the parts add
up, not how fast a network of machines is; and with PyTorch, what the model hides behind the backward pass
takes time from it.
"""
import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from openatac.files.csv_file import write_csv

ROOT = Path(__file__).resolve().parent.parent
# What starts two processes of a script, and its flags in one process and in two.
ENGINES = {
    'mxnet': ([sys.executable, '-m', 'openatac', 'launch', '-n', '2', '-s', '1', '--', sys.executable],
              [], ['--kvstore', 'dist_sync']),
    'torch': ([sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2'],
              ['--engine', 'torch'], []),
}
BATCH, STEPS, SIZE = 8, 20, 96


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--repeat', type=int, default=3)
    p.add_argument('--engine', choices=ENGINES, default='mxnet')
    p.add_argument('--output', help='by default in results/')
    p.add_argument('--exchange', choices=ENGINES, help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.exchange:
        return {'mxnet': push_and_pull, 'torch': all_reduce}[args.exchange]()
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(args.engine, make_photos(folder), folder) for _ in range(args.repeat)]
    medians = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    default = ROOT / 'results' / f'two_processes{"_torch" if args.engine == "torch" else ""}.csv'
    write_csv(args.output or str(default), [*medians, 'n', 'machine'], [{
        **{name: f'{value:.3f}' for name, value in medians.items()}, 'n': len(rows),
        'machine': f'{os.cpu_count()} processors, one thread each process'}])
    print(f'one step alone {medians["alone_s"]:.3f} s, one exchange alone {medians["exchange_s"]:.3f} s, '
          f'together {medians["measured_s"]:.3f} s measured and {medians["model_s"]:.3f} s by the model')


def measure(engine, photos, folder):
    from openatac.study.plan.estimate import trainable_parameters
    from openatac.study.plan.step_time import PlannedRun, estimate_step
    parameters = trainable_parameters('resnet50_v1b_atac')
    launch, flags_of_one, flags_of_two = ENGINES[engine]
    script = [str(ROOT / 'train_imagenet.py'), '--data-dir', photos, '--num-classes', '1000', '--input-size',
              str(SIZE), '--batch-size', str(BATCH), '-j', '0', '--dry-run', str(STEPS), *flags_of_one]

    def flags(name):
        place = os.path.join(folder, name)
        return ['--save-dir', place, '--logging-file', place + '.log']

    side_by_side = [start([sys.executable, *script, *flags(name)]) for name in 'ab']
    alone = statistics.mean(seconds_per_step(output(process)) for process in side_by_side)
    sending = float(re.search(r'exchange ([\d.]+)',
                              output(start([*launch, __file__, '--exchange', engine])))[1])
    together = seconds_per_step(output(start([*launch, *script, *flags('c'), *flags_of_two])))
    run = PlannedRun(gpus=2, gpus_per_machine=1, bandwidth=4 * parameters / sending * 8 / 1e9,
                     dtype='float32', images_per_second=BATCH / alone, batch_size=BATCH,
                     parameters=parameters)
    if engine == 'mxnet':  # the model's server takes both workers' gradients through one link
        run = run._replace(servers=1, bandwidth=2 * run.bandwidth)
    model = estimate_step(run._replace(ddp=engine == 'torch')).seconds
    return {'alone_s': alone, 'exchange_s': sending, 'measured_s': together, 'model_s': model,
            'measured_to_model': together / model}


def start(command):
    # In a session of its own, as the launchers do: a busy Linux divides its cores among sessions.
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                            start_new_session=True,
                            env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)})


def output(process):
    text = process.communicate()[0]
    assert process.returncode == 0, f'a run failed: {text}'
    return text


def seconds_per_step(table):
    return float(re.search(r'(?m)^train +\d+ +[\d.]+ +([\d.]+)', table)[1])


def make_photos(folder):
    """A --data-dir with a photograph of noise for each of 1000 classes, always the same."""
    from PIL import Image
    root, photo = os.path.join(folder, 'photos'), os.path.join(folder, 'noise.jpg')
    Image.fromarray(np.random.RandomState(0).randint(0, 256, (SIZE, SIZE, 3), 'uint8')).save(photo)
    for split in ('train', 'val'):
        for label in range(1000):
            place = os.path.join(root, split, f'{label:04}')
            os.makedirs(place, exist_ok=True)
            shutil.copy(photo, place)
    return root


def all_reduce(times=10):
    """A process's part in adding up arrays of the gradients' sizes; prints seconds for one."""
    import torch

    from openatac.distributed import torchrun
    from openatac.study.plan.estimate import trainable_parameters
    from openatac.study.plan.step_time import DDP_BUCKET
    group = torchrun.join_run()
    buckets = torch.ones(trainable_parameters('resnet50_v1b_atac')).split(DDP_BUCKET // 4)
    for count in range(times + 2):
        if count == 2:  # after warm-up
            group.barrier()
            began = time.perf_counter()
        for pending in [torch.distributed.all_reduce(bucket, async_op=True) for bucket in buckets]:
            pending.wait()
    if group.rank == 0:
        print(f'exchange {(time.perf_counter() - began) / times:.4f}', flush=True)
    group.close()


def push_and_pull(times=10):
    """A worker's part in pushing and pulling arrays of the gradients' sizes; prints seconds for one."""
    from openatac.distributed import kvstore
    group = kvstore.join_run('dist_sync')
    import mxnet as mx

    from openatac.models.resnet_v1b import ResNet50_v1bATAC
    net = ResNet50_v1bATAC()
    net.initialize()
    net(mx.nd.zeros((1, 3, SIZE, SIZE)))
    gradients = [mx.nd.ones(parameter.shape) for parameter in net.collect_params().values()
                 if parameter.grad_req != 'null']
    for key, gradient in enumerate(gradients):
        group.kvstore.init(key, gradient)
    for count in range(times + 2):
        if count == 2:  # after warm-up
            mx.nd.waitall()
            group.barrier()
            began = time.perf_counter()
        for key, gradient in enumerate(gradients):
            group.kvstore.push(key, gradient, priority=-key)
            group.kvstore.pull(key, gradient, priority=-key)
    mx.nd.waitall()
    if group.rank == 0:
        print(f'exchange {(time.perf_counter() - began) / times:.4f}')
    group.close()


if __name__ == '__main__':
    main()
