"""Export to symbol files, and proof that the files compute what the network does."""
import contextlib
import io
import logging
import os
import tempfile
import warnings

import mxnet as mx
import numpy as np

from openatac.errors import OpenatacError
from openatac.models.parameters import load_parameters

log = logging.getLogger('openatac')


def export_symbol(net, path, image_shape, batch=2):
    """Write ``path-symbol.json`` and ``path-0000.params`` of an initialised HybridBlock.

    The files are loaded back and run on random images before they take their place; returns the
    largest difference between the two outputs. Raises OpenatacError if the outputs disagree or
    the files can't be written.
    """
    context = next((parameter.list_ctx()[0] for parameter in net.collect_params().values()), mx.cpu())
    images = mx.nd.array(np.random.RandomState(0).randn(batch, *image_shape), context)
    net.hybridize()
    expected = net(images).asnumpy()
    folder, name = os.path.split(os.path.abspath(path))
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as aside:
            with contextlib.redirect_stdout(io.StringIO()):
                net.export(os.path.join(aside, name), epoch=0)
            difference = float(np.abs(load_symbol(os.path.join(aside, name), context)(images).asnumpy()
                                      - expected).max())
            if not difference <= 1e-5 * max(1.0, np.abs(expected).max()):
                raise OpenatacError('the exported symbol computes other outputs than the network (by %g)'
                                    % difference)
            for suffix in ('-0000.params', '-symbol.json'):
                os.replace(os.path.join(aside, name + suffix), os.path.join(folder, name + suffix))
    except (OSError, mx.MXNetError) as error:
        raise OpenatacError('%s cannot be written (%s)' % (path, str(error).splitlines()[0])) from None
    return difference


def export_run(net, folder, path, image_shape):
    """Export the best parameters of the run in ``folder``; ``net`` is its network, not initialised."""
    load_parameters(net, os.path.join(folder, 'best.params'))
    difference = export_symbol(net, path, image_shape)
    log.info('exported the best network to %s-symbol.json and %s-0000.params; loaded back, its outputs '
             'differ by at most %g', path, path, difference)


def load_symbol(path, ctx=None):
    """The SymbolBlock of ``path-symbol.json`` and ``path-0000.params``."""
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Cannot decide type')  # of the input: float32 it is
        return mx.gluon.SymbolBlock.imports(path + '-symbol.json', ['data'], path + '-0000.params', ctx=ctx)
