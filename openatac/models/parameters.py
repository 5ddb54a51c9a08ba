"""Parameter files: MXNet's own .params format, written whole and read strictly."""
import logging

import mxnet as mx

from openatac.errors import ParameterFileError
from openatac.files.writing import replace_file
from openatac.models.params_layout import check_layout

log = logging.getLogger('openatac')


def write_arrays(path, arrays):
    """Write {name: NDArray} to ``path``, whole or not at all.

    Its layout is walked before it takes its place, since MXNet does not report a disk that fills
    up while its last block is flushed. Raises OSError or mxnet.MXNetError.
    """
    with replace_file(path) as temporary:
        mx.nd.save(temporary, arrays)
        try:
            check_layout(temporary)
        except ValueError as error:
            raise mx.MXNetError('%s was not written whole (%s)' % (path, error)) from None


def read_arrays(path):
    """{name: NDArray} of the file ``path``; ParameterFileError if it is missing or damaged."""
    try:
        check_layout(path)
        arrays = mx.nd.load(str(path))
    except FileNotFoundError:
        raise ParameterFileError('there is no parameter file %s' % path) from None
    except OSError as error:
        raise ParameterFileError(f'the parameter file {path} cannot be read: {error.strerror}') from None
    except (mx.MXNetError, ValueError):
        raise ParameterFileError('%s is not an MXNet parameter file, or is damaged: copy or download it again'
                                 % path) from None
    if not isinstance(arrays, dict):
        raise ParameterFileError('%s holds arrays without names: save parameters with save_parameters' % path)
    return arrays


def initialise(net, seed, contexts, params=None):
    """Draw the network's values from ``seed`` on ``contexts``, or read them from the file ``params``."""
    mx.random.seed(seed)
    net.initialize(mx.init.MSRAPrelu(), ctx=contexts)
    if params:
        load_parameters(net, params, contexts)
        log.info('starting from the parameters in %s', params)


def save_parameters(net, path):
    """Write the network's parameters under their structural names (``features.0.gamma``, ...)."""
    mx.nd.waitall()  # on the CPU a pending forward pass may be reordering weights in place
    write_arrays(path, {name: parameter._reduce()
                        for name, parameter in net._collect_params_with_prefix().items()})


def load_parameters(net, path, ctx=None):
    """Set all parameters of ``net`` from the file ``path``, in the network's own precision.

    ctx: context or list of contexts to put them on; where they are, or the CPU, if not given.

    Raises ParameterFileError unless names and shapes are exactly the network's.
    """
    arrays = read_arrays(path)
    parameters = net._collect_params_with_prefix()
    _check_names(path, arrays, parameters)
    for name, parameter in parameters.items():
        if not _shapes_match(parameter.shape, arrays[name].shape):
            raise ParameterFileError('%s is of another network: %s has shape %s there and %s here'
                                     % (path, name, arrays[name].shape, parameter.shape))
    net.load_parameters(str(path), ctx=ctx, cast_dtype=True, dtype_source='current')


def _check_names(path, arrays, parameters):
    missing = [name for name in parameters if name not in arrays]
    unexpected = [name for name in arrays if name not in parameters]
    if missing or unexpected:
        raise ParameterFileError('%s is of another network: it lacks %s and has unexpected %s'
                                 % (path, _some(missing), _some(unexpected)))


def _some(names, count=3):
    if len(names) <= count:
        return ', '.join(names) or 'nothing'
    return '%s and %d more' % (', '.join(names[:count]), len(names) - count)


def _shapes_match(expected, found):
    # 0 is a dimension that Gluon has yet to infer
    return len(expected) == len(found) and all(e in (0, f) for e, f in zip(expected, found))
