"""A network's parameters: drawn from a seed, read from files strictly or as a start, and written whole."""
from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike, fspath
from typing import Any, NamedTuple, Union

import mxnet as mx
import numpy as np

from openatac.errors import ParameterFileError
from openatac.models.params_file import read_params, write_params
from openatac.models.weights import find_weights

log = logging.getLogger('openatac')

Path = Union[str, 'PathLike[str]']
Contexts = Union[mx.Context, Sequence[mx.Context]]


class Pretrained(NamedTuple):
    """A parameter file to start from, and the structural name of the network's last dense layer.

    The file may be of a network with other classes: see `load_pretrained`.
    """

    path: Path
    head: str


def write_arrays(path: Path, arrays: dict[str, mx.nd.NDArray]) -> None:
    """Write named arrays to ``path``, whole or not at all; OSError if that fails."""
    write_params(fspath(path), {name: array.asnumpy() for name, array in arrays.items()})


def read_arrays(path: Path) -> dict[str, mx.nd.NDArray]:
    """Read the named arrays of the file ``path``; ParameterFileError if it is missing or damaged."""
    return {name: mx.nd.array(array, mx.cpu(), array.dtype)
            for name, array in read_params(fspath(path)).items()}


def initialize_parameters(net: mx.gluon.Block, seed: int, contexts: Contexts,
                          params: Path | Pretrained | None = None) -> None:
    """Draw the network's values from ``seed`` on ``contexts``, or read them from the file ``params``."""
    mx.random.seed(seed)
    net.initialize(mx.init.MSRAPrelu(), ctx=contexts)
    if isinstance(params, Pretrained):
        load_pretrained(net, params, contexts)
    elif params:
        load_parameters(net, params, contexts)
        log.info('starting from the parameters in %s', params)


def save_parameters(net: mx.gluon.Block, path: Path) -> None:
    """Write the network's parameters under their structural names (``features.0.gamma``, ...)."""
    mx.nd.waitall()  # on the CPU a pending forward pass may be reordering weights in place
    write_arrays(path, {name: parameter._reduce()
                        for name, parameter in net._collect_params_with_prefix().items()})


def load_parameters(net: mx.gluon.Block, path: Path, ctx: Contexts | None = None) -> None:
    """Set all parameters of ``net`` from the file ``path``, in the network's own precision.

    Parameters
    ----------
    net : mxnet.gluon.Block
        The network, initialised or not.
    path : str
        A parameter file of any kind that `openatac.models.weights` reads.
    ctx : mxnet.Context or list of mxnet.Context, optional
        Where to put them; by default where they are, or the CPU.

    Raises
    ------
    ParameterFileError
        If the file is missing or damaged, or its names and shapes are not exactly the network's.
    """
    arrays = find_weights(net, fspath(path))
    parameters = net._collect_params_with_prefix()
    _check_names(path, arrays, parameters)
    _check_shapes(path, arrays, parameters, '; --pretrained, or pretrained= of get_model, starts from a '
                  'network with other classes')
    _set_values(parameters, arrays, ctx)


def load_pretrained(net: mx.gluon.Block, pretrained: Pretrained, ctx: Contexts | None = None) -> None:
    """Set the parameters of ``net`` from a file whose network may have another number of classes.

    Then the last dense layer keeps its values, or gets initial ones if it has none. One line of the log says
    what was loaded. The arguments and errors are those of `load_parameters`.
    """
    path, head = pretrained
    arrays = find_weights(net, fspath(path))
    parameters = net._collect_params_with_prefix()
    _check_names(path, arrays, parameters)
    own = [name for name in parameters if name.startswith(head + '.')]
    if _differ_in_classes([(arrays[name].shape, parameters[name].shape) for name in own]):
        for name in own:
            if parameters[name]._data is None and not parameters[name]._deferred_init:
                parameters[name].initialize(default_init=mx.init.MSRAPrelu(), ctx=ctx or mx.cpu())
    else:
        own = []
    loaded = {name: parameter for name, parameter in parameters.items() if name not in own}
    _check_shapes(path, arrays, loaded)
    _set_values(loaded, arrays, ctx)
    if own:  # a warning, which Python shows by default
        log.warning('%s: loaded %d arrays; not loaded but drawn at random: %s', path, len(loaded), ', '.join(
            f'{name} {parameters[name].shape}, which has {arrays[name].shape} there' for name in own))
    else:
        log.info('%s: loaded all %d arrays', path, len(loaded))


def _differ_in_classes(shapes: Iterable[tuple[tuple[int, ...], tuple[int, ...]]]) -> bool:
    """Return whether two heads, of which the shapes of each array are given, differ only in the outputs."""
    shapes = list(shapes)
    return (all(len(one) == len(other) and _fits(one[1:], other[1:]) for one, other in shapes)
            and any(one[0] != other[0] for one, other in shapes))


def _check_names(path: Path, arrays: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    missing = [name for name in parameters if name not in arrays]
    unexpected = [name for name in arrays if name not in parameters]
    if missing or unexpected:
        raise ParameterFileError(f'{path} is of another network: it lacks {_some(missing)} and has '
                                 f'unexpected {_some(unexpected)}')


def _check_shapes(path: Path, arrays: Mapping[str, np.ndarray],
                  parameters: Mapping[str, mx.gluon.Parameter], advice: str = '') -> None:
    for name, parameter in parameters.items():
        if not _fits(arrays[name].shape, parameter.shape):
            raise ParameterFileError(f'{path} is of another network: {name} has shape {arrays[name].shape} '
                                     f'there and {parameter.shape} here{advice}')


def _set_values(parameters: Mapping[str, mx.gluon.Parameter], arrays: Mapping[str, np.ndarray],
                ctx: Contexts | None) -> None:
    for name, parameter in parameters.items():
        array = arrays[name]
        parameter._load_init(mx.nd.array(array, mx.cpu(), array.dtype), ctx, cast_dtype=True,
                             dtype_source='current')


def _some(names: list[str], count: int = 3) -> str:
    if len(names) <= count:
        return ', '.join(names) or 'nothing'
    return f'{", ".join(names[:count])} and {len(names) - count} more'


def _fits(shape: Sequence[int], expected: Sequence[int]) -> bool:
    # 0 is a dimension that Gluon has yet to infer
    return len(shape) == len(expected) and all(size in (0, length) for length, size in zip(shape, expected))
