"""How much faster and smaller openatac trains than the published way, measured side by side.

    make bench

Every row is the median of several pairs of runs, ours and then the baseline on the same machine, so that
noise affects both alike. The images are random, in files of CIFAR-10's size. Writes results/benchmark.csv and
prints the table of docs/reference/speed.md.
"""
import argparse
import os
import re
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import openatac
from openatac.files.csv_file import write_csv
from openatac.study.bench.machine import machine
from openatac.text import markdown_table

ROOT = Path(__file__).resolve().parent.parent
TRAIN = [sys.executable, str(ROOT / 'train_cifar.py'), '--useReLU', '--log-interval', '10']
BASELINE = [sys.executable, str(ROOT / 'benchmarks' / 'published_way.py')]
FIELDS = ('measurement', 'ours', 'baseline', 'unit', 'comparison', 'wanted', 'n')


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--pairs', type=int, default=5, help='runs of each side (default: %(default)s)')
    p.add_argument('--output', default=str(ROOT / 'results' / 'benchmark.csv'))
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = make_data(os.path.join(folder, 'full'), 50000, 10000)
        short = make_data(os.path.join(folder, 'short'), 2560, 1280)
        rows = [*training(data, folder, args.pairs), *memory(short, folder), pipeline(data, args.pairs),
                *start(data, folder, args.pairs)]
    write(rows, args.output)


