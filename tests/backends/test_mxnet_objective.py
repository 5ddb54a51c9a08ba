"""Label smoothing, mixup and distillation against their formulas in NumPy, and the float16 loss scale."""
import mxnet as mx
import numpy as np
import pytest
from mxnet import gluon

from openatac.backends.loss_scale import LossScale
from openatac.backends.mxnet.learner import MxnetLearner
from openatac.backends.mxnet.objective import MxnetObjective
from openatac.errors import OpenatacError

CLASSES = 5
RNG = np.random.RandomState(0)
LOGITS, LABELS = RNG.randn(4, CLASSES).astype('float32'), np.array([0, 4, 2, 2])


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def one_hot(labels, smoothing=0.0):
    return np.eye(CLASSES)[labels] * (1 - smoothing) + smoothing / CLASSES


def loss_of(objective, lam=1.0, soft_targets=None):
    targets = objective.targets(mx.nd.array(LABELS), lam)
    return objective.loss(mx.nd.array(LOGITS), targets, soft_targets).asnumpy()


@pytest.mark.parametrize('lam', [1.0, 0.3])
@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_loss_is_the_cross_entropy_with_the_mixed_smoothed_labels(smoothing, lam):
    targets = lam * one_hot(LABELS, smoothing) + (1 - lam) * one_hot(LABELS[::-1], smoothing)
    expected = -(targets * log_softmax(LOGITS)).sum(axis=1)
    objective = MxnetObjective(CLASSES, smoothing, mixup=0 if lam == 1 else 0.2)
    assert loss_of(objective, lam) == pytest.approx(expected, rel=1e-5)


def test_mixup_blends_each_image_with_its_mirror_in_the_batch():
    images = RNG.randn(4, 3, 2, 2).astype('float32')
    mixed = MxnetObjective(CLASSES, mixup=0.2).inputs(mx.nd.array(images), 0.3).asnumpy()
    assert mixed == pytest.approx(0.3 * images + 0.7 * images[::-1], abs=1e-6)


def test_mixup_share_depends_on_seed_and_iteration_and_ends_in_time():
    objective = MxnetObjective(CLASSES, mixup=0.2, mixup_iterations=400)
    drawn = [objective.draw_mixup_lambda(7, iteration) for iteration in range(400)]
    assert drawn == [objective.draw_mixup_lambda(7, iteration) for iteration in range(400)]
    assert drawn != [objective.draw_mixup_lambda(8, iteration) for iteration in range(400)]
    # Beta(0.2, 0.2): mean 1/2, variance 1 / (4 * 1.4)
    assert np.mean(drawn) == pytest.approx(0.5, abs=0.08)
    assert np.var(drawn) == pytest.approx(0.179, abs=0.03)
    assert objective.draw_mixup_lambda(7, 400) == 1 and MxnetObjective(CLASSES).draw_mixup_lambda(7, 0) == 1


@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_distillation_weighs_the_labels_against_the_softened_teacher(smoothing):
    """Hinton et al. and GluonCV's loss: hard * H(label) + (1 - hard) * T^2 * H(teacher, T)."""
    temperature, hard = 4.0, 0.3
    teacher_logits = RNG.randn(4, CLASSES).astype('float32')
    soft = np.exp(log_softmax(teacher_logits / temperature))
    expected = (hard * -(one_hot(LABELS, smoothing) * log_softmax(LOGITS)).sum(axis=1)
                + (1 - hard) * temperature ** 2 * -(soft * log_softmax(LOGITS / temperature)).sum(axis=1))
    objective = MxnetObjective(CLASSES, smoothing, teacher=lambda _: mx.nd.array(teacher_logits),
                               temperature=temperature, hard_weight=hard)
    assert loss_of(objective, soft_targets=objective.soft_targets(None)) == pytest.approx(expected, rel=1e-4)


def test_metric_is_accuracy_or_rmse_with_mixup():
    output, labels = mx.nd.array(LOGITS), mx.nd.array(LABELS)
    right = (LOGITS.argmax(axis=1) == LABELS).sum()
    assert MxnetObjective().summed_score(output, labels, labels).asscalar() == right
    mixed = MxnetObjective(CLASSES, mixup=0.2)
    distance = np.exp(log_softmax(LOGITS)) - one_hot(LABELS)
    assert mixed.metric == 'rmse'
    assert mixed.summed_score(output, labels, mixed.targets(labels, 1)).asscalar() == pytest.approx(
        4 * np.sqrt((distance ** 2).mean()), rel=1e-5)


# ------------------------------------------------------------------------------ the loss scale

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
    trained.train_batch(*batch, rate=0.1)
    assert trained.loss_scale.scale == 2.0 ** 126
    for name, values in weights.items():
        assert (trained.parameters[name].list_data()[0].asnumpy() == values).all(), name
    for _ in range(30):
        trained.train_batch(*batch, rate=1e-6)
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
