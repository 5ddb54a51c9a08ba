"""PyTorch's learner on a GPU agrees with the CPU; these tests need only PyTorch and pytest.

benchmarks/gpu_evidence.py runs them on machines with nothing else installed.
"""
import copy
import itertools
import json
import math

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytestmark = [pytest.mark.gpu,
              pytest.mark.skipif(not torch.cuda.is_available(), reason='PyTorch sees no GPU')]

from openatac import cli  # noqa: E402
from openatac.backends.compute import Compute  # noqa: E402  (they need torch)
from openatac.backends.torch.device_batches import DeviceEvaluationBatches, DeviceTrainingBatches  # noqa: E402
from openatac.backends.torch.learner import TorchLearner  # noqa: E402
from openatac.data.small.batches import EvaluationSmallImageBatches, TrainingSmallImageBatches  # noqa: E402
from openatac.data.small.image_set import ImageSet  # noqa: E402
from openatac.pytorch import get_model, use_biased_variance  # noqa: E402
from tests.helpers.learners.training_steps import batch, relative_difference  # noqa: E402

GPU = 'cuda:0'


@pytest.fixture(scope='module')
def network():
    torch.manual_seed(3)
    return use_biased_variance(get_model('cifar_resnet8_v2_atac'))


def learner(network, device, **settings):
    return TorchLearner(copy.deepcopy(network), device, {'learning_rate': 0.01, 'momentum': 0.9, 'wd': 1e-2},
                        seed=3, compute=Compute(**settings))


def train(learner, steps):
    for step in range(steps):
        learner.train_batch(*batch(seed=step), learning_rate=0.1)


@pytest.mark.parametrize('settings, tolerance', [
    ({}, 1e-4), ({'compile': True}, 1e-4), ({'dtype': 'bfloat16', 'compile': True}, 0.05),
    ({'dtype': 'float16'}, 0.05)],
    ids=['float32', 'compiled', 'bfloat16', 'float16'])
def test_gpu_agrees_with_cpu(network, settings, tolerance):
    plain, trained = learner(network, 'cpu'), learner(network, GPU, **settings)
    for each in (plain, trained):
        train(each, 4)
    assert str(trained.devices) == '1 x gpu' and trained.device_memory() > 0
    assert trained.read_metrics().loss == pytest.approx(plain.read_metrics().loss, rel=tolerance)
    assert math.isclose(trained.evaluate([batch()]).loss, plain.evaluate([batch()]).loss, rel_tol=tolerance)
    weights = [{name: array for name, array in each.state()[0].items() if name.startswith('parameter')}
               for each in (trained, plain)]
    assert relative_difference(*weights) < tolerance


@pytest.mark.parametrize('compiled', [False, True])
def test_learner_resumes_from_its_state(network, compiled):
    whole, resumed = (learner(network, GPU, compile=compiled) for _ in range(2))
    train(whole, 4)
    resumed.load_state(*whole.state())
    for each in (whole, resumed):
        each.train_batch(*batch(seed=9), learning_rate=0.1)
    assert relative_difference(resumed.state()[0], whole.state()[0]) < 1e-3


def test_step_does_not_wait_for_the_gpu(network):
    trained = learner(network, GPU)
    train(trained, 3)
    torch.cuda.set_sync_debug_mode('error')
    try:
        train(trained, 3)
    finally:
        torch.cuda.set_sync_debug_mode('default')


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_batches_made_on_the_gpu_are_the_same(layout):
    pixels = np.random.RandomState(0).randint(0, 256, (37, 3, 32, 32), np.uint8)
    images = ImageSet(pixels, np.arange(37, dtype=np.int32), tuple(map(str, range(37))))
    training = DeviceTrainingBatches(images, 8, 3, GPU, layout)
    evaluation = DeviceEvaluationBatches(images, 8, GPU, layout)
    training_here = TrainingSmallImageBatches(images, 8, 3)
    evaluation_here = EvaluationSmallImageBatches(images, 8)
    for found, expected in itertools.zip_longest(
            itertools.chain(training.epoch(2, 1), evaluation),
            itertools.chain(training_here.epoch(2, 1), evaluation_here)):
        for one, other in zip(found, expected):
            assert one.is_cuda
            np.testing.assert_array_equal(one.cpu().numpy(), other)


@pytest.mark.parametrize('more', [
    [], ['--compile'], ['--dtype', 'float16'], ['--dtype', 'bfloat16', '--compile']], ids=' '.join)
def test_run_on_a_gpu_learns(tmp_path, cifar10, more):
    assert not cli.main([
        'train-cifar', '--blocks', '1', '--engine', 'torch', '--gpus', '0', *more, '--lr', '0.05',
        '--num-epochs', '12', '--batch-size', '25', '--data-dir', cifar10, '--save-dir', str(tmp_path)])
    rows = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
    assert rows[-1]['train_loss'] < 0.8 * rows[0]['train_loss']
    assert json.loads((tmp_path / 'summary.json').read_text())['device'] == '1 x gpu'
