"""Test, time and train ATAC on a GPU within a time limit; needs neither MXNet nor a network connection.

    python benchmarks/gpu_data.py pack SOURCE build/gpu-data    # once, anywhere
    make gpu-evidence                                           # or this script

It needs PyTorch, NumPy, tqdm and Pillow, and this checkout, not installed. It has never run on a GPU, only on
CPUs, with --dry-run. The stages, each with a time limit:

- tests: those that need a GPU and no MXNet, if pytest is there;
- speed: benchmarks/gpu_speed.py;
- data: the images, unpacked next to the packed ones;
- rehearsal: three epochs, which show how many fit: compiled or, if that fails, eager (rehearsal-eager);
- training: the published runs on CIFAR-10, one block per stage first, as many as fit, with the published 400
  epochs. If ReLU and ATAC with one block would not fit, all runs are shortened so that these two do, and the
  rate still decays at 3/4 and 7/8 of the epochs;
- comparison: `openatac compare` of the finished runs.

A stage that fails is recorded, and the next one begins. The same command continues what has not finished.
--out receives evidence.md, the summary, stages.csv, speed.csv, logs/ and the comparison, cifar10/.
"""
import argparse
import contextlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # nothing needs to be installed

from gpu_data import QUALITY  # noqa: E402

from openatac.files.csv_file import read_csv, write_csv  # noqa: E402
from openatac.files.writing import write_text  # noqa: E402
from openatac.system.guard import Guard  # noqa: E402
from openatac.text import markdown_table  # noqa: E402

BENCHMARKS = ROOT / 'benchmarks'
TESTS = ROOT / 'tests' / 'backends' / 'test_torch_gpu.py'
TIMES = ('--blocks', '1', '--variants', 'eager', '--batch-sizes', '8,8', '--seconds', '0.05')  # of a dry run
NOTE = f'images saved as JPEG, quality {QUALITY}'
PUBLISHED, REHEARSED, LEAST = 400, 3, 8  # epochs


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--minutes', type=float, default=12, help='for everything (default: %(default)s)')
    p.add_argument('--jobs', type=int, default=2, help='training runs at a time (default: %(default)s)')
    p.add_argument('--data', default='build/gpu-data', metavar='FOLDER',
                   help='of what gpu_data.py has packed (default: %(default)s)')
    p.add_argument('--out', default='build/gpu-evidence', metavar='FOLDER', help='(default: %(default)s)')
    p.add_argument('--dry-run', action='store_true', help='rehearse on the CPU, with little of each')
    args = p.parse_args()
    if not args.dry_run and not has_gpu():
        p.error('PyTorch sees no GPU: install its CUDA build, or rehearse with --dry-run')
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    stages = Stages(args.out, 60 * args.minutes)
    measure(stages, args.dry_run)
    train(stages, args)
    return int(any(row['outcome'] == 'failed' for row in stages.rows.values()))


def has_gpu():
    import torch
    return torch.cuda.is_available()


def measure(stages, dry_run):
    """Run the tests and measure speeds, unless that is done."""
    if importlib.util.find_spec('pytest') is None:
        stages.record('tests', 'left out', note='pytest is not installed')
    elif not stages.is_done('tests'):
        stages.run('tests', ['-m', 'pytest', '-v', '-m', 'gpu', TESTS], 1 / 8)
    if not stages.is_done('speed'):
        stages.run('speed', [BENCHMARKS / 'gpu_speed.py', stages.path('speed.csv'), *TIMES * dry_run], 1 / 4)


def train(stages, args):
    """Train what fits, and compare what has finished."""
    data = os.path.join(args.data, 'dry-run' if args.dry_run else 'unpacked')
    if not stages.run('data', [BENCHMARKS / 'gpu_data.py', 'unpack', args.data, data,
                               *['--images', '320'] * args.dry_run], 1 / 8):
        return
    folder = stages.path('cifar10')
    flags = stages.recipe() or choose_flags(stages, args, data)
    if flags:
        runs = ('relu,atac', '1', '1') if args.dry_run else ('relu,atac,se', '1,2,3', '1,2,3')
        stages.run('training', compare(folder, args.jobs, *runs, flags), 1)
        stages.run('comparison', ['-m', 'openatac', 'compare', folder, '--note', NOTE], None)
    drawn = os.path.isfile(os.path.join(folder, 'comparison.png'))
    stages.record('pictures', 'done' if drawn else 'left out', note='' if drawn else (
        f'they need finished runs and matplotlib; draw them anywhere with: openatac compare {folder}'))


def choose_flags(stages, args, data):
    """Return flags of train_cifar.py for runs as long as fit, or None if none works."""
    units = 'relu,atac,se' if args.jobs > 2 else 'relu,atac'
    ways = {} if args.dry_run else {'rehearsal': ['--compile']}
    for name, extra in {**ways, 'rehearsal-eager': []}.items():
        flags = ['--engine', 'torch', '--gpus', '0', *extra, '--data-dir', data]
        if stages.run(name, compare(stages.path(name), args.jobs, units, '1', '1', [
                *flags, '--num-epochs', str(REHEARSED), '--lr-decay-epoch', '2']), 1 / 6 if extra else 1 / 3):
            most = 2 if args.dry_run else PUBLISHED
            epochs = min(most, max(LEAST, epochs_that_fit(stages, name, args.jobs)))
            return [*flags, '--num-epochs', str(epochs),
                    '--lr-decay-epoch', f'{epochs * 3 // 4},{epochs * 7 // 8}']
    return None


