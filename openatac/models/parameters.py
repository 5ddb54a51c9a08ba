"""Parameter files: MXNet's own .params format, written whole and read strictly."""
from __future__ import annotations

import logging
from collections.abc import Sequence
from os import PathLike, fspath
from typing import Union

import mxnet as mx

from openatac.errors import ParameterFileError
from openatac.models.params_file import read_params, write_params

log = logging.getLogger('openatac')

Path = Union[str, 'PathLike[str]']
Contexts = Union[mx.Context, Sequence[mx.Context]]


def write_arrays(path: Path, arrays: dict[str, mx.nd.NDArray]) -> None:
    """Write named arrays to ``path``, whole or not at all; OSError if that fails."""
    write_params(fspath(path), {name: array.asnumpy() for name, array in arrays.items()})


def read_arrays(path: Path) -> dict[str, mx.nd.NDArray]:
    """Read the named arrays of the file ``path``; ParameterFileError if it is missing or damaged."""
    return {name: mx.nd.array(array, mx.cpu(), array.dtype)
            for name, array in read_params(fspath(path)).items()}


def initialize_parameters(net: mx.gluon.Block, seed: int, contexts: Contexts,
                          params: Path | None = None) -> None:
    """Draw the network's values from ``seed`` on ``contexts``, or read them from the file ``params``."""
    mx.random.seed(seed)
    net.initialize(mx.init.MSRAPrelu(), ctx=contexts)
    if params:
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
        A .params file with structural names.
    ctx : mxnet.Context or list of mxnet.Context, optional
        Where to put them; by default where they are, or the CPU.

    Raises
    ------
    ParameterFileError
        If the file is missing or damaged, or its names and shapes are not exactly the network's.
    """
    arrays = read_params(fspath(path))
    parameters = net._collect_params_with_prefix()
    missing = [name for name in parameters if name not in arrays]
    unexpected = [name for name in arrays if name not in parameters]
    if missing or unexpected:
        raise ParameterFileError(f'{path} is of another network: it lacks {_some(missing)} and has '
                                 f'unexpected {_some(unexpected)}')
    for name, parameter in parameters.items():
        if not _fits(arrays[name].shape, parameter.shape):
            raise ParameterFileError(f'{path} is of another network: {name} has shape {arrays[name].shape} '
                                     f'there and {parameter.shape} here')
    net.load_parameters(str(path), ctx=ctx, cast_dtype=True, dtype_source='current')


def _some(names: list[str], count: int = 3) -> str:
    if len(names) <= count:
        return ', '.join(names) or 'nothing'
    return f'{", ".join(names[:count])} and {len(names) - count} more'


def _fits(shape: Sequence[int], expected: Sequence[int]) -> bool:
    # 0 is a dimension that Gluon has yet to infer
    return len(shape) == len(expected) and all(size in (0, length) for length, size in zip(shape, expected))
