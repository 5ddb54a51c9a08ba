"""Parameter files: MXNet's own .params format, written whole and read strictly."""
from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from os import PathLike, fspath
from typing import Union

import mxnet as mx

from openatac.errors import ParameterFileError
from openatac.files.writing import replace_file
from openatac.models.params_layout import check_layout

log = logging.getLogger('openatac')

Path = Union[str, 'PathLike[str]']
Contexts = Union[mx.Context, Sequence[mx.Context]]


def write_arrays(path: Path, arrays: dict[str, mx.nd.NDArray]) -> None:
    """Write named arrays to ``path``, whole or not at all.

    The file's layout is checked before it takes its place, since MXNet does not report a disk that fills
    up while its last block is flushed.

    Raises
    ------
    OSError, mxnet.MXNetError
        If the file cannot be written.
    """
    with replace_file(fspath(path)) as temporary:
        mx.nd.save(temporary, arrays)
        try:
            check_layout(temporary)
        except ValueError as error:
            raise mx.MXNetError(f'{path} was not written whole ({error})') from None


def read_arrays(path: Path) -> dict[str, mx.nd.NDArray]:
    """The named arrays of the file ``path``; ParameterFileError if it is missing or damaged."""
    try:
        check_layout(fspath(path))
        arrays = mx.nd.load(str(path))
    except FileNotFoundError:
        raise ParameterFileError(f'there is no parameter file {path}') from None
    except OSError as error:
        raise ParameterFileError(f'the parameter file {path} cannot be read: {error.strerror}') from None
    except (mx.MXNetError, ValueError):
        raise ParameterFileError(f'{path} is not an MXNet parameter file, or is damaged: copy or download it '
                                 'again') from None
    if not isinstance(arrays, dict):
        raise ParameterFileError(f'{path} holds arrays without names: save parameters with save_parameters')
    return arrays


def initialise(net: mx.gluon.Block, seed: int, contexts: Contexts, params: Path | None = None) -> None:
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
        Where to put them; where they are, or the CPU, if not given.

    Raises
    ------
    ParameterFileError
        If the file is missing or damaged, or its names and shapes are not exactly the network's.
    """
    arrays = read_arrays(path)
    parameters = net._collect_params_with_prefix()
    _check_names(path, arrays, parameters)
    for name, parameter in parameters.items():
        if not _shapes_match(parameter.shape, arrays[name].shape):
            raise ParameterFileError(f'{path} is of another network: {name} has shape {arrays[name].shape} '
                                     f'there and {parameter.shape} here')
    net.load_parameters(str(path), ctx=ctx, cast_dtype=True, dtype_source='current')


def _check_names(path: Path, arrays: Iterable[str], parameters: Iterable[str]) -> None:
    missing = [name for name in parameters if name not in arrays]
    unexpected = [name for name in arrays if name not in parameters]
    if missing or unexpected:
        raise ParameterFileError(f'{path} is of another network: it lacks {_some(missing)} and has '
                                 f'unexpected {_some(unexpected)}')


def _some(names: list[str], count: int = 3) -> str:
    if len(names) <= count:
        return ', '.join(names) or 'nothing'
    return f'{", ".join(names[:count])} and {len(names) - count} more'


def _shapes_match(expected: Sequence[int], found: Sequence[int]) -> bool:
    # 0 is a dimension that Gluon has yet to infer
    return len(expected) == len(found) and all(e in (0, f) for e, f in zip(expected, found))
