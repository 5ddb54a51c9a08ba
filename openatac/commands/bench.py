"""Measure how fast each engine on this machine runs exported networks.

EXPORT is the common prefix of an export's files. Each engine runs each export in its own process, because the
threads of two engines in one process disturb each other. Measuring starts once all are warm, with networks
compiled and memory allocated. Then they take turns, round by round, each running one batch size for
--seconds, so that other work on the machine affects all of them alike. Latency is the time from images to
outputs, both NumPy arrays. The table shows the median of each figure over the rounds, and its range. --out
also writes the table to PREFIX.csv and draws it in PREFIX.png.
"""
from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from typing import Any

from openatac.commands.shared.catalogue import command_parser
from openatac.commands.shared.figure_flags import add_format_flag
from openatac.errors import FlagError
from openatac.export.forms.base import prefix_of
from openatac.export.runtimes.base import RUNTIMES
from openatac.figures import write_figure
from openatac.files.csv_file import write_csv
from openatac.files.writing import check_writable, writing
from openatac.limits import MAX_SECONDS
from openatac.options.flag_types import BATCH_SIZE, COUNT, comma_separated, number, prefix
from openatac.study.bench.machine import machine
from openatac.study.bench.measurement import measure
from openatac.study.bench.speed_figure import bench_figure
from openatac.study.bench.verdict import verdict
from openatac.system.processor import int8_line
from openatac.text import text_table

MAX_SIZES = 8  # torch.compile handles no more for one network
HEADER = ('export', 'engine', 'batch', 'p50 ms', 'p95 ms', 'images/s', 'rounds', 'difference')


def main(argv: list[str]) -> int:
    """Run ``openatac bench``; see the module."""
    p = _parser()
    args = p.parse_args(argv)
    prefixes = [prefix_of(path) for path in args.exports]
    if len(set(prefixes)) < len(prefixes):
        raise FlagError('EXPORT', f'{max(prefixes, key=prefixes.count)} is named twice')
    if args.out:
        with writing(f'--out: {args.out}', 'choose another'):  # before the work starts
            check_writable(args.out + '.csv')
    measured = measure(prefixes, args.engines, args.batch_sizes, args.rounds, args.seconds)
    if any(RUNTIMES.find(m.runtime).form.is_quantized for m in measured):
        print(int8_line())
    rows = [m.row() for m in measured]
    print(text_table([HEADER, *map(_cells, rows)]), end='\n\n')
    print('\n'.join(verdict(measured)))
    if args.out:
        about = {**machine(), 'command': f'openatac bench {shlex.join(argv)}'}
        with writing(f'--out: {args.out}', 'choose another'):
            write_csv(args.out + '.csv', [*rows[0], *about], [{**row, **about} for row in rows], '.6g')
            write_figure(args.out + '.png', lambda: bench_figure(
                rows, f'{about["device"]}, {about["threads"]} threads'), args.formats)
    return 0


def _parser() -> argparse.ArgumentParser:
    p = command_parser('bench', __doc__)
    p.add_argument('exports', metavar='EXPORT', nargs='+', help='an export')
    p.add_argument('--batch-sizes', type=_sizes, default=[1, 64], metavar='B,B,...',
                   help='images in a batch (default: 1,64)')
    p.add_argument('--engines', type=comma_separated(RUNTIMES.name_of), metavar='NAME,...',
                   help=f'some of {", ".join(RUNTIMES)} (default: all that can run an export here)')
    p.add_argument('--rounds', type=COUNT, default=5, metavar='N',
                   help='turns per engine (default: %(default)s)')
    p.add_argument('--seconds', type=number(float, above=0, high=MAX_SECONDS), default=2.0, metavar='S',
                   help='minimum duration of a turn (default: %(default)s)')
    p.add_argument('--out', metavar='PREFIX', type=prefix, help='write PREFIX.csv and PREFIX.png')
    add_format_flag(p)
    return p


def _sizes(text: str) -> list[int]:
    sizes = comma_separated(BATCH_SIZE)(text)
    if len(sizes) > MAX_SIZES:
        raise argparse.ArgumentTypeError(f'{text!r} has more than {MAX_SIZES} sizes')
    return sizes


def _cells(row: dict[str, Any]) -> Sequence[str]:
    """Return a row of the printed table."""
    spreads = ['{} ({} to {})'.format(*(f'{row[column + end]:{spec}}' for end in ('', '_low', '_high')))
               for column, spec in (('p50_ms', '.2f'), ('p95_ms', '.2f'), ('images_per_second', '.1f'))]
    return (row['export'], row['engine'], str(row['batch']), *spreads, str(row['rounds']),
            f'{row["difference"]:.1e}')
