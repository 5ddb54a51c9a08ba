"""Images become the inputs of a network as in evaluation."""
import numpy as np
import pytest

from openatac.data.images.decoding import decode
from openatac.data.images.folder import ImageFolder
from openatac.data.photos.batches import EvaluationPhotoBatches
from openatac.trained.input_transform import InputTransform
from openatac.trained.manifest import Manifest
from tests.helpers.exports.animal_export import ANIMALS
from tests.helpers.images.cifar_colours import PIXEL_MEAN, PIXEL_STD
from tests.helpers.images.made_up_images import encoded, smooth, write_image, write_photos

PHOTOS = Manifest('resnet50_v1b_atac', 5, (3, 64, 64), (123.68, 116.779, 103.939),
                  (58.393, 57.12, 57.375), 0.875)


def test_cifar_image_is_not_resized():
    image = smooth()
    made = InputTransform(ANIMALS)(decode(encoded(image, 'PNG')))
    assert np.array_equal(made, (image.transpose(2, 0, 1) - np.float32(PIXEL_MEAN)[:, None, None])
                          / np.float32(PIXEL_STD)[:, None, None])
    assert np.array_equal(InputTransform(ANIMALS).to_pixels(made), image)


@pytest.mark.parametrize('size, crop_ratio', [(64, 0.875), (50, 0.8), (40, 1)])
def test_photographs_are_cropped_as_in_evaluation(tmp_path, size, crop_ratio):
    write_photos(tmp_path, images=2, side=90)
    for name, shape in (('high.jpg', (200, 61)), ('wide.jpg', (70, 333)), ('small.jpg', (20, 30))):
        write_image(tmp_path / 'class1' / name, smooth(*shape, seed=1))
    photos = ImageFolder(str(tmp_path))
    (wanted, _), = EvaluationPhotoBatches(photos, size, len(photos), crop_ratio)
    transform = InputTransform(PHOTOS._replace(image_shape=(3, size, size), crop_ratio=crop_ratio))
    for index, each in enumerate(wanted):
        assert np.array_equal(transform(decode(photos.read(index)[0])), each)


def test_real_photographs_are_cropped_as_in_evaluation(shared_data):
    photos = ImageFolder(str(shared_data / 'imagenet_sample'))
    transform = InputTransform(PHOTOS._replace(image_shape=(3, 224, 224)))
    evaluated = EvaluationPhotoBatches(photos, 224, 20, 0.875)
    images, _ = next(iter(evaluated))
    for index, each in enumerate(images):
        assert np.array_equal(transform(decode(photos.read(index)[0])), each)


def test_rectangular_inputs():
    made = InputTransform(PHOTOS._replace(image_shape=(3, 40, 90)))(smooth(100, 100))
    assert made.shape == (3, 40, 90)
    made = InputTransform(ANIMALS._replace(image_shape=(3, 40, 90)))(smooth(100, 50))
    assert made.shape == (3, 40, 90)
