"""The float16 loss scale skips steps with overflow, and changes no others."""
import mxnet as mx
import numpy as np
import pytest
from mxnet import gluon

from openatac.backends.loss_scale import LossScale
from openatac.backends.mxnet.learner import MxnetLearner
from openatac.errors import OpenatacError

CLASSES = 5


def learner(loss_scale=None, contexts=None):
    contexts = contexts or [mx.cpu()]
    mx.random.seed(1)
    net = gluon.nn.HybridSequential()
    net.add(gluon.nn.Conv2D(4, 3), gluon.nn.BatchNorm(), gluon.nn.Flatten(), gluon.nn.Dense(CLASSES))
    net.initialize(mx.init.Xavier(), ctx=list(contexts))
    created = MxnetLearner(net, list(contexts), {'learning_rate': 0.1, 'momentum': 0.9}, (3, 6, 6))
    created.loss_scale = loss_scale
    return created


def train(some_learner, steps=3):
    rng = np.random.RandomState(2)
    for _ in range(steps):
        some_learner.train_batch(rng.randn(8, 3, 6, 6).astype('float32'), rng.randint(0, CLASSES, 8), 0.1)
    return some_learner.state()


def test_power_of_two_changes_nothing_but_the_size_of_the_gradients():
    plain, _ = train(learner())
    scaled, numbers = train(learner(LossScale(2.0 ** 10)))
    for name, values in plain.items():
        assert scaled[name] == pytest.approx(values, rel=1e-6, abs=1e-7), name
    assert numbers['loss_scale'] == {'scale': 2.0 ** 10, 'good_steps': 3}


@pytest.mark.parametrize('contexts', [(mx.cpu(),), (mx.cpu(0), mx.cpu(1))], ids=['one device', 'two'])
def test_steps_with_overflow_are_skipped_until_the_scale_fits(contexts):
    trained = learner(LossScale(2.0 ** 127), contexts)
    before = trained.checksum()
    rng = np.random.RandomState(2)
    batch = 1e3 * rng.randn(8, 3, 6, 6).astype('float32'), rng.randint(0, CLASSES, 8)
    weights = {name: parameter.list_data()[0].asnumpy() for name, parameter in trained.parameters.items()
               if parameter.grad_req != 'null'}
    trained.train_batch(*batch, learning_rate=0.1)
    assert trained.loss_scale.scale == 2.0 ** 126
    for name, values in weights.items():
        assert (trained.parameters[name].list_data()[0].asnumpy() == values).all(), name
    for _ in range(30):
        trained.train_batch(*batch, learning_rate=1e-6)
    assert trained.loss_scale.good_steps > 0 and trained.checksum() != before
    assert all(np.isfinite(array).all() for array in trained.state()[0].values())


def test_scale_doubles_after_many_good_steps_and_its_state_is_kept():
    scale = LossScale(8, patience=3)
    assert [scale.update(True) for _ in range(3)] == [True] * 3 and scale.scale == 16
    assert not scale.update(False) and scale.scale == 8
    scale.update(True)
    again = LossScale()
    again.load_state(scale.state())
    assert again.state() == {'scale': 8, 'good_steps': 1}


def test_gradients_that_are_never_finite_end_the_run():
    scale = LossScale(1)

    def overflow_often():
        for _ in range(20):
            scale.update(False)

    with pytest.raises(OpenatacError, match='--lr'):
        overflow_often()
