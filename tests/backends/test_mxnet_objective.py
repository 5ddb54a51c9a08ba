"""Label smoothing, mixup and distillation against their formulas in NumPy."""
import mxnet as mx
import numpy as np
import pytest

from openatac.backends.mxnet.objective import MxnetObjective

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
    assert MxnetObjective().summed_metric(output, labels, labels).asscalar() == right
    mixed = MxnetObjective(CLASSES, mixup=0.2)
    distance = np.exp(log_softmax(LOGITS)) - one_hot(LABELS)
    assert mixed.metric_name == 'rmse'
    assert mixed.summed_metric(output, labels, mixed.targets(labels, 1)).asscalar() == pytest.approx(
        4 * np.sqrt((distance ** 2).mean()), rel=1e-5)
