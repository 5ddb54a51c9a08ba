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

import errno
import math
import os
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, TypedDict

import numpy as np

from openatac.errors import ParameterFileError, reason
from openatac.files.reading import check_input, open_input
from openatac.files.schema import parse_json, validate
from openatac.limits import Bounds
from openatac.system.installed import NO_PYTORCH, has_torch
from openatac.zoo.weights.export_checksums import check_files
from openatac.zoo.weights.mxnet_format import MAX_PARAMS_BYTES, PARAMS_SUFFIX, read_params

ARG, AUX = 'arg:', 'aux:'  # prefixes of parameters and running statistics in MXNet's exports
_OPTIMIZED = tuple(f'-{form}{PARAMS_SUFFIX}' for form in ('fused', 'int8'))  # of exports
_SIZE = Annotated[int, Bounds(0, MAX_PARAMS_BYTES)]


def read_weights(path: str) -> dict[str, np.ndarray]:
    """Read the arrays of a parameter file under their names in the file, without ``arg:`` and ``aux:``.

    Raises
    ------
    ParameterFileError
        If the file is missing or damaged, or does not contain a network's weights as trained.
    OpenatacError
        If the file belongs to an export and does not match its checksum.
    """
    if path.endswith(_OPTIMIZED):
        raise ParameterFileError(f'{path} belongs to an optimized form of an export, not to the network '
                                 'itself: give PREFIX-0000.params beside it')
    if path.endswith(PARAMS_SUFFIX):
        check_files(path[:-len(PARAMS_SUFFIX)], [path])
    read = _READERS.get(os.path.splitext(path)[1].lower(), read_params)
    return {without_kind(name): array for name, array in read(path).items()}


def without_kind(name: str) -> str:
    """Return the name of an array without `ARG` and `AUX`."""
    return name.removeprefix(ARG).removeprefix(AUX)


def find_weights(names: Mapping[str, str], path: str) -> dict[str, np.ndarray]:
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
        As in `read_weights`.
    """
    arrays = read_weights(path)
    if not arrays.keys().isdisjoint(names):
        return arrays
    own, found = _without_counters(set(names.values())), _without_counters(arrays)
    stored = {key: name for name, key in found.items()}
    places = {name: stored[own[gluon]] for name, gluon in names.items() if own[gluon] in stored}
    rest = arrays.keys() - places.values()
    return {**{name: arrays[place] for name, place in places.items()},
            **{name: array for name, array in arrays.items() if name in rest}}


def _without_counters(names: Iterable[str]) -> dict[str, tuple[Any, ...]]:
    """Return {Gluon's name of a parameter: its name without Gluon's counters of instances}.

    Gluon counts the blocks that a process makes (``resnet20v2atac1_conv0_weight`` belongs to its second
    network), so only the order of these numbers is kept.
    """
    parts = {name: re.match(r'(.+?)(\d+)(_.+)', name) for name in names}
    counted: dict[str, set[int]] = {}
    for part in parts.values():
        if part:
            counted.setdefault(part[1], set()).add(int(part[2]))
    rank = {(base, number): rank for base, numbers in counted.items()
            for rank, number in enumerate(sorted(numbers))}
    return {name: (part[1], rank[part[1], int(part[2])], part[3]) if part else (name,)
            for name, part in parts.items()}


# ------------------------------------------------------------------------------- PyTorch's files

def _read_pytorch(path: str) -> dict[str, np.ndarray]:
    """Read a state_dict that PyTorch saved."""
    if not has_torch():
        raise ModuleNotFoundError(f'{path} is a PyTorch file: {NO_PYTORCH}', name='torch')
    import torch
    try:
        check_input(path, MAX_PARAMS_BYTES)
        state = torch.load(path, map_location='cpu', weights_only=True)
    except OSError as error:
        if error.errno == errno.EINVAL:  # PyTorch's error for a truncated file
            raise _damaged(path, 'a state_dict saved by torch.save', 'cut short') from None
        raise _unreadable(path, error) from None
    except Exception as error:  # of any kind, for files that are damaged or contain more than weights
        raise _damaged(path, 'a state_dict saved by torch.save', type(error).__name__) from None
    if not isinstance(state, Mapping) or not all(
            isinstance(name, str) and isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided
            and tensor.device.type == 'cpu' for name, tensor in state.items()):
        raise ParameterFileError(f'{path} holds more than weights: save only module.state_dict()')
    return {name.removeprefix('_orig_mod.'): numbers_of(tensor)  # added by torch.compile
            for name, tensor in state.items()}


def numbers_of(tensor: Any) -> np.ndarray:
    """Return a tensor's numbers; bfloat16, which NumPy lacks, becomes float32."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if 'bfloat16' in str(tensor.dtype) else tensor).numpy()


# ----------------------------------------------------------------------------------- safetensors

_TYPES = {'F64': '<f8', 'F32': '<f4', 'F16': '<f2', 'BF16': '<u2', 'I64': '<i8', 'I32': '<i4', 'I16': '<i2',
          'I8': '|i1', 'U8': '|u1', 'BOOL': '|b1'}


class _Tensor(TypedDict):
    """An array in the header of a safetensors file."""

    dtype: Literal['F64', 'F32', 'F16', 'BF16', 'I64', 'I32', 'I16', 'I8', 'U8', 'BOOL']
    shape: list[_SIZE]
    data_offsets: tuple[_SIZE, _SIZE]


def _read_safetensors(path: str) -> dict[str, np.ndarray]:
    """Read a safetensors file: the length of a JSON header in 8 bytes, the header, the arrays."""
    try:
        with open_input(path, MAX_PARAMS_BYTES) as file:
            size = os.fstat(file.fileno()).st_size
            length, = struct.unpack('<Q', file.read(8))
            if length > size - 8:
                raise ValueError('cut short')
            header = validate(parse_json(file.read(length).decode()), dict[str, Any])
            header.pop('__metadata__', None)
            data = file.read()
        return {name: _array(data, tensor) for name, tensor in validate(header, dict[str, _Tensor]).items()}
    except OSError as error:
        raise _unreadable(path, error) from None
    except (ValueError, struct.error):
        raise _damaged(path, 'a safetensors file', 'its header or its length is wrong') from None


def _array(data: bytes, tensor: _Tensor) -> np.ndarray:
    (first, last), shape, kind = tensor['data_offsets'], tensor['shape'], np.dtype(_TYPES[tensor['dtype']])
    if not first <= last <= len(data) or last - first != math.prod(shape) * kind.itemsize:
        raise ValueError('an array of another size')
    array = np.frombuffer(data, kind, math.prod(shape), first).reshape(shape)
    if tensor['dtype'] == 'BF16':  # the upper half of a float32
        array = (array.astype('<u4') << 16).view('<f4')
    return array


def _unreadable(path: str, error: OSError) -> ParameterFileError:
    return ParameterFileError(f'the parameter file {path} cannot be read: {reason(error)}')


def _damaged(path: str, kind: str, problem: str) -> ParameterFileError:
    return ParameterFileError(f'{path} is not {kind}, or is damaged ({problem}): copy or save it again')


_READERS: dict[str, Callable[[str], dict[str, np.ndarray]]] = {
    '.pt': _read_pytorch, '.pth': _read_pytorch, '.safetensors': _read_safetensors}
