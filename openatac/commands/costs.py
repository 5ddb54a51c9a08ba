"""Print a table of what networks cost, by name or from symbol files.

A multiply-add counts as one operation. As in the papers, only convolutions, dense layers and matrix products
count. --published counts a dense layer as the paper's 4.4 G does (2 x inputs x outputs - inputs + outputs).
Activations are the outputs of all operators for one image in float32, which training keeps in memory.
"""
from __future__ import annotations

import os
from typing import TYPE_CHECKING

from openatac.commands.shared.catalogue import command_parser
from openatac.image_size import sides
from openatac.options.flag_types import CLASSES, ImageSize
from openatac.study.costs.named_costs import costs_by_name_or_file, image_shape_of
from openatac.text import text_table

if TYPE_CHECKING:
    from openatac.study.costs.gluon_costs import Costs, Layer

HEADER = ('network', 'parameters', 'trainable', 'multiply-adds', 'activations', 'image')
LAYER_HEAD = ('layer', 'operator', 'output', 'parameters', 'multiply-adds', 'activations')


def main(argv: list[str]) -> int:
    """Run ``openatac costs``; see the module."""
    p = command_parser('costs', __doc__)
    p.add_argument('networks', metavar='NAME', nargs='+', help="a network's name, or a symbol file (.json)")
    p.add_argument('--classes', type=CLASSES,
                   help="outputs of the network (default: the host's)")
    p.add_argument('--input-size', type=ImageSize(low=1),
                   help='size of the image, a side or HEIGHTxWIDTH (default: from the network or export; '
                        '224 for other files)')
    p.add_argument('--published', action='store_true', help='count as the paper does')
    p.add_argument('--layers', action='store_true', help='print a line for each operator too')
    args = p.parse_args(argv)
    rows = []
    for name in args.networks:
        shape = (3, *sides(args.input_size)) if args.input_size else image_shape_of(name)
        costs = costs_by_name_or_file(name, shape, args.classes, args.published)
        if args.layers:
            print(text_table([LAYER_HEAD, *map(_layer_row, costs.layers)]) + '\n')
        rows.append((*_row(name, costs), f'{shape[1]} x {shape[2]}'))
    print(text_table([HEADER, *rows]))
    return 0


def _row(name: str, costs: Costs) -> tuple[str, ...]:
    counts = (f'{count:,}' for count in (costs.parameters, costs.trainable, costs.multiply_adds))
    return os.path.basename(name), *counts, _megabytes(costs.activations)


def _layer_row(layer: Layer) -> tuple[str, ...]:
    return (layer.name, layer.operator, 'x'.join(map(str, layer.output)), f'{layer.parameters:,}',
            f'{layer.multiply_adds:,}', _megabytes(layer.activations))


def _megabytes(elements: int) -> str:
    return f'{4 * elements / 1e6:.2f} MB'
