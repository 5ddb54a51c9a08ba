"""Symbol files, ``NAME-symbol.json`` and ``NAME-0000.params``: written, and read strictly."""
import errno
import os
import warnings

import mxnet as mx
import numpy as np

from openatac.errors import OpenatacError
from openatac.export.file_set import replace_set
from openatac.export.manifest import prefix_of
from openatac.files.checksums import check_files
from openatac.files.writing import write_text, writing
from openatac.graph.nodes import Graph
from openatac.graph.symbol import check_sizes, load_symbol_file
from openatac.models.parameters import read_arrays, write_arrays

INPUT = 'data'
SYMBOL, PARAMS = '-symbol.json', '-0000.params'
FLOAT16 = '2'  # MXNet's number for it


def trace(net):
    """(symbol, arrays) of a HybridBlock whose parameters have values.

    arrays: {'arg:NAME' or, for running statistics, 'aux:NAME': NDArray}, as in the files.
    """
    mx.nd.waitall()  # on the CPU a pending forward pass may be reordering weights in place
    symbol = net(mx.sym.var(INPUT))
    return symbol, with_kinds(symbol, {parameter.name: parameter._reduce()
                                       for parameter in net.collect_params().values()})


def trace_half(net):
    """(symbol, arrays) of `trace` in float16, as it is trained: BatchNorm's vectors stay float32.

    ``net`` must be in float32, and is so again afterwards with the values that it had.
    """
    values = {name: parameter._reduce() for name, parameter in net.collect_params().items()}
    net.cast('float16')
    try:
        symbol, arrays = trace(net)
    finally:
        net.cast('float32')
        for name, parameter in net.collect_params().items():
            parameter.set_data(values[name])
    graph = Graph.of(symbol)
    half = {key[4:] for key, array in arrays.items() if array.dtype == np.float16}
    for node in graph.nodes():  # Gluon's variables keep the type that they were made with
        if node.is_variable and node.name in half:
            node.attributes['__dtype__'] = FLOAT16
    return graph.symbol(), arrays


def with_kinds(symbol, arrays):
    """{'arg:NAME' or 'aux:NAME': NDArray}, as in the files, of the {name: NDArray} that ``symbol`` needs."""
    return {key: arrays[key[4:]] for key in _keys(symbol)}


def write_symbol(path, symbol, arrays):
    """Write ``path-symbol.json`` and ``path-0000.params``. Raises OSError."""
    write_text(path + SYMBOL, symbol.tojson())
    try:
        write_arrays(path + PARAMS, arrays)
    except mx.MXNetError as error:
        raise OSError(errno.EIO, 'MXNet could not write it, is the disk full?', path + PARAMS) from error


def read_symbol(path):
    """(symbol, arrays) of the files of ``path``; OpenatacError if they are missing, damaged or no pair."""
    check_files(prefix_of(path + SYMBOL), [path + PARAMS])
    symbol, arrays = load_graph(path + SYMBOL), read_arrays(path + PARAMS)
    wrong = sorted(set(_keys(symbol)) ^ set(arrays))
    if wrong:
        raise OpenatacError('%s and %s are not of one network: %s is in one of them only; export again' % (
            path + SYMBOL, os.path.basename(path + PARAMS), wrong[0]))
    return symbol, arrays


def load_symbol(path, ctx=None, image_shape=None):
    """The SymbolBlock of ``path-symbol.json`` and ``path-0000.params``; raises as `read_symbol`.

    image_shape : (C, H, W) of the images that it must take, if it is not known to do so
    """
    symbol, arrays = read_symbol(path)
    if image_shape:
        check_sizes(symbol, image_shape, **{key[4:]: array.shape for key, array in arrays.items()
                                            if key.startswith('arg:')})
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', 'Cannot decide type')  # of the input: float32 it is
            net = mx.gluon.SymbolBlock(symbol, mx.sym.var(INPUT))
        net.collect_params().load_dict(arrays, ctx, cast_dtype=True, dtype_source='saved')
    except (AssertionError, ValueError, TypeError, mx.MXNetError) as error:  # of shapes, types and storage
        raise OpenatacError('%s and %s are not of one network (%s): export again'
                            % (path + SYMBOL, os.path.basename(path + PARAMS), error)) from None
    return net


def export_symbol(net, path, image_shape, batch=2):
    """Write the symbol files of an initialised HybridBlock, without description: see `bundle.export`.

    The files are loaded back and run on random images before they take their place; returns the
    largest difference between the two outputs. Raises OpenatacError if the outputs disagree or
    the files can't be written.
    """
    context = next((parameter.list_ctx()[0] for parameter in net.collect_params().values()), mx.cpu())
    images = mx.nd.array(np.random.RandomState(0).randn(batch, *image_shape), context)
    net.hybridize()
    expected = net(images).asnumpy()
    with writing(path), replace_set(path, [path + SYMBOL, path + PARAMS]) as aside:
        write_symbol(aside, *trace(net))
        difference = float(np.abs(load_symbol(aside, context)(images).asnumpy() - expected).max())
        if not difference <= 1e-5 * max(1.0, np.abs(expected).max()):
            raise OpenatacError('the exported symbol computes other outputs than the network (by %g)'
                                % difference)
    return difference


def _keys(symbol):
    """The names of the arrays that a symbol needs, as they stand in its file."""
    return (['arg:' + name for name in symbol.list_arguments() if name != INPUT]
            + ['aux:' + name for name in symbol.list_auxiliary_states()])


def load_graph(path):
    """The Symbol of the file ``path`` alone; OpenatacError if it is damaged, or has no input `INPUT`."""
    check_files(prefix_of(path), [path])
    symbol = load_symbol_file(path)
    if INPUT not in symbol.list_arguments():
        raise OpenatacError('%s has no input called %r: name a file that openatac has exported'
                            % (path, INPUT))
    return symbol
