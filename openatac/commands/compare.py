"""Compare units at several depths and seeds: train the missing runs with one recipe, then compare all.

You can stop it at any time; the same command resumes. Without --units it compares the runs in FOLDER again,
together with finished train-cifar runs from the --from folders. Flags after -- go to train-cifar. The command
writes runs/ (one folder per run), runs.csv, comparison.md, comparison.png and comparison.html to FOLDER.

A unit is an activation (relu, swish, ..., atac; atac_global is "SE as activation"), an attention block over
ReLU (se, eca, ...), or both (swish_se). Write other channels after an @: relu@17-17-35-68 has as many
parameters and multiply-adds as atac at one block per stage.
"""
from __future__ import annotations

import argparse
import dataclasses
import subprocess
import tempfile
from collections.abc import Iterable, Sequence

from openatac.backends.compute import Compute
from openatac.commands.shared.catalogue import command_parser
from openatac.commands.shared.figure_flags import add_format_flag
from openatac.console import streams
from openatac.console.program import WRONG_COMMAND
from openatac.errors import FlagError, UsageError
from openatac.files.reserved_folder import reserved_folder
from openatac.options.command_line import naming
from openatac.options.flag_types import BLOCKS, COUNT, SEED, comma_separated, number
from openatac.registry import LibraryName
from openatac.study.comparison.differences import ALL, MAIN_UNIT
from openatac.study.comparison.sweep import Sweep, reserved_flags
from openatac.study.comparison.training_queue import Failure, QueuedRun, run_queue
from openatac.study.finished_runs import find_runs
from openatac.system.installed import require_mxnet
from openatac.system.nvidia_driver import visible_gpus


def main(argv: list[str]) -> int:
    """Run ``openatac compare``; see the module."""
    words = argv[:argv.index('--')] if '--' in argv else argv
    args = _parser().parse_args(words)
    sweep = Sweep(args.folder or (args.others[0] if args.others else ''), args.units, args.blocks, args.seeds,
                  args.recipe, argv[len(words) + 1:])
    _check(sweep, args.dry_run)
    if sweep.units and _library(sweep.flags) == 'gluon':
        require_mxnet()
    runs = sweep.runs()
    return _dry_run(sweep, args.dry_run) if args.dry_run else _compare(sweep, runs, args)


def _parser() -> argparse.ArgumentParser:
    p = command_parser('compare', __doc__, usage='%(prog)s FOLDER [options] [-- flags of train-cifar]')
    p.add_argument('folder', metavar='FOLDER', nargs='?',
                   help='folder of the comparison (default: the first of --from)')
    p.add_argument('--units', type=comma_separated(str), default=[],
                   help='units to train, such as relu,se,atac')
    p.add_argument('--blocks', type=comma_separated(BLOCKS), default=[3],
                   help='blocks per stage, such as 1,2,3 (default: 3, a ResNet-20)')
    p.add_argument('--seeds', type=comma_separated(SEED), default=[1, 2, 3],
                   help='seeds of the runs (default: 1,2,3)')
    p.add_argument('--recipe', default='cifar10_atac',
                   help='recipe of train-cifar, apart from unit and depth (default: %(default)s)')
    p.add_argument('--jobs', type=number(int, low=1, high=256), default=1,
                   help='runs at a time; they share the processors and, with --engine torch --gpus 0 '
                        'after --, each takes the next GPU (default: %(default)s)')
    p.add_argument('--dry-run', type=COUNT, metavar='N',
                   help='run only N batches of each run, print their time and memory, and keep nothing')
    p.add_argument('--from', dest='others', metavar='RUNS', nargs='+', default=[],
                   help='folders with finished runs, whose records are copied to FOLDER')
    p.add_argument('--note', help='a remark on the data, shown in every figure and kept in FOLDER')
    p.add_argument('--against', metavar='UNIT',
                   help=f'the unit to test against all others, or {ALL} to test every pair '
                        f'(default: {MAIN_UNIT}, or {ALL} without it)')
    add_format_flag(p)
    p.add_argument('--measure', choices=('best', 'last', 'test'), default='last',
                   help='the accuracy to compare, and to show as an error in the figure; test is for '
                        'runs with --val-split (default: %(default)s)')
    return p


def _check(sweep: Sweep, dry_run: bool) -> None:
    """Raise UsageError for flags that cannot be combined."""
    if not sweep.folder:
        raise FlagError('FOLDER', 'give the folder of the comparison')
    reserved = set(reserved_flags())
    for flag in sweep.flags:
        if flag.split('=')[0] in reserved:
            raise UsageError(f'{flag} must not follow --: the comparison sets it')
    if dry_run and not sweep.units:
        raise FlagError('--dry-run', 'say what to train with --units')
    if sweep.flags and not sweep.units:
        raise UsageError(f'the flags {" ".join(sweep.flags)} are for training runs: give units with --units')


def _dry_run(sweep: Sweep, batches: int) -> int:
    """Run a few batches of each run with train_cifar.py; return the exit code."""
    codes = []
    with tempfile.TemporaryDirectory() as folder:
        flags = [*sweep.flags, '--dry-run', str(batches)]
        for run in dataclasses.replace(sweep, folder=folder, flags=flags).runs():
            print(f'\n{run.name}:', flush=True)
            codes.append(subprocess.run(run.command).returncode)
    return _exit_code(codes)


def _compare(sweep: Sweep, runs: Sequence[QueuedRun], args: argparse.Namespace) -> int:
    """Train, copy in other runs, and compare; return the exit code."""
    from openatac.study.comparison.comparison_report import write_comparison, write_note
    from openatac.study.comparison.copied_runs import copy_records
    for folder in args.others or ([] if runs else [sweep.folder]):
        find_runs(folder)  # or report that there are none, before anything is written
    with reserved_folder(sweep.folder, 'comparison'):
        failures = _train(sweep, runs, args.jobs) if runs else {}
        if args.note is not None:
            write_note(sweep.folder, args.note)
        if args.others:
            copy_records(args.others, sweep.folder)
        if args.others or not runs or any(run.is_finished() for run in runs):
            print(write_comparison(sweep.folder, args.measure + '_accuracy', args.against, args.formats))
    for name, failure in failures.items():
        streams.print_to_stderr(f'openatac compare: {name} failed: {failure.last_line}')
    return _exit_code(failure.code for failure in failures.values())


def _exit_code(codes: Iterable[int]) -> int:
    """Combine the runs' exit codes: `WRONG_COMMAND` only if a run failed with it."""
    failed = {code for code in codes if code}
    return WRONG_COMMAND if WRONG_COMMAND in failed else min(1, len(failed))


def _train(sweep: Sweep, runs: Sequence[QueuedRun], jobs: int) -> dict[str, Failure]:
    """Train the runs that are not finished; return {name: Failure}."""
    sweep.record_recipe()
    missing = [run for run in runs if not run.is_finished()]
    print(f'{len(runs)} runs: {len(runs) - len(missing)} finished, {len(missing)} to run',
          flush=True)
    return run_queue(missing, min(jobs, max(1, len(missing))),
                     visible_gpus() if jobs > 1 and _library(sweep.flags) == 'torch' else ())


def _library(flags: Sequence[str]) -> LibraryName:
    """Return the library whose networks train-cifar trains with these flags."""
    p = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    p.add_argument('--engine', default=Compute.engine)
    with naming('--engine'):
        return Compute(engine=p.parse_known_args(flags)[0].engine).library
