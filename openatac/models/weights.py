"""Initialise a network's parameters, load them from files strictly or for fine-tuning, and save them."""
from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from os import fspath
from typing import Union

import mxnet as mx
import numpy as np

from openatac.files.mxnet_arrays import read_params, write_params
from openatac.files.reading import PathLike
from openatac.zoo.weights.loading import StoredShape, all_arrays, pretrained_arrays
from openatac.zoo.weights.pretrained import Pretrained

log = logging.getLogger('openatac')

Contexts = Union[mx.Context, Sequence[mx.Context]]


def write_arrays(path: PathLike, arrays: dict[str, mx.nd.NDArray]) -> None:
    """Write named arrays to ``path`` atomically; raise OSError if that fails."""
    write_params(fspath(path), {name: array.asnumpy() for name, array in arrays.items()})


def read_arrays(path: PathLike) -> dict[str, mx.nd.NDArray]:
    """Read the named arrays in the file ``path``; raise ParameterFileError if it is missing or damaged."""
    return {name: mx.nd.array(array, mx.cpu(), array.dtype)
            for name, array in read_params(fspath(path)).items()}


def initialize_parameters(net: mx.gluon.Block, seed: int, contexts: Contexts,
                          params: PathLike | Pretrained | None = None) -> None:
    """Draw the network's values from ``seed`` on ``contexts``, or read them from the file ``params``."""
    mx.random.seed(seed)
    net.initialize(mx.init.MSRAPrelu(), ctx=contexts)
    if isinstance(params, Pretrained):
        load_pretrained(net, params, contexts)
    elif params:
        load_parameters(net, params, contexts)
        log.info('starting from the parameters in %s', params)


def draw_deferred_values(net: mx.gluon.Block, image_shape: tuple[int, int, int]) -> None:
    """Draw the initial values whose shapes depend on the images, for a network on the CPU."""
    net(mx.nd.zeros((1, *image_shape)))


def values_of(net: mx.gluon.Block) -> dict[str, mx.nd.NDArray]:
    """Return {structural name, such as ``features.0.gamma``: value} of a network's parameters."""
    wait_for_layouts()
    return {name: parameter._reduce() for name, parameter in net._collect_params_with_prefix().items()}


def wait_for_layouts() -> None:
    """Wait until weights can be read: on the CPU, a pending forward pass may be reordering them in place."""
    mx.nd.waitall()


def save_parameters(net: mx.gluon.Block, path: PathLike) -> None:
    """Write the network's parameters under their structural names."""
    write_arrays(path, values_of(net))


def load_parameters(net: mx.gluon.Block, path: PathLike, ctx: Contexts | None = None) -> None:
    """Set all parameters of ``net`` from the file ``path``, in the network's own precision.

    Parameters
    ----------
    net : mxnet.gluon.Block
        The network, initialised or not.
    path : str
        A parameter file of any kind that `openatac.zoo.weights.parameter_files` reads.
    ctx : mxnet.Context or list of mxnet.Context, optional
        The devices to load them to; by default their current devices, or the CPU.

    Raises
    ------
    ParameterFileError
        If the file is missing or damaged, or its names and shapes are not exactly the network's.
    """
    _set_values(net, all_arrays(path, gluon_names(net), _shapes(net)), ctx)


def load_pretrained(net: mx.gluon.Block, pretrained: Pretrained, ctx: Contexts | None = None) -> None:
    """Set the parameters of ``net`` from a file, possibly of a network with another number of classes.

    In that case the last dense layer keeps its values, or gets initial ones. A log line reports what was
    loaded. For the arguments and errors, see `load_parameters`.
    """
    arrays = pretrained_arrays(pretrained, gluon_names(net), _shapes(net))
    for name, parameter in net._collect_params_with_prefix().items():
        if name not in arrays and parameter._data is None and not parameter._deferred_init:
            parameter.initialize(default_init=mx.init.MSRAPrelu(), ctx=ctx or mx.cpu())
    _set_values(net, arrays, ctx)


def gluon_names(net: mx.gluon.Block) -> dict[str, str]:
    """Return {structural name: Gluon's own name} of the network's parameters."""
    return {name: parameter.name for name, parameter in net._collect_params_with_prefix().items()}


def _shapes(net: mx.gluon.Block) -> dict[str, StoredShape]:
    return {name: parameter.shape for name, parameter in net._collect_params_with_prefix().items()}


def _set_values(net: mx.gluon.Block, arrays: Mapping[str, np.ndarray], ctx: Contexts | None) -> None:
    parameters = net._collect_params_with_prefix()
    for name, array in arrays.items():
        parameters[name]._load_init(mx.nd.array(array, mx.cpu(), array.dtype), ctx, cast_dtype=True,
                                    dtype_source='current')


def context_of(net: mx.gluon.HybridBlock) -> mx.Context:
    """Return the first device of a network's parameters; the CPU for a network without parameters."""
    return next((parameter.list_ctx()[0] for parameter in net.collect_params().values()), mx.cpu())
