"""The augmentation of whole batches equals the published transforms of each image."""
import mxnet as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mxnet.gluon.data.vision import transforms

from openatac.data.small.transforms import PAD, crop, draw_choices, mirror, normalise
from tests.helpers.images.cifar_colours import MEAN, STD

CORNERS = 2 * PAD + 1


@pytest.fixture
def images():
    return np.random.RandomState(0).randint(0, 256, (CORNERS ** 2, 3, 32, 32), np.uint8)


def batch_of(images, top, left, mirrored):
    cropped = crop(images, top, left)
    mirror(cropped, mirrored)
    return normalise(cropped)


# ------------------------------------------------------- comparison with the published code

def published(*first):
    """Return the published transform of an (H, W, 3) image, without Compose, which would hybridize it."""
    steps = [*first, transforms.ToTensor(), transforms.Normalize(MEAN, STD)]

    def transform(image):
        x = mx.nd.array(image.transpose(1, 2, 0), dtype='uint8')
        for step in steps:
            x = step(x)
        return x.asnumpy()

    return transform


def test_every_corner_and_mirror_equals_the_published_transforms(images, monkeypatch):
    try:
        from gluoncv.data.transforms.block import RandomCrop
    except ImportError as error:
        pytest.skip(str(error))
    # Fixed answers to the random choices of mx.image.random_crop and Gluon's flip.
    monkeypatch.setattr(mx.image.image.random, 'randint', lambda low, high: next(corners))
    monkeypatch.setattr(mx.nd.image, 'random_flip_left_right',
                        lambda x: mx.nd.image.flip_left_right(x) if flipped else x)
    transform = published(RandomCrop(32, pad=4), transforms.RandomFlipLeftRight())
    top, left = (axis.ravel() for axis in np.mgrid[:CORNERS, :CORNERS])
    for flip in (0, 1):
        mirrored = (top + left) % 2 == flip
        ours = batch_of(images, top, left, mirrored)
        assert ours.dtype == np.float32
        for index, image in enumerate(images):
            flipped, corners = mirrored[index], iter((left[index], top[index]))
            np.testing.assert_array_equal(ours[index], transform(image))


def test_test_images_equal_the_published_transforms(images):
    """The images contain every byte value in each channel."""
    images[0] = np.arange(1024).reshape(32, 32) % 256
    transform = published()
    np.testing.assert_array_equal(normalise(images), np.stack([transform(image) for image in images]))


# ------------------------------------------------------------- comparison with a plain loop

@settings(deadline=None, max_examples=30)
@given(st.data())
def test_crop_equals_a_loop(data):
    batch, height, width = (data.draw(st.integers(1, high)) for high in (6, 9, 9))
    corner = st.lists(st.integers(0, 2 * PAD), min_size=batch, max_size=batch)
    top, left = np.array(data.draw(corner)), np.array(data.draw(corner))
    images = np.random.RandomState(batch).randint(1, 256, (batch, 3, height, width), np.uint8)
    expected = np.zeros_like(images)
    for index, channel, row, column in np.ndindex(*images.shape):
        y, x = row + top[index] - PAD, column + left[index] - PAD
        if 0 <= y < height and 0 <= x < width:
            expected[index, channel, row, column] = images[index, channel, y, x]
    np.testing.assert_array_equal(crop(images, top, left), expected)


def test_only_the_chosen_images_are_mirrored(images):
    mirrored = np.arange(len(images)) % 3 == 0
    result = images.copy()
    mirror(result, mirrored)
    np.testing.assert_array_equal(result[mirrored], images[mirrored, :, :, ::-1])
    np.testing.assert_array_equal(result[~mirrored], images[~mirrored])


# --------------------------------------------------------------------------- random choices

def test_choices_are_a_function_of_seed_and_epoch():
    np.random.seed(1)
    first = draw_choices(100, seed=3, epoch=5)
    np.random.seed(2)
    for ours, again in zip(first, draw_choices(100, seed=3, epoch=5)):
        np.testing.assert_array_equal(ours, again)
    for other in (draw_choices(100, 3, 6), draw_choices(100, 4, 5), draw_choices(100, 5, 3)):
        assert not any(np.array_equal(ours, theirs) for ours, theirs in zip(first, other))


def test_choices_cover_all_corners_and_both_mirrors():
    order, top, left, mirrored = draw_choices(5000, seed=0, epoch=0)
    assert sorted(order) == list(range(5000)) and list(order) != list(range(5000))
    for corner in (top, left):
        counts = np.bincount(corner, minlength=CORNERS)
        assert len(counts) == CORNERS and counts.min() > 5000 / CORNERS * 0.8
    assert 0.45 < mirrored.mean() < 0.55 and mirrored.dtype == bool
    assert abs(np.corrcoef([top, left, mirrored, order])[np.triu_indices(4, 1)]).max() < 0.06


def test_digits_are_not_mirrored():
    plain, mirroring = draw_choices(1000, 0, 0, mirror=False), draw_choices(1000, 0, 0)
    assert not plain.mirrored.any()
    for index in range(3):
        np.testing.assert_array_equal(plain[index], mirroring[index])


def test_stream_is_the_same_in_every_version_of_numpy():
    order, top, left, mirrored = draw_choices(8, seed=1, epoch=2)
    assert order.tolist() == [2, 4, 1, 5, 6, 3, 0, 7]
    assert top.tolist() == [0, 3, 3, 0, 6, 3, 1, 2]
    assert left.tolist() == [0, 0, 0, 2, 0, 4, 4, 7]
    assert mirrored.astype(int).tolist() == [0, 0, 0, 1, 0, 1, 1, 0]
