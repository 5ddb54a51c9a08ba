"""Read the arrays of a parameter file, and check that they fit a Gluon or PyTorch network."""
from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from os import fspath
from typing import Any, Union

import numpy as np

from openatac.errors import OtherClassesError, ParameterFileError
from openatac.files.mxnet_arrays import stored_shape
from openatac.files.reading import PathLike
from openatac.text import first_few
from openatac.zoo.weights.parameter_files import read_for_network
from openatac.zoo.weights.pretrained import Pretrained

log = logging.getLogger('openatac')
StoredShape = Union[tuple[int, ...], None]  # 0 is a dimension, and None a shape, not inferred yet

OTHER_CLASSES = '; --pretrained, or pretrained= of get_model, starts from a network with other classes'
OTHER_SETTINGS = '; give the settings that it was trained with, such as r, useReLU or channels'


def all_arrays(path: PathLike, gluon_names: Mapping[str, str], shapes: Mapping[str, StoredShape]
               ) -> dict[str, np.ndarray]:
    """Return {structural name: array} of all parameters of a network.

    Parameters
    ----------
    path : str
        A parameter file of any kind that `openatac.zoo.weights.parameter_files` reads.
    gluon_names : dict
        {structural name: name in Gluon's prefixed files}.
    shapes : dict
        {structural name: shape} of the network's parameters; the last dense layer's come last.

    Raises
    ------
    ParameterFileError
        If the file is missing or damaged, or its names and shapes are not exactly the network's.
    """
    arrays = read_for_network(gluon_names, fspath(path))
    _check_names(path, arrays, shapes)
    _check_shapes(path, arrays, shapes, head_is_last=True)
    return arrays


def pretrained_arrays(pretrained: Pretrained, gluon_names: Mapping[str, str],
                      shapes: Mapping[str, StoredShape]) -> dict[str, np.ndarray]:
    """Return the arrays of a file, without those of the last dense layer if it has other classes there.

    A log line reports what was loaded. For the parameters and errors, see `all_arrays`.
    """
    path, head = pretrained
    arrays = read_for_network(gluon_names, fspath(path))
    _check_names(path, arrays, shapes)
    drawn = _head_of_other_size(arrays, shapes, head)
    _check_shapes(path, arrays, {name: shape for name, shape in shapes.items() if name not in drawn})
    # a warning, which Python shows by default, if not all were loaded
    log.log(logging.WARNING if drawn else logging.INFO, '%s', _describe_loading(path, arrays, shapes, drawn))
    return {name: array for name, array in arrays.items() if name not in drawn}


def _check_names(path: PathLike, arrays: Mapping[str, Any], shapes: Mapping[str, StoredShape]) -> None:
    """Raise ParameterFileError unless the file's arrays have the network's names."""
    missing = [name for name in shapes if name not in arrays]
    unexpected = [name for name in arrays if name not in shapes]
    if missing or unexpected:
        differences = [f'{verb} {first_few(names)}' for verb, names in (
            ('lacks', missing), ('has unexpected', unexpected)) if names]
        raise ParameterFileError(
            f'{path} belongs to another network: it {" and ".join(differences)}{OTHER_SETTINGS}')


def _check_shapes(path: PathLike, arrays: Mapping[str, np.ndarray], shapes: Mapping[str, StoredShape],
                  head_is_last: bool = False) -> None:
    """Raise ParameterFileError unless the file's arrays have the network's ``shapes``.

    With ``head_is_last``, the shapes end with the last dense layer. If that differs, the error is an
    OtherClassesError, and its message explains how to load a network with other classes.
    """
    for name, shape in shapes.items():
        if not shape_fits(arrays[name].shape, shape):
            given = arrays[name].shape
            message = (f'{path} belongs to another network: {name} has shape {_shown(given)}, but this '
                       f'network needs {_shown(shape)}')
            is_head = head_is_last and _layer(name) == _layer([*shapes][-1])
            if is_head and given and shape and given[0] != shape[0]:
                raise OtherClassesError(given[0], message + OTHER_CLASSES)
            raise ParameterFileError(message + OTHER_SETTINGS)


def _layer(parameter: str) -> str:
    return parameter.rpartition('.')[0]


def _shown(shape: StoredShape) -> str:
    return str(tuple(length or '?' for length in shape or ())).replace("'", '')


def _head_of_other_size(arrays: Mapping[str, np.ndarray], shapes: Mapping[str, StoredShape], head: str
                        ) -> list[str]:
    """Return the names of the last dense layer if it has another number of classes in the file, else none."""
    names = [name for name in shapes if name.startswith(head + '.')]
    pairs = [(arrays[name].shape, shapes[name] or ()) for name in names]
    if all(len(one) == len(other) and shape_fits(one[1:], other[1:]) for one, other in pairs) and any(
            one[0] != other[0] for one, other in pairs):
        return names
    return []


def _describe_loading(path: PathLike, arrays: Mapping[str, np.ndarray], shapes: Mapping[str, StoredShape],
                      drawn: Sequence[str]) -> str:
    """Describe in one line which arrays were loaded, and which were ``drawn`` at random."""
    if not drawn:
        return f'{path}: loaded all {len(shapes)} arrays, including the last layer'
    rest = ', '.join(f'{name} {_shown(shapes[name])}, {_shown(arrays[name].shape)} in the file'
                     for name in drawn)
    return f'{path}: loaded {len(shapes) - len(drawn)} arrays; initialised at random: {rest}'


def shape_fits(shape: Sequence[int], expected: Sequence[int] | None) -> bool:
    """Return whether an array's shape fits a network's, which can have unknown dimensions.

    Both can be as in the network or as in a file; see `openatac.files.mxnet_arrays.stored_shape`.
    """
    if expected is None:
        return True
    shape, expected = stored_shape(shape), stored_shape(expected)
    return len(shape) == len(expected) and all(size in (0, length) for length, size in zip(shape, expected))
