"""However a run is interrupted, MXNet's learner computes the same bits, and the published statistics."""
import mxnet as mx
import numpy as np
import pytest

from openatac.backends.mxnet.learner import MxnetLearner
from openatac.data.small.batches import EvaluationSmallImageBatches, TrainingSmallImageBatches
from openatac.data.small.image_set import ImageSet
from tests import oracle
from tests.helpers.learners.mxnet_learner import OPTIMIZER, learner
from tests.helpers.learners.training_steps import batch
from tests.helpers.processes.fresh_python import output_of


def values(trained):
    return trained.state()[0]


def assert_equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    different = [name for name in ours if not np.array_equal(ours[name], theirs[name])]
    assert not different


@pytest.mark.parametrize('trial', range(2))
def test_evaluating_and_resuming_do_not_change_training(trial):
    """MXNet's NAG rounds by the weights' memory layout, which any inference pass may change."""
    plain, interrupted = learner(drop_rate=0.2), learner(drop_rate=0.2)
    for step in range(5):
        plain.train_batch(*batch(seed=step), learning_rate=0.1)
        interrupted.train_batch(*batch(seed=step), learning_rate=0.1)
        if step % 2:
            interrupted.evaluate([batch()])
        if step == 3:
            arrays, numbers = interrupted.state()
            arrays = {name: array.copy() for name, array in arrays.items()}
            interrupted = learner(drop_rate=0.2)
            interrupted.load_state(arrays, numbers)
    assert_equal(values(interrupted), values(plain))


def test_seed_gives_the_published_initial_values():
    """Deferred parameters, too, are drawn before the first step seeds the random numbers again."""
    description, _ = oracle.load('cifar10_b1_atac')
    net = oracle.build(description)
    mx.random.seed(42)
    net.initialize(mx.init.MSRAPrelu())
    untrained = MxnetLearner(net, [mx.cpu()], OPTIMIZER, (3, 32, 32), seed=7)
    untrained.train_batch(*batch(), learning_rate=0.0)
    for name, parameter in untrained.parameters.items():
        if parameter.grad_req != 'null':
            values = parameter.data().asnumpy().astype('float64')
            total, first = description['initial'][name]
            assert (np.abs(values).sum(), values.ravel()[0]) == (pytest.approx(total, rel=1e-12), first), name


def test_image_statistics_are_learned_on_the_cpu_too():
    """Without a gradient to the image, MXNet's CPU BatchNorm would leave them at 0 and 1."""
    shifted, labels = batch(16)
    shifted = 2 * shifted + 5
    trained = learner()
    for _ in range(60):
        trained.train_batch(shifted, labels, learning_rate=1e-6)
    first = trained.net.features[0]
    assert np.allclose(first.running_mean.data().asnumpy(), shifted.mean((0, 2, 3)), atol=0.02)
    assert np.allclose(first.running_var.data().asnumpy(), shifted.var((0, 2, 3)), rtol=0.02)


def test_metrics_are_means_since_the_reset():
    trained = learner()
    images, labels = batch()
    evaluated = trained.evaluate([(images[:10], labels[:10]), (images[10:], labels[10:])])
    output = trained.net(mx.nd.array(images)).asnumpy()
    log_softmax = output - np.log(np.exp(output).sum(axis=1, keepdims=True))
    assert evaluated.image_count == 16
    assert evaluated.metric == (output.argmax(axis=1) == labels).mean()
    assert evaluated.loss == pytest.approx(-log_softmax[np.arange(16), labels].mean(), rel=1e-5)
    trained.train_batch(images, labels, learning_rate=0.1)
    assert trained.read_metrics().image_count == 16
    trained.reset_metrics()
    assert trained.read_metrics().image_count == 0


def test_two_devices_agree_with_one_on_the_whole_batch():
    """They agree up to rounding if BatchNorm uses running statistics; batch statistics differ by device."""
    fixed = {'norm_kwargs': {'use_global_stats': True}, 'act_type': 'relu'}
    one, two = learner(**fixed), learner([mx.cpu(0), mx.cpu(1)], **fixed)
    for step in range(3):
        for each in (one, two):
            each.train_batch(*batch(seed=step), learning_rate=0.01)
    for name, parameter in one.parameters.items():
        if parameter.grad_req != 'null':
            ours = two.parameters[name].data(mx.cpu(1)).asnumpy()
            assert np.allclose(ours, parameter.data().asnumpy(), atol=1e-5), name
    assert two.read_metrics()[:3] == pytest.approx(one.read_metrics()[:3], rel=1e-4)
    short = batch(1)
    assert two.evaluate([short]).loss == pytest.approx(one.evaluate([short]).loss, rel=1e-3)


def test_only_one_openmp_thread_team_is_created():
    """With more OpenMP threads than processors, libgomp's threads would sleep at each barrier of a step."""
    code = """
import os
import openatac
import mxnet as mx
from tests.helpers.learners.mxnet_learner import learner
from tests.helpers.learners.training_steps import batch

def threads():
    mx.nd.waitall()
    return len(os.listdir('/proc/self/task'))

net = learner().net  # MXNet's own team exists
with mx.autograd.record():
    net(mx.nd.zeros((64, 3, 32, 32))).backward()
before = threads()
trained = learner()
for _ in range(2):
    trained.train_batch(*batch(64), learning_rate=0.1)
    trained.evaluate([batch(64)])
trained.train_batch(*batch(64), learning_rate=0.1)
trained.read_metrics()
trained.state()
print(before, threads())
"""
    before, after = output_of(code, OMP_NUM_THREADS='2').split()
    assert before == after


def test_raw_pixels_are_normalised_on_the_device_to_the_same_bits():
    """GPUs receive raw pixels, a quarter of the bytes."""
    random = np.random.RandomState(3)
    pixels = random.randint(0, 256, (48, 3, 32, 32)).astype('uint8')
    images = ImageSet(pixels, random.randint(0, 10, 48).astype('int32'), tuple('abcdefghij'))
    trained = {}
    for raw in (False, True):
        trained[raw] = learner()
        for x, y in TrainingSmallImageBatches(images, 16, 1, raw).epoch(0):
            assert x.dtype == ('uint8' if raw else 'float32')
            trained[raw].train_batch(x, y, learning_rate=0.1)
    assert_equal(values(trained[False]), values(trained[True]))
    tests = [trained[raw].evaluate(EvaluationSmallImageBatches(images, 20, raw)) for raw in (False, True)]
    assert tests[0] == tests[1]


# --------------------------------------------------------------------------------------- state

def on_cpus(devices):
    return learner([mx.cpu(device) for device in range(devices)], act_type='relu')


def train_on(trained, steps):
    for step in steps:
        trained.train_batch(*batch(seed=step), learning_rate=0.1)


@pytest.mark.parametrize('devices', [1, 2])
def test_state_waits_for_the_last_step(devices):
    """MXNet does not know that a backward pass has yet to write running statistics."""
    trained = on_cpus(devices)
    train_on(trained, range(4))
    at_once = values(trained)
    mx.nd.waitall()
    assert_equal(at_once, values(trained))


@pytest.mark.parametrize('devices', [1, 2])
def test_each_device_resumes_with_its_own_statistics(devices):
    trained, resumed = on_cpus(devices), on_cpus(devices)
    train_on(trained, range(3))
    mx.nd.waitall()
    arrays, numbers = trained.state()
    resumed.load_state({name: array.copy() for name, array in arrays.items()}, numbers)
    for each in (trained, resumed):
        train_on(each, range(3, 6))
        mx.nd.waitall()
    assert_equal(values(resumed), values(trained))
