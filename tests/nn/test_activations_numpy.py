"""Every activation agrees with its formula in NumPy: outputs, gradients, parameter counts, export."""
import math

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd

from openatac.nn.activations import Sine
from openatac.nn.xunit import XUnit
from openatac.zoo.units import ACTIVATIONS
from tests.helpers.images.random_images import random_images
from tests.helpers.networks.numpy_layers import (
    SHAPE,
    batch_norm,
    check_against_numpy,
    check_export,
    close,
    convolve,
    local_attention,
    relu,
    sigmoid,
    trainable,
)

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def xunit(x, p, training):
    d = convolve(relu(batch_norm(x, p, 'bn1', training)), p['conv.weight'], groups=x.shape[1])
    return x * np.exp(-batch_norm(d, p, 'bn2', training) ** 2)


REFERENCES = {
    'relu': lambda x, p, training: relu(x),
    'prelu': lambda x, p, training: np.where(x > 0, x, p['alpha'] * x),
    'elu': lambda x, p, training: np.where(x > 0, x, np.exp(x) - 1),
    'selu': lambda x, p, training: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * (np.exp(x) - 1)),
    'gelu': lambda x, p, training: x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2,
    'swish': lambda x, p, training: x * sigmoid(x),
    'mish': lambda x, p, training: x * np.tanh(np.log1p(np.exp(x))),
    'frelu': lambda x, p, training: np.maximum(
        x, batch_norm(convolve(x, p['conv.weight'], groups=x.shape[1]), p, 'bn', training)),
    'sine': lambda x, p, training: np.sin(x),
    'xunit': xunit,
    'ChaATAC': lambda x, p, training: x * sigmoid(local_attention(x, p, training)),
}


def test_every_activation_has_a_numpy_reference():
    assert sorted(REFERENCES) == sorted(ACTIVATIONS)


@pytest.mark.parametrize('name', sorted(set(ACTIVATIONS) - {'selu'}))
def test_values_and_gradients(name):
    check_against_numpy(ACTIVATIONS.find(name).gluon(SHAPE[1]), REFERENCES[name])


@pytest.mark.parametrize('hybrid', [False, True], ids=['imperative', 'hybridized'])
def test_selu_has_the_gradient_of_the_published_runs(hybrid):
    """Below zero, MXNet 1.9.1 gives scale * (alpha + y), up to 0.09 less than the right scale * alpha + y.

    The published graph uses that operator, and its recorded training this gradient, so both are kept.
    """
    unit = ACTIVATIONS.find('selu').gluon(SHAPE[1])
    if hybrid:
        unit.hybridize()
    x = random_images(*SHAPE, seed=1)
    x.attach_grad()
    with autograd.record():
        y = unit(x)
    y.backward()
    value = REFERENCES['selu'](x.asnumpy().astype('float64'), {}, False)
    assert close(y.asnumpy(), value)
    assert close(x.grad.asnumpy(), np.where(value > 0, SELU_SCALE, SELU_SCALE * (SELU_ALPHA + value)))


@pytest.mark.parametrize('name', sorted(ACTIVATIONS))
def test_export_and_load_back(name, tmp_path):
    check_export(ACTIVATIONS.find(name).gluon(SHAPE[1]), tmp_path, SHAPE)


@pytest.mark.parametrize('name, count', [
    ('relu', 0), ('elu', 0), ('selu', 0), ('gelu', 0), ('swish', 0), ('mish', 0), ('sine', 0),
    ('prelu', 1),                                   # one slope
    ('frelu', 32 * 9 + 2 * 32),                     # 3x3 filters, BatchNorm
    ('xunit', 2 * 32 + 32 * 81 + 2 * 32),           # BatchNorm, 9x9 filters, BatchNorm
    ('ChaATAC', 32 * 16 + 2 * 16 + 16 * 32 + 2 * 32),
])
def test_parameter_counts(name, count):
    assert trainable(ACTIVATIONS.find(name).gluon(32), (1, 32, 4, 4)) == count


def test_large_inputs_stay_finite():
    """Test inputs for which exp(x) overflows in float32."""
    x = mx.nd.array([[[[-200.0, 200.0]]]])
    for name in ('elu', 'selu', 'gelu', 'swish', 'mish'):
        unit = ACTIVATIONS.find(name).gluon(1)
        unit.initialize()
        assert np.isfinite(unit(x).asnumpy()).all(), name


@pytest.mark.parametrize('build, named', [
    (lambda: XUnit(4, kernel=8), r'kernel\b.*\b8\b'),
    (lambda: XUnit(4, kernel=-1), r'kernel\b.*-1\b'),
    (lambda: Sine(w0=0), r'w0\b.*\b0$'),
    (lambda: ACTIVATIONS.find('funnel').gluon(4), "ChaATAC.*'funnel'"),
])
def test_bad_argument_is_named(build, named):
    with pytest.raises(ValueError, match=named):
        build()


def test_sine_frequency_is_applied():
    x = random_images(*SHAPE, seed=1)
    assert close(ACTIVATIONS.find('sine').gluon(4, w0=30)(x).asnumpy(), np.sin(30 * x.asnumpy()))
