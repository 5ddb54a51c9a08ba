"""Parameter files of any kind, as NumPy arrays under a network's structural names.

================================  ==========================================================
Gluon's ``.params``               structural names, or ``net.collect_params().save``'s own
``PREFIX-0000.params``            an export, with ``arg:`` and ``aux:`` before the names
``.pt``, ``.pth``                 ``torch.save(module.state_dict(), path)`` of `to_torch`
``.safetensors``                  the same
================================  ==========================================================

Arrays are in float32 or float16. Nothing is unpickled except what PyTorch's ``weights_only`` allows.
"""
from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from openatac.errors import ParameterFileError
from openatac.files.export_checksums import check_files
from openatac.files.export_file_names import FUSED, INT8, PARAMS_SUFFIX
from openatac.files.mxnet_arrays import read_params
from openatac.zoo.weights.pytorch_files import read_state_dict
from openatac.zoo.weights.safetensors import read_safetensors

ARG, AUX = 'arg:', 'aux:'  # prefixes of parameters and running statistics in MXNet's exports
_OPTIMIZED = (FUSED + PARAMS_SUFFIX, INT8 + PARAMS_SUFFIX)


def read_parameter_file(path: str) -> dict[str, np.ndarray]:
    """Read the arrays of a parameter file under their names in the file, without ``arg:`` and ``aux:``.

    Raises
    ------
    ParameterFileError
        If the file is missing or damaged, or does not contain a network's weights as trained.
    OpenatacError
        If the file belongs to an export and does not match its checksum.
    """
    if path.endswith(_OPTIMIZED):
        raise ParameterFileError(f'{path} belongs to an optimised form of an export, not to the network '
                                 'itself: give PREFIX-0000.params beside it')
    if path.endswith(PARAMS_SUFFIX):
        check_files(path[:-len(PARAMS_SUFFIX)], [path])
    read = _READERS.get(os.path.splitext(path)[1].lower(), read_params)
    return {without_kind(name): array for name, array in read(path).items()}


def without_kind(name: str) -> str:
    """Return the name of an array without `ARG` and `AUX`."""
    return name.removeprefix(ARG).removeprefix(AUX)


def read_for_network(names: Mapping[str, str], path: str) -> dict[str, np.ndarray]:
    """Read a parameter file for a network, as {structural name: array}.

    Names that the network does not have are unchanged.

    Parameters
    ----------
    names : {str: str}
        Gluon's own name of each parameter, by structural name.
    path : str

    Raises
    ------
    ParameterFileError
        As in `read_parameter_file`.
    """
    arrays = read_parameter_file(path)
    if not arrays.keys().isdisjoint(names):
        return arrays
    in_network = _without_counters(set(names.values()))
    in_file = {key: name for name, key in _without_counters(arrays).items()}
    found: dict[str, np.ndarray] = {}
    for name, gluon_name in names.items():
        key = in_network[gluon_name]
        if key in in_file:
            found[name] = arrays.pop(in_file[key])
    return {**found, **arrays}


def _without_counters(names: Iterable[str]) -> dict[str, tuple[Any, ...]]:
    """Return {Gluon's name of a parameter: its name without Gluon's counters of instances}.

    Gluon counts the blocks that a process makes (``resnet20v2atac1_conv0_weight`` belongs to its second
    network), so only the order of these numbers is kept.
    """
    keys: dict[str, tuple[Any, ...]] = {name: (name,) for name in names}
    parts = {name: match.groups() for name in keys if (match := re.match(r'(.+?)(\d+)(_.+)', name))}
    numbers: dict[str, set[int]] = {}
    for start, number, _ in parts.values():
        numbers.setdefault(start, set()).add(int(number))
    for name, (start, number, end) in parts.items():
        keys[name] = (start, sorted(numbers[start]).index(int(number)), end)
    return keys


_READERS: dict[str, Callable[[str], dict[str, np.ndarray]]] = {
    '.pt': read_state_dict, '.pth': read_state_dict, '.safetensors': read_safetensors}
