"""How fast networks with ReLU, SE and ATAC train and infer in PyTorch, against what the memory allows.

    python benchmarks/gpu_speed.py speed.csv

Training takes the steps of `--engine torch` with batches of 128, as published; inference has batches of 1024.
Each runs eagerly in float32, compiled (torch.compile, with CUDA graphs on a GPU), and compiled in bfloat16.
The file has a row for each as soon as it is measured, after one for the batches of a training run, which are
made on the device; rows that are there are not measured again:

- images_per_second: the median of five rounds, and their range;
- moved_mb: what all operators of a batch read and write when each runs by itself, as eagerly. Fusion saves
  some of it, so the compiled rows say how fast an eager network would have to be;
- bandwidth_share: moved_mb over the time of a batch, as a share of the speed of a copy on the same device;
- difference: from the CPU in float32, of the mean loss of the first three steps or of the logits, over the
  largest of them;
- first_s: seconds of the first batch, in which PyTorch compiles.
"""
import argparse
import copy
import functools
import itertools
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # nothing needs to be installed

import torch  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

from openatac.backends.compute import Compute  # noqa: E402
from openatac.backends.torch.device_batches import DeviceTrainingBatches  # noqa: E402
from openatac.backends.torch.learner import PRECISIONS, TorchLearner  # noqa: E402
from openatac.data.small.image_set import ImageSet  # noqa: E402
from openatac.files.csv_file import read_csv, write_csv  # noqa: E402
from openatac.pytorch import get_model, use_biased_variance  # noqa: E402

UNITS = 'relu', 'atac', 'se'
VARIANTS = {'eager': ('float32', False), 'compiled': ('float32', True), 'bfloat16': ('bfloat16', True)}
OPTIMIZER = {'learning_rate': 0.01, 'momentum': 0.9, 'wd': 1e-4}
STEPS, ROUNDS = 3, 5
COLUMNS = ('unit', 'blocks', 'mode', 'variant', 'batch', 'images_per_second', 'low', 'high', 'moved_mb',
           'bandwidth_share', 'difference', 'first_s', 'error', 'device', 'bandwidth_gb_s', 'torch')


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('output', metavar='FILE.csv')
    p.add_argument('--blocks', type=_list(int), default=[1, 2, 3], help='per stage (default: 1,2,3)')
    p.add_argument('--variants', type=_list(str), default=[*VARIANTS],
                   help=f'some of {",".join(VARIANTS)} (default: all)')
    p.add_argument('--batch-sizes', type=_list(int), default=[128, 1024], metavar='N,N',
                   help='of training and of inference (default: 128,1024)')
    p.add_argument('--seconds', type=float, default=1.0, help='to measure each (default: %(default)s)')
    args = p.parse_args()
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    # As the learner sets them, for inference too.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    sizes = dict(zip(KINDS, args.batch_sizes))
    bandwidth = copy_speed(device)
    about = {'device': torch.cuda.get_device_name() if device == 'cuda' else 'cpu',
             'bandwidth_gb_s': f'{bandwidth / 1e9:.1f}', 'torch': torch.__version__}
    rows = read_csv(args.output) if os.path.isfile(args.output) else [
        {'mode': 'batches', 'batch': sizes['training'], **about,
         **speeds(augmentation(device, sizes['training']), sizes['training'], device, args.seconds)}]
    measured = {tuple(row.get(column) for column in COLUMNS[:4]) for row in rows}
    for blocks, variant, mode, unit in itertools.product(args.blocks, args.variants, KINDS, UNITS):
        if (unit, str(blocks), mode, variant) in measured:
            continue
        row = {'unit': unit, 'blocks': blocks, 'mode': mode, 'variant': variant, 'batch': sizes[mode]}
        try:
            row.update(measure(KINDS[mode], f'cifar_resnet{6 * blocks + 2}_v2_{unit}', device,
                               *VARIANTS[variant], sizes[mode], args.seconds, bandwidth))
        except Exception as error:  # one that fails is a row too
            row['error'] = str(error).split('\n')[0]
        rows.append({**row, **about})
        write_csv(args.output, COLUMNS, rows)
        print({name: value for name, value in row.items() if value}, flush=True)
    if all(row.get('error') for row in rows[1:]):
        sys.exit('error: nothing could be measured')


def _list(kind):
    return lambda text: [kind(word) for word in text.split(',')]