def epochs_that_fit(stages, rehearsal, jobs):
    """Return how many epochs of ReLU and ATAC fit into the time that is left."""
    logs = [path.read_text('utf-8') for path in Path(stages.path(rehearsal)).glob('runs/*/train.log')]
    epoch = max(float(re.findall(r'time: ([\d.]+)', log)[-1]) for log in logs)
    start = float(stages.rows[rehearsal]['seconds']) - REHEARSED * epoch
    seconds = stages.limit(1) * min(jobs, 2) / 2
    return int((seconds - start) / (1.2 * epoch))  # a fifth more, as nothing has been trained that long


def compare(folder, jobs, units, blocks, seeds, flags):
    return ['-m', 'openatac', 'compare', folder, '--units', units, '--blocks', blocks, '--seeds', seeds,
            '--jobs', str(jobs), '--note', NOTE, '--', *flags]


# ------------------------------------------------------------------------------------ stages

class Stages:
    """Commands in their own processes, with time limits; how each ended is in files at once.

    Parameters
    ----------
    folder : str
        Of all results; it may have those of an earlier call.
    seconds : float
        For everything. A tenth is kept for the comparison, and for runs to write checkpoints.
    """

    def __init__(self, folder, seconds):
        self.folder = folder
        self.seconds, self.end = seconds, time.monotonic() + seconds
        self.guard = Guard()  # if this process is killed, so is the stage
        self.rows = {}
        os.makedirs(self.path('logs'), exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self.rows = {row['stage']: row for row in read_csv(self.path('stages.csv'))}

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def is_done(self, name):
        return self.rows.get(name, {}).get('outcome') == 'done'

    def limit(self, share):
        """Seconds for a stage that may take that share of all; None for the last, which may take the rest."""
        left = self.end - time.monotonic()
        return left if share is None else min(share * self.seconds, left - self.seconds / 10)

    def run(self, name, command, share):
        """Run Python with the command's words; return whether it ended well in time."""
        limit, started = self.limit(share), time.monotonic()
        if limit <= 0:
            return self.record(name, 'no time left')
        self.record(name, 'running')
        outcome, log = 'stopped', self.path('logs', name + '.log')
        with open(log, 'ab') as file:
            process = subprocess.Popen(
                [sys.executable, *map(str, command)], stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                start_new_session=True, env={**os.environ, 'PYTHONPATH': os.pathsep.join(
                    filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))})
            self.guard.add(process.pid)
            try:
                outcome = 'failed' if process.wait(limit) else 'done'
            except subprocess.TimeoutExpired:
                outcome = 'out of time'
            finally:
                end(process, self.seconds / 24)
                lines = Path(log).read_text('utf-8', 'replace').split('\n')
                self.record(name, outcome, time.monotonic() - started, '' if outcome == 'done' else next(
                    (line for line in reversed(lines) if line.strip()), ''))
        return outcome == 'done'

    def record(self, name, outcome, seconds=0, note=''):
        """Write how a stage ended, and the report."""
        self.rows[name] = {'stage': name, 'outcome': outcome, 'seconds': f'{seconds:.1f}', 'note': note}
        print(f'{name}: {outcome}{f" after {seconds:.0f} s" if seconds else ""}', flush=True)
        write_csv(self.path('stages.csv'), ['stage', 'outcome', 'seconds', 'note'], self.rows.values())
        write_text(self.path('evidence.md'), report(self))

    def recipe(self):
        """Return the flags of the runs, if they have begun."""
        with contextlib.suppress(FileNotFoundError):
            return json.loads(Path(self.path('cifar10', 'recipe.json')).read_text('utf-8'))[2:]


def end(process, grace):
    """End a process, with its children: it has ``grace`` seconds to write a checkpoint."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)


# ------------------------------------------------------------------------------------ report

def report(stages):
    """The text of evidence.md."""
    lines = ['# GPU evidence', '', markdown_table(('stage', 'outcome', 'seconds', 'last words'), [
        tuple(row.values()) for row in stages.rows.values()]), '']
    flags = stages.recipe()
    if flags:
        epochs = int(flags[flags.index('--num-epochs') + 1])
        length = 'as published' if epochs == PUBLISHED else f'instead of the published {PUBLISHED}'
        lines += [f'Runs of {epochs} epochs, {length}, with `{" ".join(flags)}`: see '
                  '[the comparison](cifar10/comparison.md).', '']
    with contextlib.suppress(FileNotFoundError):
        speeds = read_csv(stages.path('speed.csv'))
        lines += [f'Speed on {speeds[0]["device"]}, whose memory copies {speeds[0]["bandwidth_gb_s"]} GB/s '
                  f'(PyTorch {speeds[0]["torch"]}):', '', markdown_table(
                      list(speeds[0])[:13], [list(row.values())[:13] for row in speeds]), '']
    return '\n'.join(lines)


if __name__ == '__main__':
    sys.exit(main())
