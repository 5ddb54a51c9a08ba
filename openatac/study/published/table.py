"""The published numbers beside our costs and our runs: reproduced, how much they differ, or not run.

    openatac published                             runs in results/, here or in the checkout
    openatac published RUNS... --csv published.csv
    openatac published RUNS... --network resnet50_v1b_atac cifar_resnet20_v2_atac

RUNS are folders of finished runs of train_cifar.py and train_imagenet.py, or folders of such folders. Only
runs of the published recipe on the published data are held to the published numbers; all others are listed
with the reason. What was not run has the hours that it would take, from measured speeds.
"""
import argparse
import os
import statistics
from typing import NamedTuple, Optional

from openatac.errors import OpenatacError
from openatac.files.csv_file import write_csv
from openatac.files.writing import writing
from openatac.study.comparison.finished import finished_runs, given_runs
from openatac.study.published import numbers
from openatac.study.published.costs import counted
from openatac.study.published.numbers import CIFAR100, COSTS, IMAGENET, NETWORKS, judge
from openatac.study.published.report import report
from openatac.study.published.training_time import (
    AUTHORS_SPEED,
    Hours,
    benchmark_speeds,
    run_speeds,
    training_hours,
)

CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def main(argv):
    """``openatac published``; see the module."""
    p = argparse.ArgumentParser(prog='openatac published', description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('runs', metavar='RUNS', nargs='*', help='folders (default: results)')
    p.add_argument('--network', metavar='NAME', nargs='+', default=NETWORKS,
                   help='only these, such as resnet50_v1b_atac')
    p.add_argument('--csv', metavar='FILE', help='write all rows, with sources and uncertainties')
    args = p.parse_args(argv)
    for name in args.network:
        if name not in NETWORKS:
            p.error('argument --network: nothing is published for %r; choose from %s' % (
                name, ', '.join(NETWORKS)))
    results = 'results' if os.path.isdir('results') else os.path.join(CHECKOUT, 'results')
    runs = given_runs(args.runs) if args.runs else finished_runs(results)
    speeds = [*run_speeds(runs), *benchmark_speeds(results), AUTHORS_SPEED]
    rows = [make_row(number, runs, speeds) for number in IMAGENET + CIFAR100
            if number.network in args.network]
    if args.csv:
        with writing('--csv: %s' % args.csv, '; choose another'):
            write_csv(args.csv, COLUMNS, (dict(zip(COLUMNS, _csv_line(row))) for row in rows))
    print('\n\n'.join(report(rows, runs, speeds)))
    return 0


class Row(NamedTuple):
    """A published number and what we have: values of ours, a verdict in words, or the hours to get them."""

    number: numbers.Published
    values: tuple
    difference: Optional[float]
    tolerance: Optional[float]
    verdict: str
    hours: Optional[Hours] = None


def make_row(number, runs, speeds):
    """The `Row` of a published number."""
    values = (counted(number),) if number.measure in COSTS else _values(number, runs)
    if not values:
        hours = training_hours(number, speeds)
        return Row(number, (), None, None, 'not run: %s' % str(hours or 'no speed was measured'), hours)
    verdict = judge(number, values)
    words = verdict.words if number.our_recipe or number.measure in COSTS else (
        'not judged, another recipe (%+.2f)' % verdict.difference)
    return Row(number, values, verdict.difference, verdict.tolerance, words)


def _values(number, runs):
    """What comparable runs of the number's network reached, one value a seed."""
    by_seed = {}
    for run in runs:
        if run.network == number.network and not numbers.not_comparable(run.network, run.settings):
            other = by_seed.setdefault(run.seed, run)
            if other.values != run.values:
                raise OpenatacError('%s and %s are two runs of %s with seed %d: leave out one of them' % (
                    other.folder, run.folder, run.network, run.seed))
    return tuple(run.values[number.measure] for run in by_seed.values())


# ------------------------------------------------------------------------------------- file

COLUMNS = ('network', 'published_as', 'data', 'measure', 'published', 'uncertainty', 'source', 'ours',
           'deviation', 'n', 'difference', 'tolerance', 'verdict', 'hours', 'hours_of', 'images_per_second')


def _csv_line(row):
    number, values = row.number, row.values
    return (number.network, number.title, number.data, number.measure, number.value, number.uncertainty,
            number.source, '%.6g' % statistics.mean(values) if values else '',
            '%.6g' % statistics.stdev(values) if len(values) > 1 else '',
            '' if number.measure in COSTS else len(values),
            '' if row.difference is None else '%.6g' % row.difference,
            '' if row.tolerance is None else '%.6g' % row.tolerance, row.verdict,
            '%.4g' % row.hours.hours if row.hours else '', row.hours.kind if row.hours else '',
            '%s: %s' % (row.hours.scaled_from or number.network, row.hours.words) if row.hours else '')
