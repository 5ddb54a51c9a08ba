"""The check of a .params file accepts intact files, and finds damage on which MXNet would crash."""
import struct

import mxnet as mx
import numpy as np
import pytest

from openatac.errors import ParameterFileError
from openatac.files.mxnet_arrays import read_layout, read_params, write_params


def check_layout(path):
    with open(path, 'rb') as file:
        read_layout(file)


@pytest.fixture
def path(tmp_path):
    """A file with two arrays, whose bytes a test changes."""
    path = tmp_path / 'two.params'
    mx.nd.save(str(path), {'weight': mx.nd.ones((2, 3)), 'bias': mx.nd.zeros(4)})
    return path


@pytest.mark.parametrize('dtype', ['float32', 'float64', 'float16', 'uint8', 'int32', 'int8', 'int64'])
@pytest.mark.parametrize('shape', [(1,), (7,), (2, 3, 4, 5), (1, 1, 1, 1, 1, 2)])
def test_intact_files_pass(tmp_path, dtype, shape):
    path, array = str(tmp_path / 'whole.params'), mx.nd.ones(shape, dtype=dtype)
    for arrays in ({'a': array, 'b': mx.nd.ones(3)}, [array]):
        mx.nd.save(path, arrays)
        check_layout(path)


def test_file_from_before_mxnet_0_12_passes(tmp_path):
    path = tmp_path / 'old.params'
    path.write_bytes(struct.pack('<QQQ IIIiii', 0x112, 0, 1, 2, 1, 3, 1, 0, 0) + np.ones(3, 'f').tobytes()
                     + struct.pack('<QQ', 1, 1) + b'w')
    assert read_params(str(path))['w'].tolist() == [[1, 1, 1]]


def test_written_files_can_be_read(tmp_path):
    arrays = {'counter': np.array(7), 'slope': np.array(0.5, 'f'), 'empty': np.zeros((0, 3), 'f'),
              'mask': np.array([True, False]), 'transposed': np.arange(6).reshape(2, 3).T}
    path = str(tmp_path / 'all.params')
    write_params(path, arrays)
    found, in_mxnet = read_params(path), mx.nd.load(path)
    assert found.keys() == in_mxnet.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], np.atleast_1d(array))
        np.testing.assert_array_equal(in_mxnet[name].asnumpy(), np.atleast_1d(array))


def test_array_of_a_type_that_the_format_lacks_is_refused(path):
    whole = path.read_bytes()
    with pytest.raises(ParameterFileError, match='indices.*uint16.*int32'):
        write_params(str(path), {'weight': np.ones(2, 'f'), 'indices': np.ones(2, 'uint16')})
    assert path.read_bytes() == whole


def test_every_truncation_is_noticed(path):
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError):
            check_layout(path)
    path.write_bytes(whole + b'\0')
    with pytest.raises(ValueError):
        check_layout(path)


def test_changed_bytes_do_not_make_mxnet_overallocate(path):
    whole = path.read_bytes()
    noticed = 0
    for place in range(len(whole)):
        for bit in (0, 7):
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
            path.write_bytes(changed)
            try:
                check_layout(path)
            except ValueError:
                noticed += 1
                continue
            try:
                loaded = mx.nd.load(str(path))
            except (mx.MXNetError, ValueError):
                continue
            assert sum(array.size for array in loaded.values()) <= len(whole)
    assert noticed > len(whole) / 4
