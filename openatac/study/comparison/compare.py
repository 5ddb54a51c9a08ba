"""Units x depths x seeds under one recipe: what is missing is trained, then all are compared.

    openatac compare FOLDER --units relu,se,atac_global,atac --blocks 1,2,3 --seeds 1,2,3 \\
        --recipe cifar100_atac -- --num-epochs 100 --lr-decay-epoch 75,90
    openatac compare FOLDER                 # compares anew what is in FOLDER
    openatac compare FOLDER --from RUNS...  # and finished runs of train_cifar.py from other folders

Stop it at any moment; the same command goes on. What stands after -- is for train_cifar.py. FOLDER gets
runs/ (one folder each), runs.csv, comparison.md, comparison.png and comparison.html.

A unit is an activation (relu, swish, ..., atac; atac_global is "SE as activation"), an attention block over
ReLU (se, eca, ...), or both (swish_se).
"""
import argparse
import contextlib
import difflib
import glob
import itertools
import json
import os
import subprocess
import sys
import tempfile
from typing import List

from openatac.arguments import BLOCKS, COUNT, SEED, number
from openatac.console import streams
from openatac.errors import OpenatacError
from openatac.files.schema import read_json
from openatac.files.writing import write_text
from openatac.options import fields, flags_of
from openatac.study.comparison.run_queue import TRAIN_CIFAR, WRONG_COMMAND, Training, run_all
from openatac.study.comparison.runs import find_runs, trained_name
from openatac.training.config import CifarConfig

# What a comparison sets itself beside the unit, the depth and the seed.
_OWN = ('model', 'seed', 'save_dir', 'save_plot_dir', 'resume', 'recipe', 'summary', 'evaluate', 'export',
        'tensorboard', 'project', 'name', 'initial', 'write_initial', 'dry_run', 'print_config')


def _own_flags():
    """The flags of train_cifar.py that are not to be given."""
    for name, field in fields(CifarConfig).items():
        if name in _OWN or field.option.named:
            for flag in flags_of(name, field):
                yield from (flag, '--no-' + flag[2:])


def main(argv):
    """``openatac compare``; see the module."""
    parser, args = _parse(argv)
    from openatac.runtime.import_hook import require_mxnet
    require_mxnet()
    from openatac.study.comparison.files import take_in, write_comparison, write_note
    from openatac.training.checkpoint import only_run_in
    try:
        trainings = _trainings(args)
    except ValueError as error:
        parser.error(str(error))
    if args.dry_run:
        return _rehearse(args)
    for folder in args.others or ([] if trainings else [args.folder]):
        find_runs(folder)  # or say that there is none, before anything is made
    with only_run_in(args.folder):
        failures = _train(trainings, args) if trainings else {}
        if args.note is not None:
            write_note(args.folder, args.note)
        if args.others:
            take_in(args.others, args.folder)
        if args.others or not trainings or any(training.is_finished() for training in trainings):
            print(write_comparison(args.folder, args.measure + '_accuracy'))
    for name, failure in failures.items():
        streams.print_to_stderr(f'openatac compare: {name} failed: {failure.words}')
    return max((min(failure.code, WRONG_COMMAND) for failure in failures.values()), default=0)


