"""Batches made on the device equal those of `openatac.data.small.batches` bit for bit."""
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip('torch')

from openatac.backends.torch.device_batches import DeviceEvaluationBatches, DeviceTrainingBatches  # noqa: E402
from openatac.data.small.batches import EvaluationSmallImageBatches, TrainingSmallImageBatches  # noqa: E402
from openatac.data.small.image_set import ImageSet  # noqa: E402
from openatac.errors import DataError  # noqa: E402

COUNT, BATCH = 37, 8
LAYOUTS = [torch.contiguous_format, torch.channels_last]


def image_set(count=COUNT, height=32, width=32, mirror=True):
    """Return an image set in which image i has label i."""
    images = np.random.RandomState(count).randint(0, 256, (count, 3, height, width), np.uint8)
    return ImageSet(images, np.arange(count, dtype=np.int32), tuple(map(str, range(count))), mirror)


def assert_equal(on_device, expected):
    """Assert that batches equal NumPy batches bit for bit."""
    for (images, labels), (their_images, their_labels) in itertools.zip_longest(on_device, expected):
        assert images.dtype == torch.float32 and labels.dtype == torch.int64
        np.testing.assert_array_equal(images.cpu().numpy().view('uint32'), their_images.view('uint32'))
        np.testing.assert_array_equal(labels.cpu().numpy(), their_labels)


@pytest.mark.parametrize('mirror', [True, False])
@pytest.mark.parametrize('seed, epoch, start', [(0, 0, 0), (0, 1, 0), (5, 0, 2), (5, 7, 3), (1, 2, 4)])
def test_training_batches_equal_those_in_numpy(mirror, seed, epoch, start):
    images = image_set(mirror=mirror)
    ours = DeviceTrainingBatches(images, BATCH, seed, 'cpu')
    theirs = TrainingSmallImageBatches(images, BATCH, seed)
    assert ours.batches_in(epoch) == theirs.batches_in(epoch) == 4
    assert len(list(ours.epoch(epoch, start))) == 4 - start
    assert_equal(ours.epoch(epoch, start), theirs.epoch(epoch, start))


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_training_batches_of_any_shape(data):
    count, height, width = (data.draw(st.integers(1, high)) for high in (20, 11, 11))
    images = image_set(count, height, width, data.draw(st.booleans()))
    batch_size, seed, epoch = data.draw(st.integers(1, count)), data.draw(st.integers(0, 9)), 3
    layout = data.draw(st.sampled_from(LAYOUTS))
    ours = DeviceTrainingBatches(images, batch_size, seed, 'cpu', layout)
    assert_equal(ours.epoch(epoch), TrainingSmallImageBatches(images, batch_size, seed).epoch(epoch))


@pytest.mark.parametrize('batch_size', [1, 8, 37, 100])
def test_evaluation_batches_equal_those_in_numpy(batch_size):
    ours = DeviceEvaluationBatches(image_set(), batch_size, 'cpu')
    theirs = EvaluationSmallImageBatches(image_set(), batch_size)
    assert len(ours) == len(theirs) == len(list(ours))
    for _ in range(2):
        assert_equal(ours, theirs)


def test_every_level_of_every_channel_is_normalised_as_in_numpy():
    levels = np.broadcast_to(np.arange(256, dtype='uint8').reshape(1, 1, 16, 16), (1, 3, 16, 16))
    images = ImageSet(levels, np.zeros(1, 'int32'), ('a',))
    assert_equal(DeviceEvaluationBatches(images, 1, 'cpu'), EvaluationSmallImageBatches(images, 1))


def test_images_may_be_record_views_with_negative_strides():
    records = np.random.RandomState(0).randint(0, 256, (COUNT, 1 + 3072), np.uint8)
    pixels = records[::-1, 1:].reshape(COUNT, 3, 32, 32)[..., ::-1]
    pixels.flags.writeable = False
    images = ImageSet(pixels, image_set().labels[::-1], image_set().class_names)
    ours, theirs = DeviceTrainingBatches(images, BATCH, 1, 'cpu'), TrainingSmallImageBatches(images, BATCH, 1)
    assert_equal(ours.epoch(0), theirs.epoch(0))
    assert_equal(DeviceEvaluationBatches(images, BATCH, 'cpu'), EvaluationSmallImageBatches(images, BATCH))


@pytest.mark.parametrize('layout', LAYOUTS)
def test_batches_have_the_requested_memory_layout(layout):
    training = DeviceTrainingBatches(image_set(), BATCH, 0, 'cpu', layout).epoch(0)
    evaluation = DeviceEvaluationBatches(image_set(), BATCH, 'cpu', layout)
    for images, _ in itertools.chain(training, evaluation):
        assert images.shape[1:] == (3, 32, 32) and images.is_contiguous(memory_format=layout)


def test_concurrent_epochs_are_independent():
    batches = DeviceTrainingBatches(image_set(), BATCH, 0, 'cpu')
    first, second = zip(*zip(batches.epoch(0), batches.epoch(1)))
    assert_equal(first, TrainingSmallImageBatches(image_set(), BATCH, 0).epoch(0))
    assert_equal(second, TrainingSmallImageBatches(image_set(), BATCH, 0).epoch(1))


def test_too_few_images_give_the_same_error():
    with pytest.raises(DataError, match=r'\b37 .*\b38\b.*--batch-size'):
        DeviceTrainingBatches(image_set(), COUNT + 1, 0, 'cpu')
    with pytest.raises(DataError):
        DeviceEvaluationBatches(image_set(0), BATCH, 'cpu')


def test_batches_are_not_prefetched_by_a_thread():
    assert DeviceTrainingBatches.ahead == DeviceEvaluationBatches.ahead == 0


# ----------------------------------------------------------------------- work on the device

def test_batch_never_waits_for_the_device():
    """The device 'meta' has tensors without values, so that reading one is an error."""
    training = DeviceTrainingBatches(image_set(), BATCH, 0, 'meta')
    evaluation = DeviceEvaluationBatches(image_set(), BATCH, 'meta')
    assert [len(labels) for _, labels in training.epoch(0)] == [BATCH] * 4
    assert [len(labels) for _, labels in evaluation] == [8, 8, 8, 8, 5]
    assert all(images.device.type == 'meta' for images, _ in training.epoch(0))


@pytest.mark.parametrize('batch_size', [2, 16])
def test_number_of_kernels_does_not_depend_on_the_batch_size(batch_size):
    from torch.utils._python_dispatch import TorchDispatchMode

    class Kernels(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.names = []

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if not func.is_view:
                self.names.append(func.name())
            return func(*args, **(kwargs or {}))

    epoch = DeviceTrainingBatches(image_set(), batch_size, 0, 'cpu').epoch(0)
    next(epoch)  # uploads the epoch's random choices
    with Kernels() as kernels:
        next(epoch)
    assert kernels.names == ['aten::index.Tensor', 'aten::add.Tensor', 'aten::index.Tensor', 'aten::clone']
