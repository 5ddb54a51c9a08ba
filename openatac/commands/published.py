"""Compare the published numbers with our costs and runs: reproduced, by how much they differ, or not run.

RUNS are folders of finished runs of train-cifar and train-imagenet, or folders of such folders; by default
those in results/, here or in the checkout. Only runs of the published recipe on the published data are
compared with the published numbers; all others are listed with the reason why not. For numbers without a run,
the command estimates from measured speeds how many hours a run would take.
"""
from __future__ import annotations

import os

from openatac.commands.shared.catalogue import command_parser
from openatac.errors import FlagError
from openatac.files.csv_file import write_csv
from openatac.files.writing import writing
from openatac.study.finished_runs import find_runs, runs_in
from openatac.study.published.numbers import CIFAR100_NUMBERS, IMAGENET_NUMBERS, NETWORKS
from openatac.study.published.published_report import published_text
from openatac.study.published.rows import COLUMNS, make_row
from openatac.study.published.training_time import AUTHORS_SPEED, benchmark_speeds, run_speeds

CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def main(argv: list[str]) -> int:
    """Run ``openatac published``; see the module."""
    p = command_parser('published', __doc__)
    p.add_argument('runs', metavar='RUNS', nargs='*', help='folders of runs (default: results)')
    p.add_argument('--network', metavar='NAME', nargs='+', default=NETWORKS,
                   help='only these networks, such as resnet50_v1b_atac')
    p.add_argument('--csv', metavar='FILE', help='write all rows to FILE, with sources and uncertainties')
    args = p.parse_args(argv)
    for name in args.network:
        if name not in NETWORKS:
            raise FlagError('--network', f'nothing is published for {name!r}; choose from '
                            f'{", ".join(NETWORKS)}')
    results = 'results' if os.path.isdir('results') else os.path.join(CHECKOUT, 'results')
    runs = [run for folder in dict.fromkeys(args.runs) for run in find_runs(folder)]
    if not args.runs:
        runs = runs_in(results)
    speeds = [*run_speeds(runs), *benchmark_speeds(results), AUTHORS_SPEED]
    rows = [make_row(number, runs, speeds) for number in IMAGENET_NUMBERS + CIFAR100_NUMBERS
            if number.network in args.network]
    if args.csv:
        with writing(f'--csv: {args.csv}', 'choose another'):
            write_csv(args.csv, COLUMNS, (row.cells() for row in rows))
    print('\n\n'.join(published_text(rows, runs, speeds)))
    return 0