def make_data(folder, training, test):
    """Write random images as CIFAR-10's binary files; return their folder."""
    os.makedirs(folder)
    rng = np.random.RandomState(0)
    files = {f'data_batch_{k}': training // 5 for k in range(1, 6)}
    for name, count in {**files, 'test_batch': test}.items():
        records = rng.randint(0, 256, (count, 3073)).astype('uint8')
        records[:, 0] %= 10
        records.tofile(os.path.join(folder, name + '.bin'))
    return folder


# ------------------------------------------------------------------------------- training

def training(data, folder, pairs):
    """Images per second of whole scripts, b=3 ATAC, batch 128, and their peak memory."""
    ours, theirs = [], []
    for index in range(pairs):
        ours.append(speed_and_memory([*TRAIN, '--data-dir', data, '--save-dir', f'{folder}/run{index}']))
        theirs.append(speed_and_memory([*BASELINE, '--data-dir', data], environment_of_mxnet()))
    speeds = [[run[0] for run in side] for side in (ours, theirs)]
    peaks = [[run[1] for run in side] for side in (ours, theirs)]
    yield {**row('training, ResNet-20 ATAC, batch 128, whole script', *speeds, 'images/s', 'at least 1.9'),
           'network': 'cifar_resnet20_v2_atac'}
    yield row('peak memory of the training process, 50,000 images', *peaks, 'MB', 'at most 1')


def environment_of_mxnet():
    """MXNet's and glibc's own defaults in place of what openatac would set."""
    return dict(os.environ, OMP_NUM_THREADS=str(max(1, len(os.sched_getaffinity(0)) // 2)),
                MXNET_CPU_PARALLEL_SIZE='200000', MXNET_USE_OPERATOR_TUNING='1',
                GLIBC_TUNABLES='glibc.malloc.tcache_count=7')


def speed_and_memory(command, environment=None, warm_up=2, measured=4):
    """(images/s over ``measured`` readings after the warm-up, peak memory in MB) of a script."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True)
    speeds = []
    for line in process.stdout:
        found = re.search(r'Speed: ([\d.]+) samples/sec', line)
        if found:
            speeds.append(float(found[1]))
        if len(speeds) == warm_up + measured:
            break
    whole = len(speeds) == warm_up + measured
    peak = peak_memory(process.pid) if whole else 0
    process.send_signal(signal.SIGKILL)
    process.communicate()
    if not whole:
        sys.exit(f'error: {shlex.join(command)} ended before it was measured')
    return statistics.harmonic_mean(speeds[warm_up:]), peak


def peak_memory(pid):
    """The largest resident size so far of a process, in MB."""
    status = Path(f'/proc/{pid}/status').read_text()
    return int(re.search(r'VmHWM:\s+(\d+) kB', status)[1]) / 1024


def memory(data, folder):
    """Peak memory after the first and after the sixth epoch, each with its evaluation."""
    command = [*TRAIN, '--blocks', '1', '--data-dir', data, '--num-epochs', '6',
               '--save-dir', folder + '/memory']
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    peaks = [peak_memory(process.pid) for line in process.stdout if line.startswith('[Epoch')]
    process.wait()
    yield row('peak memory, epoch 6 against epoch 2 of the same run', peaks[-1:], peaks[1:2], 'MB', 'about 1')


# ------------------------------------------------------------------------------- pipeline

def pipeline(data, pairs):
    """Images per second on one core: ours, and Gluon's DataLoader without worker processes."""
    sys.path.insert(0, str(ROOT / 'benchmarks'))
    from published_way import loaders

    from openatac.data.small.batches import TrainingSmallImageBatches
    from openatac.data.small.cifar import load_cifar
    ours, theirs = [], []
    batches = TrainingSmallImageBatches(load_cifar('cifar10', data), 128, seed=0)
    for epoch in range(pairs):
        ours.append(rate(batches.epoch(epoch), batches.batches_in(0)))
        theirs.append(rate(loaders(data, 128, 0)[0], 12))
    return row('input pipeline alone, one core', ours, theirs, 'images/s', 'at least 40')


def rate(batches, count):
    started = time.perf_counter()
    for index, _ in enumerate(batches, 1):
        if index == count:
            break
    return 128 * count / (time.perf_counter() - started)


# ---------------------------------------------------------------------------------- start

FIRST_BATCH = '''
import sys, runpy
from openatac.data.small.batches import TrainingSmallImageBatches
def epoch(self, epoch, start=0, original=TrainingSmallImageBatches.epoch):
    for batch in original(self, epoch, start):
        import os; os._exit(0)  # the first batch is read: the clock stops here
TrainingSmallImageBatches.epoch = epoch
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
'''


def start(data, folder, pairs):
    """Seconds until something happens, each against the part that is not ours."""
    python = [sys.executable, '-c']
    runs = [*TRAIN[1:], '--data-dir', data, '--save-dir', folder + '/start']
    sides = {
        'import openatac, against Python alone': (
            [*python, 'import openatac'], [*python, 'pass'], 'at most 0.1'),
        'start to first batch, against MXNet and NumPy alone': (
            [*python, FIRST_BATCH, *runs], [*python, 'import openatac, mxnet'], 'at most 0.3'),
        'train_cifar.py --help, against Python alone': (
            [*TRAIN, '--help'], [*python, 'pass'], 'at most 0.5'),
    }
    for name, (ours, theirs, wanted) in sides.items():
        seconds_of(ours), seconds_of(theirs)  # warm the disk's cache
        times = [(seconds_of(ours), seconds_of(theirs)) for _ in range(pairs)]
        yield row(name, *zip(*times), 's', wanted)


def seconds_of(command):
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


# --------------------------------------------------------------------------------- output

def row(measurement, ours, theirs, unit, wanted):
    """A row of medians; the comparison is the median, and the range, of the pairs' ratios or differences."""
    def shown(*values):
        return ' '.join(f'{value:.3f}' if unit == 's' else f'{value:.0f}' for value in values)

    print(f'{measurement}: ours {shown(*ours)}, baseline {shown(*theirs)}', file=sys.stderr)
    pairs, words = [a / b for a, b in zip(ours, theirs)], 'times'
    if unit == 's':
        pairs, words = [a - b for a, b in zip(ours, theirs)], 's more'
    return dict(zip(FIELDS, (
        measurement, shown(statistics.median(ours)), shown(statistics.median(theirs)), unit,
        f'{statistics.median(pairs):.2f} {words} ({min(pairs):.2f} to {max(pairs):.2f})', wanted, len(ours))))


def write(rows, path):
    here, cores = machine(), len(os.sched_getaffinity(0))
    about = {'machine': f'{cores} cores of {here["device"]}; {here["versions"]}, '
                        f'openatac {openatac.__version__}', 'cores': cores, 'network': ''}
    write_csv(path, [*FIELDS, *about], ({**about, **line} for line in rows))
    print(markdown_table(FIELDS, ([line[field] for field in FIELDS] for line in rows)))
    print('\n' + about['machine'])


if __name__ == '__main__':
    main()
