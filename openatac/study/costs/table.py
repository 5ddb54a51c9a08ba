"""Costs of networks by name, or of symbol files, as a table.

    openatac costs cifar_resnet20_v2_relu cifar_resnet20_v2_atac
    openatac costs --layers resnet50_v1b_atac
    openatac costs exported-symbol.json --input-size 32

A multiply-add counts as one, and those of convolutions, dense layers and matrix products count, as in the
papers; --published counts a dense layer as the paper's 4.4 G does (2 x inputs x outputs - inputs + outputs).
Activations are the outputs of all operators for one image in float32, which training keeps.
"""
import argparse
import os

from openatac.arguments import CLASSES, SIDE, number
from openatac.console.text import text_table
from openatac.errors import OpenatacError

HEAD = ('network', 'parameters', 'trainable', 'multiply-adds', 'activations')
LAYER_HEAD = ('layer', 'operator', 'output', 'parameters', 'multiply-adds', 'activations')


def main(argv):
    """``openatac costs``; see the module."""
    p = argparse.ArgumentParser(prog='openatac costs', description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('networks', metavar='NAME', nargs='+', help="a network's name, or a symbol file (.json)")
    p.add_argument('--classes', type=number(int, low=1, high=CLASSES), help="(default: the host's)")
    p.add_argument('--input-size', type=number(int, low=1, high=SIDE),
                   help="side of the image (default: the network's, and 224 for symbol files)")
    p.add_argument('--published', action='store_true', help='count as the paper does')
    p.add_argument('--layers', action='store_true', help='a line for each operator too')
    args = p.parse_args(argv)
    rows = []
    for name in args.networks:
        try:
            size = args.input_size or _input_size(name)
            found, lines = measure(name, (3, size, size), args.classes, args.published)
        except ValueError as error:
            p.error(str(error))
        if args.layers:
            print(text_table([LAYER_HEAD, *map(_layer_row, lines)]) + '\n')
        rows.append((os.path.basename(name), *('{:,}'.format(value) for value in found[:3]),
                     _megabytes(found.activations)))
    print(text_table([HEAD, *rows]))
    return 0


def measure(name, image_shape, classes=None, published=False):
    """(Costs, [Layer]) of the network or symbol file ``name``.

    Raises ValueError for an unknown network, and OpenatacError for a file that is no symbol and an
    image that does not fit.
    """
    import mxnet as mx

    from openatac.export.symbol_files import load_graph
    from openatac.graph.symbol import infer_sizes
    from openatac.models.zoo import get_model
    from openatac.study.costs.count import costs, layers, symbol_costs
    net = None if name.endswith('.json') else get_model(name, classes=classes)
    symbol = load_graph(name) if net is None else net(mx.sym.var('data'))
    try:
        if net is not None:
            net.infer_shape(mx.nd.zeros((1, *image_shape)))
        else:
            infer_sizes(symbol, image_shape)
        found = symbol_costs(symbol, image_shape, published) if net is None else costs(
            net, image_shape, published)
        return found, layers(symbol, image_shape, published)
    except (mx.MXNetError, ValueError, KeyError, TypeError, IndexError, StopIteration) as error:
        # The last four are of graphs whose shapes MXNet cannot tell, and of operators that are not counted.
        raise OpenatacError('%s does not take images of %d x %d pixels (%s): choose another --input-size' % (
            name, *image_shape[1:], (str(error).strip() or 'unknown shapes').splitlines()[-1])) from None


def _input_size(name: str) -> int:
    """The side of the images that a network was made for; 224 for a symbol file."""
    from openatac.models.zoo import find_model
    return 224 if name.endswith('.json') else find_model(name)[0].input_shape[-1]


def _layer_row(layer):
    return (layer.name, layer.operator, 'x'.join(map(str, layer.output)), '{:,}'.format(layer.parameters),
            '{:,}'.format(layer.multiply_adds), _megabytes(layer.activations))


def _megabytes(elements):
    return '%.2f MB' % (4 * elements / 1e6)
