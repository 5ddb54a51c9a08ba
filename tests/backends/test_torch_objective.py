"""PyTorch's objective and its gradients agree with MXNet's in all combinations."""
import itertools

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon

torch = pytest.importorskip('torch')

from openatac.backends.mxnet.objective import MxnetObjective  # noqa: E402
from openatac.backends.torch.objective import TorchObjective  # noqa: E402
from openatac.conversion.networks import to_torch  # noqa: E402  (they need torch)

CLASSES, BATCH = 7, 6
RNG = np.random.RandomState(0)
IMAGES = RNG.randn(BATCH, 3, 8, 8).astype('float32')
LOGITS = 3 * RNG.randn(BATCH, CLASSES).astype('float32')
LABELS = np.array([0, 6, 2, 2, 5, 1], 'int32')
WITH_TEACHER = 3e-6  # MXNet's softened logarithms differ by 1.4e-6 from float64 (ours: by 1e-7)
COMBINATIONS = list(itertools.product([0.0, 0.1], [0.0, 0.2], [False, True]))


def teacher_network():
    mx.random.seed(3)
    net = gluon.nn.HybridSequential()
    net.add(gluon.nn.Conv2D(4, 3), gluon.nn.BatchNorm(), gluon.nn.Activation('relu'), gluon.nn.Dense(CLASSES))
    net.initialize(mx.init.Xavier())
    with autograd.record():  # statistics other than 0 and 1
        net(mx.nd.array(IMAGES)).backward()
    return net


def both(smoothing=0.0, mixup=0.0, teaches=False, **settings):
    """Return (MxnetObjective, TorchObjective) with the same settings."""
    settings = dict(settings, smoothing=smoothing, mixup=mixup, mixup_iterations=10, classes=CLASSES)
    if not teaches:
        return MxnetObjective(**settings), TorchObjective(**settings)
    net = teacher_network()
    return MxnetObjective(teacher=net, **settings), TorchObjective(teacher=to_torch(net), **settings)


def close(ours, theirs, rel=1e-6):
    return ours.detach().numpy() == pytest.approx(theirs.asnumpy(), rel=rel, abs=1e-6)


@pytest.mark.parametrize('iteration', [4, 10], ids=['mixup on', 'mixup over'])
@pytest.mark.parametrize('smoothing, mixup, teaches', COMBINATIONS)
def test_loss_and_gradients_agree_with_mxnet(smoothing, mixup, teaches, iteration):
    theirs, ours = both(smoothing, mixup, teaches, temperature=4.0, hard_weight=0.3)
    lam = ours.draw_mixup_lambda(7, iteration)
    assert lam == theirs.draw_mixup_lambda(7, iteration) and (lam == 1) == (not mixup or iteration == 10)
    assert ours.metric_name == theirs.metric_name

    x, y, logits = mx.nd.array(IMAGES), mx.nd.array(LABELS), mx.nd.array(LOGITS)
    their_inputs, their_targets = theirs.inputs(x, lam), theirs.targets(y, lam)
    soft_targets = theirs.soft_targets(their_inputs)
    logits.attach_grad()
    with autograd.record():
        their_loss = theirs.loss(logits, their_targets, soft_targets)
        mean = their_loss.mean()
    mean.backward()

    labels, output = torch.from_numpy(LABELS), torch.tensor(LOGITS, requires_grad=True)
    inputs, targets = ours.inputs(torch.from_numpy(IMAGES), lam), ours.targets(labels, lam)
    loss = ours.loss(output, targets, ours.soft_targets(inputs))
    loss.mean().backward()
    assert close(inputs, their_inputs) and close(targets, their_targets)
    assert loss.shape == (BATCH,) and close(loss, their_loss, WITH_TEACHER if teaches else 1e-6)
    assert close(output.grad, logits.grad)
    metric = ours.summed_metric(output, labels, targets)
    assert metric.shape == () and not metric.requires_grad
    assert metric.item() == pytest.approx(theirs.summed_metric(logits, y, their_targets).asscalar(), rel=1e-6)


@pytest.mark.filterwarnings('ignore:The .* input to HybridBlock is not used')  # in GluonCV's loss
@pytest.mark.parametrize('hard_weight', [0.0, 1.0])
def test_distillation_by_labels_or_teacher_alone_agrees_with_mxnet(hard_weight):
    theirs, ours = both(teaches=True, hard_weight=hard_weight)
    soft_targets = theirs.soft_targets(mx.nd.array(IMAGES))
    expected = theirs.loss(mx.nd.array(LOGITS), mx.nd.array(LABELS), soft_targets)
    loss = ours.loss(torch.from_numpy(LOGITS), ours.targets(torch.from_numpy(LABELS), 1),
                     ours.soft_targets(torch.from_numpy(IMAGES)))
    assert close(loss, expected, WITH_TEACHER)


def test_teacher_is_unchanged_by_distillation():
    module = to_torch(teacher_network()).train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    images = torch.tensor(IMAGES, requires_grad=True)
    soft_targets = TorchObjective(CLASSES, teacher=module).soft_targets(images)
    assert not soft_targets.requires_grad
    torch.testing.assert_close(soft_targets, torch.softmax(module.eval()(images) / 20, 1), rtol=0, atol=0)
    torch.testing.assert_close(module.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
@pytest.mark.parametrize('smoothing, mixup, teaches', COMBINATIONS)
def test_loss_of_low_precision_logits_is_computed_in_float32(smoothing, mixup, teaches, dtype):
    _, objective = both(smoothing, mixup, teaches)
    low, labels = torch.from_numpy(LOGITS).to(getattr(torch, dtype)), torch.from_numpy(LABELS)
    targets, soft_targets = objective.targets(labels, 0.4), objective.soft_targets(torch.from_numpy(IMAGES))
    for judge in (lambda logits: objective.loss(logits, targets, soft_targets),
                  lambda logits: objective.summed_metric(logits, labels, targets)):
        assert judge(low).dtype == torch.float32
        assert torch.equal(judge(low), judge(low.float()))


@pytest.mark.parametrize('smoothing, mixup, teaches', COMBINATIONS)
def test_objective_does_not_wait_for_the_device(smoothing, mixup, teaches):
    """The device 'meta' has tensors without values, so that reading one is an error."""
    objective = TorchObjective(CLASSES, smoothing, mixup, 10, torch.nn.Identity() if teaches else None)
    output, labels = torch.empty(BATCH, CLASSES, device='meta'), torch.empty(BATCH, device='meta').int()
    targets = objective.targets(labels, 0.4)
    loss = objective.loss(objective.inputs(output, 0.4), targets, objective.soft_targets(output))
    assert loss.shape == (BATCH,) and objective.summed_metric(output, labels, targets).shape == ()
