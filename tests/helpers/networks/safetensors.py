"""Write safetensors files, following the format's description."""
import json
import struct

import numpy as np

TYPES = {'float32': 'F32', 'float16': 'F16', 'float64': 'F64'}


def write_safetensors(path, arrays, kind=None, **more):
    """Write {name: array} as a safetensors file.

    Parameters
    ----------
    path : Path
    arrays : {name: array}
    kind : str, optional
        The number type, by default the array's own.
    more
        Further entries of the header.
    """
    header, data = dict(more), b''
    for name, array in arrays.items():
        content = np.ascontiguousarray(array).tobytes()
        header[name] = {'dtype': kind or TYPES[str(array.dtype)], 'shape': list(array.shape),
                        'data_offsets': [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    with open(path, 'wb') as handle:
        handle.write(struct.pack('<Q', len(text)) + text + data)
