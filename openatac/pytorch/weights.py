"""Read and write the parameter files of Gluon's networks, under the same names."""
from __future__ import annotations

from collections.abc import Mapping
from os import fspath

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from openatac.files.mxnet_arrays import write_params
from openatac.files.reading import PathLike
from openatac.files.writing import writing
from openatac.pytorch.gluon_names import gluon_names
from openatac.zoo.weights.loading import StoredShape, all_arrays, pretrained_arrays
from openatac.zoo.weights.pretrained import Pretrained
from openatac.zoo.weights.pytorch_files import numbers_of


def save_parameters(net: nn.Module, path: PathLike) -> None:
    """Write the network's ``state_dict()`` as a .params file, which Gluon's ``load_parameters`` can read.

    bfloat16 numbers are written as float32, since NumPy has no bfloat16.

    Raises
    ------
    OpenatacError
        If the file cannot be written.
    """
    with writing(fspath(path)):
        write_params(fspath(path), {name: numbers_of(tensor) for name, tensor in net.state_dict().items()})


def load_parameters(net: nn.Module, path: PathLike) -> None:
    """Set all parameters and running statistics of ``net`` from a file, in the network's own precision.

    Parameters
    ----------
    net : Module
        A network of `openatac.pytorch`, alone or inside other modules.
    path : str
        A parameter file of any kind that `openatac.zoo.weights.parameter_files` reads.

    Raises
    ------
    ParameterFileError
        If the file is missing or damaged, or its names and shapes are not exactly the network's.
    """
    _set_values(net, all_arrays(path, gluon_names(net), _shapes(net)))


def load_pretrained(net: nn.Module, pretrained: Pretrained) -> None:
    """Set the parameters of ``net`` from a file, possibly of a network with another number of classes.

    In that case the last dense layer keeps its values. A log line reports what was loaded. For the errors,
    see `load_parameters`.
    """
    _set_values(net, pretrained_arrays(pretrained, gluon_names(net), _shapes(net)))


def _shapes(net: nn.Module) -> dict[str, StoredShape]:
    return {name: None if is_lazy(tensor) else tuple(tensor.shape)
            for name, tensor in net.state_dict().items()}


def _set_values(net: nn.Module, arrays: Mapping[str, np.ndarray]) -> None:
    net.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()}, strict=False)
