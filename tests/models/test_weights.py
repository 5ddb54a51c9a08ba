"""Parameters of a Gluon network in a file; tests/zoo/test_weights.py loads files of every kind."""
import errno
import os

import mxnet as mx
import numpy as np
import pytest

from openatac.errors import ParameterFileError
from openatac.models.weights import load_parameters, read_arrays, save_parameters, write_arrays
from tests.helpers.processes.full_disk import limit_file_size


def dense(units=4, inputs=3):
    net = mx.gluon.nn.Dense(units, in_units=inputs)
    net.initialize()
    return net


def test_parameters_roundtrip_in_any_precision(tmp_path):
    net, other, path = dense(), dense(), str(tmp_path / 'w.params')
    save_parameters(net, path)
    load_parameters(other, path)
    np.testing.assert_array_equal(other.weight.data().asnumpy(), net.weight.data().asnumpy())
    net.cast('float16')
    save_parameters(net, path)
    load_parameters(other, path)
    assert other.weight.data().dtype == np.float32
    np.testing.assert_array_equal(other.weight.data().asnumpy(), net.weight.data().asnumpy())


def test_parameters_of_another_network_are_refused(tmp_path):
    path = str(tmp_path / 'w.params')
    norm = mx.gluon.nn.BatchNorm(in_channels=4)
    norm.initialize()
    for net, sentence in ((dense(5), r'weight .*\(5, 3\).*\(4, 3\)'),
                          (norm, 'weight, bias .* gamma')):
        save_parameters(net, path)
        target = dense()
        before = target.weight.data().asnumpy()
        with pytest.raises(ParameterFileError, match=f'{path}.*{sentence}'):
            load_parameters(target, path)
        np.testing.assert_array_equal(target.weight.data().asnumpy(), before)


def test_damaged_parameters_are_refused(tmp_path):
    path, random = str(tmp_path / 'w.params'), np.random.RandomState(0)
    save_parameters(dense(), path)
    with open(path, 'rb') as handle:
        whole = handle.read()
    damaged = [whole[:length] for length in range(0, len(whole), 7)] + [random.bytes(300) for _ in range(20)]
    for content in damaged:
        with open(path, 'wb') as handle:
            handle.write(content)
        with pytest.raises(ParameterFileError, match=path):
            read_arrays(path)
    with pytest.raises(ParameterFileError, match='none.params'):
        read_arrays(str(tmp_path / 'none.params'))
    mx.nd.save(path, [mx.nd.ones(1)])
    with pytest.raises(ParameterFileError, match=path):
        read_arrays(path)


def test_truncated_parameter_file_does_not_replace_the_old_one(tmp_path):
    path = str(tmp_path / 'w.params')
    write_arrays(path, {'w': mx.nd.ones(3)})
    with limit_file_size(os.path.getsize(path) // 2), pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
        write_arrays(path, {'w': mx.nd.zeros(3)})
    assert read_arrays(path)['w'].asnumpy().tolist() == [1, 1, 1] and os.listdir(tmp_path) == ['w.params']
