"""MXNet's .params files read and written in NumPy, for machines without MXNet."""
from __future__ import annotations

import math
import struct

import numpy as np

from openatac.errors import ParameterFileError
from openatac.files.reading import open_input
from openatac.files.writing import replace_file
from openatac.models.params_layout import check_layout

TYPES = {0: '<f4', 1: '<f8', 2: '<f2', 3: '|u1', 4: '<i4', 5: '|i1', 6: '<i8', 7: '|b1'}  # by type flag
FLAGS = {np.dtype(name): flag for flag, name in TYPES.items()}
LIST, DENSE_ARRAY, CPU = 0x112, 0xF993FAC9, 1  # as MXNet 1.9.1 writes them


def read_params(path: str) -> dict[str, np.ndarray]:
    """The named arrays of the file ``path``; ParameterFileError if it is missing or damaged."""
    try:
        places = check_layout(path)
    except FileNotFoundError:
        raise ParameterFileError(f'there is no parameter file {path}') from None
    except OSError as error:
        raise ParameterFileError(f'the parameter file {path} cannot be read: {error.strerror}') from None
    except ValueError:
        raise ParameterFileError(f'{path} is not an MXNet parameter file, or is damaged: copy or download it '
                                 'again') from None
    arrays = {}
    with open_input(path) as handle:
        for name, place in places:
            if name is None:
                raise ParameterFileError(f'{path} holds arrays without names: save parameters with '
                                         'save_parameters')
            if place.type_flag not in TYPES:
                raise ParameterFileError(f'{path} holds bfloat16 numbers: save it from a network in float32')
            handle.seek(place.offset)
            arrays[name.decode('utf-8', 'replace')] = np.fromfile(
                handle, TYPES[place.type_flag], math.prod(place.shape)).reshape(place.shape)
    return arrays


def write_params(path: str, arrays: dict[str, np.ndarray]) -> None:
    """Write named arrays to ``path`` as MXNet's ``nd.save`` does, whole or not at all.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    with replace_file(path) as temporary, open(temporary, 'wb') as handle:
        handle.write(struct.pack('<QQQ', LIST, 0, len(arrays)))
        for array in arrays.values():
            handle.write(struct.pack(f'<Iii{array.ndim}qiii', DENSE_ARRAY, 0, array.ndim, *array.shape,
                                     CPU, 0, FLAGS[array.dtype]))
            handle.write(np.ascontiguousarray(array).tobytes())
        handle.write(struct.pack('<Q', len(arrays)))
        for name in arrays:
            handle.write(struct.pack('<Q', len(name.encode())) + name.encode())
