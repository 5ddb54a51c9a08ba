"""Measure what the gates of trained networks do over a data set: a table, a CSV file and a figure.

RUN is the folder of a run of train-cifar or train-imagenet; its settings.json describes the network and the
data. --out PREFIX writes PREFIX.csv and PREFIX.png. The images are the test images without augmentation;
the network runs in evaluation mode, on the CPU.

For each gated unit it reports the gate's mean and standard deviation, how its variance divides among
channels, images and pixels, the shares below 0.1 and above 0.9, and the correlation with the mask [x > 0] of
the unit's input x, which is the gate that a ReLU would have there. A gate is the factor that a unit
multiplies its input by, in ATAC and the attention blocks but also in swish, mish and xunit.
"""
from __future__ import annotations

import argparse
from typing import Any

from openatac.commands.shared.catalogue import command_parser
from openatac.commands.shared.figure_flags import add_format_flag
from openatac.data.small.built_in_datasets import BUILT_IN_DATASETS
from openatac.figures import write_figure
from openatac.files.csv_file import write_csv
from openatac.files.writing import check_writable, writing
from openatac.options.flag_types import IMAGES, prefix
from openatac.study.gates.gates_figure import gates_figure
from openatac.study.gates.run_gates import gates_of_run
from openatac.text import for_terminal, short_names, text_table

SHOWN = {  # head of a column in the printed table -> column of the file
    'layer': 'layer', 'unit': 'unit', 'mean': 'mean', 'deviation': 'standard_deviation',
    'channels': 'between_channels', 'images': 'between_images', 'pixels': 'between_pixels',
    '< 0.1': 'share_below_0.1', '> 0.9': 'share_above_0.9', 'x > 0': 'relu_mask_mean',
    'correlation': 'relu_mask_correlation'}


def main(argv: list[str]) -> int:
    """Run ``openatac gates``; see the module."""
    args = _parser().parse_args(argv)
    with writing(f'--out: {args.out}', 'choose another'):  # checked before the work starts
        check_writable(args.out + '.csv')
    rows: list[dict[str, Any]] = []
    for folder, name in zip(args.runs, short_names(args.runs)):
        gates = gates_of_run(folder, args.params, args.images, args.dataset, args.data_dir)
        _print(name, gates)
        rows += [{'run': name, **row} for row in gates]
    with writing(f'--out: {args.out}', 'choose another'):
        write_csv(args.out + '.csv', list(rows[0]), rows, '.6f')
        write_figure(args.out + '.png', lambda: gates_figure(rows), args.formats)
    return 0


def _parser() -> argparse.ArgumentParser:
    p = command_parser('gates', __doc__)
    p.add_argument('runs', metavar='RUN', nargs='+', help='folder of a run')
    p.add_argument('--out', metavar='PREFIX', type=prefix, required=True,
                   help='prefix of the files to write')
    add_format_flag(p)
    p.add_argument('--params', default='best', metavar='best|last|FILE',
                   help="the run's best or last parameters, or a parameter file (default: %(default)s)")
    p.add_argument('--images', type=IMAGES, metavar='N',
                   help='use N images, evenly spread over the test set (default: all)')
    p.add_argument('--dataset', choices=tuple(BUILT_IN_DATASETS),
                   help="use images other than the run's own, for runs of train-cifar")
    p.add_argument('--data-dir', help='where the images are (default: where the run had them)')
    return p


def _print(name: str, rows: list[dict[str, Any]]) -> None:
    first = rows[0]
    print(for_terminal(f'{name}: {first["network"]}, {first["parameters"]}, {first["images"]} images of '
                       f'{first["dataset"]}'))
    table = [[_cell(row[column]) for column in SHOWN.values()] for row in rows]
    print(text_table([list(SHOWN), *table]) + '\n', flush=True)


def _cell(value: Any) -> str:
    if value is None:
        return '-'
    return value if isinstance(value, str) else f'{value:.3f}'
