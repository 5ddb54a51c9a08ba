"""The state of a learner continues in another one, of the other library or with other devices."""
import re

import numpy as np
import pytest

import openatac
from openatac.backends.base import open_backend
from openatac.backends.compute import Compute
from openatac.backends.state_conversion import convert_state
from tests.helpers.learners.mxnet_learner import use_two_devices


def trained_learner(name, monkeypatch, dtype='float32', steps=3):
    """Return the engine's learner after steps on made-up images; 'mxnet2' has two devices."""
    if name == 'torch':
        pytest.importorskip('torch')
    if name == 'mxnet2':
        use_two_devices(monkeypatch)
    net = openatac.get_model('cifar_resnet8_v2_atac')
    opened = open_backend(net, Compute(engine=name.rstrip('2'), dtype=dtype), (3, 32, 32), 0, '', True)
    opened.initialize()
    learner = opened.learner({'learning_rate': 0.1, 'momentum': 0.9, 'wd': 1e-4}, {})
    chance = np.random.RandomState(0)
    for _ in range(steps):
        learner.train_batch(chance.randn(8, 3, 32, 32).astype('float32'), chance.randint(0, 10, 8), 0.1)
    return learner


@pytest.mark.parametrize('one, other', [
    ('mxnet', 'torch'), ('torch', 'mxnet'), ('mxnet2', 'torch'), ('mxnet', 'mxnet2'), ('mxnet2', 'mxnet')])
def test_state_is_converted_between_learners(one, other, monkeypatch):
    """Momenta agree to the bit, and everything else as in the original learner."""
    with monkeypatch.context() as patched:
        trained = trained_learner(one, patched)
    with monkeypatch.context() as patched:
        resumed = trained_learner(other, patched, steps=0)
    arrays, numbers = trained.state()
    converted, found = convert_state(arrays, numbers, resumed, trained.image_count)
    resumed.load_state(converted, found)
    assert resumed.iteration == 3 and resumed.image_count == 24
    momenta, expected = resumed.optimizer_states(), trained.optimizer_states()
    assert momenta.keys() == expected.keys() and any(array.any() for array in expected.values())
    assert all(np.array_equal(momenta[name], array) for name, array in expected.items())
    assert resumed.read_metrics()[:3] == pytest.approx(trained.read_metrics()[:3], rel=1e-6)
    images = np.random.RandomState(1).randn(16, 3, 32, 32).astype('float32')
    losses = [learner.evaluate([(images.copy(), np.arange(16) % 10)]).loss for learner in (trained, resumed)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_state_of_another_network_is_refused(monkeypatch):
    learner = trained_learner('mxnet', monkeypatch, steps=0)
    arrays, numbers = learner.state()
    name = next(iter(arrays))
    for wrong in ({name: np.zeros((3, 3, 7, 7), 'float32')}, {}):
        with pytest.raises((KeyError, ValueError), match=re.escape(name)):
            convert_state({**{key: array for key, array in arrays.items() if key != name}, **wrong},
                          numbers, learner, 0)
