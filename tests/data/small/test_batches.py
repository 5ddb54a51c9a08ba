"""Batches of small images: their order, their ends, and their pixels."""

import numpy as np
import pytest

from openatac.data.small import transforms
from openatac.data.small.batches import EvaluationSmallImageBatches, TrainingSmallImageBatches
from openatac.data.small.image_set import ImageSet
from openatac.errors import DataError
from tests.helpers.images.listed_batches import listed

COUNT, BATCH = 37, 8


@pytest.fixture
def image_set():
    """An image set in which image i has label i."""
    random = np.random.RandomState(0)
    return ImageSet(random.randint(0, 256, (COUNT, 3, 32, 32), np.uint8), np.arange(COUNT, dtype=np.int32),
                    tuple(map(str, range(COUNT))))


@pytest.mark.parametrize('start', range(COUNT // BATCH + 1))
def test_epoch_can_begin_at_any_batch(image_set, start):
    batches = TrainingSmallImageBatches(image_set, BATCH, seed=1)
    whole, rest = list(batches.epoch(2)), list(batches.epoch(2, start))
    assert listed(rest) == listed(whole[start:])


def test_training_drops_the_short_batch_and_shows_each_image_once(image_set):
    batches = TrainingSmallImageBatches(image_set, BATCH, seed=1)
    epochs = [list(batches.epoch(epoch)) for epoch in range(2)]
    for epoch in epochs:
        assert len(epoch) == batches.batches_in(0) == 4
        for images, labels in epoch:
            assert images.shape == (BATCH, 3, 32, 32) and images.dtype == np.float32
            assert labels.shape == (BATCH,) and labels.dtype == np.int32
        assert len({label for _, labels in epoch for label in labels}) == 4 * BATCH
    assert listed(epochs[0]) != listed(epochs[1])


def test_augmentation_does_not_depend_on_the_batch_size(image_set):
    def images_of(batch_size):
        epoch = TrainingSmallImageBatches(image_set, batch_size, seed=1).epoch(0)
        return {label: image.tolist() for images, labels in epoch for image, label in zip(images, labels)}

    small, large = images_of(BATCH), images_of(2 * BATCH)
    assert all(small[label] == image for label, image in large.items() if label in small)


def test_training_images_are_cropped_and_mirrored_as_drawn(image_set):
    choices = transforms.draw_choices(COUNT, 1, 3)
    images, labels = next(TrainingSmallImageBatches(image_set, BATCH, seed=1).epoch(3))
    np.testing.assert_array_equal(labels, choices.order[:BATCH])
    for image, label in zip(images, labels):
        top, left = choices.top[label], choices.left[label]
        expected = np.pad(image_set.images[label], ((0, 0), (4, 4), (4, 4)))[:, top:top + 32, left:left + 32]
        if choices.mirrored[label]:
            expected = expected[:, :, ::-1]
        np.testing.assert_array_equal(image, transforms.normalise(expected[None])[0])


def test_evaluation_keeps_the_short_batch_and_the_order(image_set):
    batches = EvaluationSmallImageBatches(image_set, BATCH)
    images, labels = zip(*batches)
    assert [len(part) for part in labels] == [8, 8, 8, 8, 5] and len(batches) == 5
    np.testing.assert_array_equal(np.concatenate(labels), image_set.labels)
    np.testing.assert_array_equal(np.concatenate(images), transforms.normalise(image_set.images))
    assert listed(batches) == listed(batches)


def test_too_few_images_are_refused(image_set):
    with pytest.raises(DataError, match=r'\b37 .*\b38\b.*--batch-size'):
        TrainingSmallImageBatches(image_set, COUNT + 1, seed=0)
    with pytest.raises(DataError):
        EvaluationSmallImageBatches(ImageSet(image_set.images[:0], image_set.labels[:0], ()), BATCH)
