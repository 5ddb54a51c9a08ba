"""MXNet as installed works with the NumPy interface that it expects."""
import numpy as np
import pytest

from tests.helpers.processes.fresh_python import output_of

NUMPY_IS_LEFT_ALONE = '''
import warnings
warnings.simplefilter('always')
import importlib, types, numpy
before = dict(vars(numpy))
with warnings.catch_warnings(record=True) as seen:
    import openatac, mxnet as mx
    for name in ('contrib.quantization', 'contrib.onnx', 'test_utils', 'gluon.contrib.estimator'):
        importlib.import_module('mxnet.' + name)
    importlib.reload(mx.metric)
print([name for name, value in vars(numpy).items()
       if before.get(name) is not value and not isinstance(value, types.ModuleType)])
print([str(w.message) for w in seen if 'np.' in str(w.message) or 'numpy' in str(w.message)
       or issubclass(w.category, FutureWarning)])
print(mx.metric.Accuracy().get()[0], mx.runtime.__loader__.__class__.__name__)
'''


def test_numpy_is_unchanged_by_imports_late_imports_and_reloads():
    assert output_of(NUMPY_IS_LEFT_ALONE).splitlines() == ['[]', '[]', 'accuracy SourceFileLoader']


def test_mxnet_has_its_old_numpy_names_at_run_time():
    import mxnet as mx
    x = mx.np.array([1., 2., 3.])
    assert x[x > 1].asnumpy().tolist() == [2, 3]
    x[x > 2] = 0
    assert x.asnumpy().tolist() == [1, 2, 0]
    assert mx.np.ones((2, 3))[[True, False]].shape == (1, 3)
    assert mx.np.array([True, False]).asnumpy().tolist() == [True, False]
    assert mx.np.pad(mx.np.ones((1, 1)), ((1, 1), (1, 1)), mode='constant').shape == (3, 3)
    assert float(mx.np.trapz(mx.np.ones(3))) == 2
    assert mx.test_utils.default_rtols()[np.dtype(bool)] == 0


@pytest.mark.parametrize('number', [np.int64, np.int32, int])
def test_numpy_numbers_reach_operators_as_text_that_mxnet_parses(number):
    import mxnet as mx
    two = number(2)
    x = mx.nd.arange(9).reshape((number(3), number(3)))
    assert mx.nd.slice(x, begin=(number(0), None), end=(two, two)).shape == (2, 2)
    assert mx.nd.zeros((two, number(3))).shape == (2, 3)
    assert mx.nd.tile(x, reps=[two, number(1)]).shape == (6, 3)
    variable = mx.sym.Variable('x', shape=(two, number(3)))
    symbol = mx.sym.reshape(variable, shape=(number(3), two))
    assert symbol.infer_shape()[1] == [(3, 2)]
    assert 'np.' not in symbol.tojson()
    convolution = mx.gluon.nn.Conv2D(2, kernel_size=(two, two), strides=(number(1), two))
    convolution.initialize()
    convolution.hybridize()
    assert convolution(mx.nd.zeros((1, 1, 4, 4))).shape == (1, 2, 3, 2)
    pixels = mx.nd.zeros((6, 6, 3), dtype='uint8')
    crop = mx.gluon.data.vision.transforms.RandomResizedCrop((two, number(3)))
    assert crop(pixels).shape == (3, 2, 3)
    with pytest.raises(mx.MXNetError, match='no_such_file'):
        mx.io.ImageRecordIter(path_imgrec='no_such_file', data_shape=(number(3), two, two), batch_size=two)