def _parse(argv):
    p = argparse.ArgumentParser(prog='openatac compare', description=__doc__,
                                usage='openatac compare FOLDER [options] [-- flags of train_cifar.py]',
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('folder', metavar='FOLDER', nargs='?', help='(default: the first of --from)')
    p.add_argument('--units', type=_list(str), help='such as relu,se,atac')
    p.add_argument('--blocks', type=_list(number(int, low=1, high=BLOCKS)), default=[3],
                   help='blocks per stage, such as 1,2,3 (default: 3, a ResNet-20)')
    p.add_argument('--seeds', type=_list(number(int, low=0, high=SEED)), default=[1, 2, 3],
                   help='(default: 1,2,3)')
    p.add_argument('--recipe', default='cifar10_atac',
                   help='of train_cifar.py, but for unit and depth (default: %(default)s)')
    p.add_argument('--jobs', type=number(int, low=1, high=256), default=1,
                   help='trainings at a time, which share the processors (default: 1)')
    p.add_argument('--dry-run', type=number(int, low=1, high=COUNT), metavar='N',
                   help='only do N batches of each training, print what they take, and keep nothing')
    p.add_argument('--from', dest='others', metavar='RUNS', nargs='+', default=[],
                   help='folders with finished runs, whose records are copied to FOLDER')
    p.add_argument('--note', help='what must be said of the data beside every figure; it is kept in FOLDER')
    p.add_argument('--measure', choices=('best', 'last'), default='last',
                   help='which accuracy the picture and the statements are about (default: %(default)s)')
    ours = argv[:argv.index('--')] if '--' in argv else argv
    args = p.parse_args(ours)
    args.flags = argv[len(ours) + 1:]
    args.folder = args.folder or (args.others[0] if args.others else None)
    if args.folder is None:
        p.error('FOLDER, where the comparison is to be, is missing')
    own = set(_own_flags())
    for flag in args.flags:
        if flag.split('=')[0] in own:
            p.error('%s is not to be given after --: the comparison sets it' % flag)
    if args.dry_run and not args.units:
        p.error('argument --dry-run: --units names nothing to train')
    if args.flags and not args.units:
        p.error('the flags %s are for trainings, and --units names none' % ' '.join(args.flags))
    return p, args


def _list(kind):
    """An argparse type: values with commas between them, each once."""
    def parse(text):
        values = list(dict.fromkeys(kind(word.strip()) for word in text.split(',') if word.strip()))
        if not values:
            raise argparse.ArgumentTypeError('%r names nothing' % text)
        return values
    return parse


def _trainings(args):
    """A Training for each unit, depth and seed; ValueError for an unknown unit."""
    flags = {unit.lower(): unit_flags(unit) for unit in args.units or ()}
    trainings = []
    for seed, blocks, unit in itertools.product(args.seeds, args.blocks, flags):
        name = trained_name(unit, blocks, seed)
        folder = os.path.join(args.folder, 'runs', name)
        trainings.append(Training(name, folder, [
            *TRAIN_CIFAR, '--recipe', args.recipe, *args.flags, *flags[unit],
            '--blocks', str(blocks), '--seed', str(seed), '--save-dir', folder, '--resume', 'auto']))
    return trainings


def unit_flags(unit: str) -> List[str]:
    """The flags of train_cifar.py that make ``unit``; ValueError for an unknown one, with the nearest."""
    from openatac.models.zoo import PUBLISHED_CIFAR_HOST, find_host, unit_settings
    units = unit_settings(find_host(PUBLISHED_CIFAR_HOST))
    if unit.lower() not in units:
        near = difflib.get_close_matches(unit.lower(), units, n=5, cutoff=0.3)
        raise ValueError('argument --units: there is no unit %r; the nearest are %s'
                         % (unit, ', '.join(near)))
    words = [[f'--{name.replace("_", "-")}'] + ([] if value is True else [value])
             for name, value in units[unit.lower()].items()]
    return list(itertools.chain.from_iterable(words))


def _rehearse(args):
    """Let train_cifar.py do some batches of each training; the worst of its exit codes."""
    codes = [0]
    with tempfile.TemporaryDirectory() as args.folder:
        args.flags += ['--dry-run', str(args.dry_run)]
        for training in _trainings(args):
            print('\n%s:' % training.name, flush=True)
            codes.append(subprocess.run(training.command).returncode)
    return max(codes)


def _train(trainings, args):
    """Run those that are not finished; {name: Failure}."""
    _check_same_recipe(args)
    missing = [training for training in trainings if not training.is_finished()]
    print('%d trainings: %d finished, %d to run'
          % (len(trainings), len(trainings) - len(missing), len(missing)), flush=True)
    try:
        return run_all(missing, min(args.jobs, max(1, len(missing))))
    except KeyboardInterrupt:
        print('openatac compare: stopped: the same command goes on from the checkpoints', file=sys.stderr)
        sys.exit(130)


def _check_same_recipe(args):
    """All trainings of a folder have the same recipe and flags, which are kept in it."""
    path = os.path.join(args.folder, 'recipe.json')
    words, before = ['--recipe', args.recipe, *args.flags], None
    if glob.glob(os.path.join(glob.escape(args.folder), 'runs', '*', 'settings.json')):  # a training began
        with contextlib.suppress(OSError, ValueError):
            before = read_json(path, List[str])
        if before not in (None, words):
            raise OpenatacError('%s holds trainings by "%s", not by "%s": choose another folder, or the same '
                                'flags' % (args.folder, ' '.join(before), ' '.join(words)))
    write_text(path, json.dumps(words) + '\n')