def measure(kind, name, device, dtype, compiled, batch, seconds, bandwidth):
    """{column: value} of one network."""
    torch._dynamo.reset()  # it compiles one function for eight networks at most, and keeps their CUDA graphs
    started = time.perf_counter()
    work = kind(name, device, dtype, compiled, batch)
    work.step()
    wait(device)
    first = time.perf_counter() - started
    for _ in range(STEPS - 1):
        work.step()
    found, expected = work.outcome(), reference(kind, name, batch)
    row = speeds(work.step, batch, device, seconds)
    moved = traffic(kind, name, device, dtype, batch)
    return {**row, 'first_s': f'{first:.2f}', 'moved_mb': f'{moved / 1e6:.1f}',
            'bandwidth_share': f'{moved / batch * float(row["images_per_second"]) / bandwidth:.3f}',
            'difference': f'{np.abs(found - expected).max() / np.abs(expected).max():.1e}'}


# ------------------------------------------------------------------------- what is measured

class Training:
    """Steps of the learner, as train_cifar.py takes them."""

    def __init__(self, name, device, dtype, compiled, batch):
        self.batch = tensors(batch, device)
        self.learner = TorchLearner(network(name), device, OPTIMIZER,
                                    compute=Compute(dtype=dtype, compile=compiled))

    def step(self):
        self.learner.train_batch(*self.batch, OPTIMIZER['learning_rate'])

    def outcome(self):
        return np.array([self.learner.read_metrics().loss])


class Inference:
    """Logits, in the layout and by the compiler's settings of the learner."""

    def __init__(self, name, device, dtype, compiled, batch):
        layout = torch.channels_last if compiled and device == 'cuda' else torch.contiguous_format
        self.images = tensors(batch, device)[0].contiguous(memory_format=layout)
        self.device, self.dtype = device, dtype
        self.net = network(name).to(device, memory_format=layout).eval()
        if compiled:
            self.net = torch.compile(self.net, mode='reduce-overhead' if device == 'cuda' else 'default',
                                     dynamic=False)

    def step(self):
        with torch.no_grad(), torch.autocast(self.device, PRECISIONS[self.dtype], self.dtype != 'float32'):
            return self.net(self.images)

    def outcome(self):
        return self.step().float().cpu().numpy()


KINDS = {'training': Training, 'inference': Inference}


@functools.cache
def _initial(name):
    torch.manual_seed(0)
    return use_biased_variance(get_model(name))


def network(name):
    return copy.deepcopy(_initial(name))


def tensors(batch, device):
    random = np.random.RandomState(0)
    images = torch.from_numpy(random.randn(batch, 3, 32, 32).astype('float32'))
    return images.to(device), torch.from_numpy(random.randint(0, 10, batch)).to(device)


@functools.cache
def reference(kind, name, batch):
    """The outcome in float32 on the CPU."""
    work = kind(name, 'cpu', 'float32', False, batch)
    for _ in range(STEPS):
        work.step()
    return work.outcome()


def augmentation(device, batch):
    """A function that makes the next training batch from CIFAR-10's number of images."""
    images = np.random.RandomState(0).randint(0, 256, (50000, 3, 32, 32), np.uint8)
    batches = DeviceTrainingBatches(ImageSet(images, np.zeros(50000, np.int32), ('0',)), batch, 0, device)
    return functools.partial(next, itertools.chain.from_iterable(map(batches.epoch, itertools.count())))


# --------------------------------------------------------------------------- how it is measured

def speeds(step, batch, device, seconds):
    """{column: images per second} of a function that starts the work of one batch."""
    found = []
    for _ in range(ROUNDS):
        step()
        wait(device)
        count, started = 0, time.perf_counter()
        while not count or time.perf_counter() - started < seconds / ROUNDS:
            step()
            count += 1
        wait(device)
        found.append(count * batch / (time.perf_counter() - started))
    values = statistics.median(found), min(found), max(found)
    return {name: f'{value:.1f}' for name, value in zip(('images_per_second', 'low', 'high'), values)}


def wait(device):
    if device == 'cuda':
        torch.cuda.synchronize()


class Traffic(TorchDispatchMode):
    """Adds up the bytes of all arrays that operators read and write."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.bytes += sum(array.nbytes for array in tree_leaves((args, kwargs, result))
                              if isinstance(array, torch.Tensor))
        return result


@functools.cache
def traffic(kind, name, device, dtype, batch):
    """The bytes of one batch, eagerly."""
    work = kind(name, device, dtype, False, batch)
    with Traffic() as found:
        work.step()
    return found.bytes


def copy_speed(device):
    """Bytes per second that a large copy reads and writes."""
    source = torch.zeros((2 ** 30 if device == 'cuda' else 2 ** 26) // 4, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes * float(speeds(lambda: target.copy_(source), 1, device, 1)['images_per_second'])


if __name__ == '__main__':
    main()
