"""Images of every kind become the inputs of a network as in evaluation."""
import numpy as np
import pytest
from PIL import Image

from openatac.data.images.decoding import decode
from openatac.data.images.folder import ImageFolder
from openatac.data.images.source import BadImage
from openatac.data.photos.batches import EvaluationPhotoBatches
from openatac.export.images.inputs import InputTransform
from openatac.export.manifest import Manifest
from tests.helpers.images.cifar_colours import PIXEL_MEAN, PIXEL_STD
from tests.helpers.images.made_up_images import encoded, smooth, write_image, write_photos
from tests.helpers.networks.animal_export import ANIMALS

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


def kinds():
    """Return {kind of file: (its bytes, the expected pixels)}."""
    colour = smooth(seed=2)
    grey = colour[:, :, 0]
    grey3 = np.repeat(grey[:, :, None], 3, axis=2)
    opaque = Image.fromarray(colour)
    clear = Image.fromarray(np.dstack([colour, np.repeat([[0, 255]], 32, 0).repeat(16, 1).astype('uint8')]))
    on_white = np.where(np.arange(32)[None, :, None] < 16, 255, colour)
    palette = opaque.quantize(64)
    turned = Image.Exif()
    turned[0x0112] = 6  # turning it clockwise by 90 degrees makes it upright
    frames = [Image.fromarray(np.full((32, 32, 3), level, 'uint8')) for level in (10, 200)]
    grey_level, white = np.full((32, 32), 99, 'uint8'), np.full((32, 32, 3), 255)
    animation = {'save_all': True, 'append_images': frames[1:]}
    grey16 = Image.fromarray((grey.astype('uint16') << 8) + 77)
    return {
        'PNG': (encoded(opaque, 'PNG'), colour), 'grey': (encoded(grey, 'PNG'), grey3),
        'grey JPEG': (encoded(grey_level, 'JPEG'), np.full((32, 32, 3), 99)),
        'black and white': (encoded(grey > 99, 'PNG'), 255 * (grey3 > 99)),
        'RGBA': (encoded(clear, 'PNG'), on_white),
        'grey with alpha': (encoded(Image.fromarray(grey3).convert('LA'), 'PNG'), grey3),
        'palette': (encoded(palette, 'PNG'), np.asarray(palette.convert('RGB'))),
        'one colour transparent': (encoded(frames[0], 'PNG', transparency=(10, 10, 10)), white),
        '16 bits': (encoded(grey16, 'PNG'), grey3), '16 bits TIFF': (encoded(grey16, 'TIFF'), grey3),
        'CMYK': (encoded(opaque.convert('CMYK'), 'TIFF'), colour),
        'turned': (encoded(opaque, 'PNG', exif=turned), np.rot90(colour, -1)),
        'GIF': (encoded(frames[0], 'GIF', **animation), np.full((32, 32, 3), 10)),
        'APNG': (encoded(frames[0], 'PNG', **animation), np.full((32, 32, 3), 10)),
        'BMP': (encoded(opaque, 'BMP'), colour),
    }


@pytest.mark.parametrize('kind', kinds())
def test_pixels_of_every_file_type(kind):
    data, wanted = kinds()[kind]
    found = decode(data)
    assert found.dtype == np.uint8 and np.array_equal(found, wanted)


def test_photographs_are_turned_upright():
    turned, image = Image.Exif(), Image.fromarray(smooth(64, 96, seed=4))
    turned[0x0112] = 6
    for options, wanted in (({}, image), ({'exif': turned}, image.transpose(Image.Transpose.ROTATE_270))):
        for mode in ('RGB', 'CMYK'):
            found = decode(encoded(image.convert(mode), 'JPEG', quality=95, **options))
            assert found.shape == np.asarray(wanted).shape
            assert abs(found.astype(int) - np.asarray(wanted)).mean() < 6


@pytest.mark.parametrize('array, words', [(np.full((8, 8), 2 ** 20, 'int32'), '32 bits'),
                                          (np.zeros((8, 8), 'float32'), 'floating-point')])
def test_malformed_pixel_arrays_are_refused(array, words):
    with pytest.raises(BadImage, match=words):
        decode(encoded(array, 'TIFF'))
