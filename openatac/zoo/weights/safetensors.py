"""Read safetensors files, without the package of that name."""
from __future__ import annotations

import math
import os
import struct
from typing import Annotated, Any, TypedDict

import numpy as np

from openatac.errors import ParameterFileError
from openatac.files.mxnet_arrays import MAX_PARAMS_BYTES
from openatac.files.reading import open_input
from openatac.files.schema import parse_json, validate
from openatac.limits import Bounds

_SIZE = Annotated[int, Bounds(0, MAX_PARAMS_BYTES)]
_TYPES = {'F64': '<f8', 'F32': '<f4', 'F16': '<f2', 'BF16': '<u2', 'I64': '<i8', 'I32': '<i4', 'I16': '<i2',
          'I8': '|i1', 'U8': '|u1', 'BOOL': '|b1'}


class _Tensor(TypedDict):
    """An array in the header of a safetensors file."""

    dtype: str
    shape: list[_SIZE]
    data_offsets: tuple[_SIZE, _SIZE]


def read_safetensors(path: str) -> dict[str, np.ndarray]:
    """Read a safetensors file: the length of a JSON header in 8 bytes, the header, the arrays.

    Raises ParameterFileError if the file is missing or damaged.
    """
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
        raise ParameterFileError.unreadable(path, error) from None
    except (ValueError, struct.error):
        raise ParameterFileError.damaged(
            path, 'a safetensors file', 'its header or its length is wrong') from None


def _array(data: bytes, tensor: _Tensor) -> np.ndarray:
    if tensor['dtype'] not in _TYPES:
        raise ValueError('an unknown type')
    first, last = tensor['data_offsets']
    shape = tensor['shape']
    kind = np.dtype(_TYPES[tensor['dtype']])
    if not first <= last <= len(data) or last - first != math.prod(shape) * kind.itemsize:
        raise ValueError('an array of another size')
    array = np.frombuffer(data, kind, math.prod(shape), first).reshape(shape)
    if tensor['dtype'] == 'BF16':  # the upper half of a float32
        array = (array.astype('<u4') << 16).view('<f4')
    return array
