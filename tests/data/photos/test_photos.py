"""Photographs are cropped and recoloured as by MXNet's ImageRecordIter."""
import itertools

import mxnet as mx
import numpy as np
import pytest

from openatac.data.images.decoding import decode
from openatac.data.images.resizing import resize
from openatac.data.photos import transforms
from openatac.data.photos.colours import GREY
from openatac.data.photos.transforms import (
    MEAN_0_TO_255,
    PCA_COLOURS,
    STD_0_TO_255,
    EvaluationTransform,
    Jitter,
    TrainingTransform,
)
from tests.helpers.images.made_up_images import blocks, encoded
from tests.helpers.images.photographs import photographs

NORMALISED = dict(mean_r=123.68, mean_g=116.779, mean_b=103.939, std_r=58.393, std_g=57.12, std_b=57.375)
PUBLISHED_CROP = dict(random_resized_crop=True, rand_mirror=True, min_random_area=0.08, max_random_area=1.0,
                      min_aspect_ratio=3 / 4, max_aspect_ratio=4 / 3)


def record_iterator(folder, images, **options):
    """Return the first batch, with all ``images`` (file bytes), from MXNet's ImageRecordIter."""
    rec, idx = str(folder / 'x.rec'), str(folder / 'x.idx')
    writer = mx.recordio.MXIndexedRecordIO(idx, rec, 'w')
    for index, image in enumerate(images):
        writer.write_idx(index, mx.recordio.pack(mx.recordio.IRHeader(0, float(index), index, 0), image))
    writer.close()
    batches = mx.io.ImageRecordIter(path_imgrec=rec, path_imgidx=idx, batch_size=len(images),
                                    preprocess_threads=1, verbose=False, **options)
    return next(iter(batches)).data[0].asnumpy()


def training_inputs(images, size=64, **options):
    """Return the inputs of epoch 0, float32 (N, 3, size, size)."""
    transform = TrainingTransform(size, 0, **options)
    out = np.empty((len(images), 3, size, size), 'float32')
    for index, image in enumerate(images):
        transform(image, 0, index, out[index])
    return out


# ------------------------------------------------------------------------------- evaluation

@pytest.mark.parametrize('size, ratio, short', [(224, 0.875, 256), (96, 0.875, 110), (64, 1, 64)])
def test_evaluation_gives_the_pixels_of_image_record_iter(shared_data, tmp_path, size, ratio, short):
    files = photographs(shared_data, step=4)
    files += [encoded(blocks(*shape)) for shape in ((300, 61), (61, 300), (50, 50), (256, 256))]
    files.append(encoded(blocks(70, 90, 1)))
    expected = record_iterator(tmp_path, files, data_shape=(3, size, size), resize=short, **NORMALISED)
    transform, out = EvaluationTransform(size, ratio), np.empty((3, size, size), 'float32')
    for file, values in zip(files, expected):
        transform(decode(file), out)
        np.testing.assert_allclose(out, values, rtol=0, atol=1e-6)


@pytest.mark.parametrize('shape', [(10, 40), (40, 10), (10, 10), (200, 30), (33, 65)])
def test_centre_crop_of_a_small_image_is_enlarged_as_published(tmp_path, shape):
    files = [encoded(blocks(*shape), 'PNG')]
    expected = record_iterator(tmp_path, files, data_shape=(3, 32, 32))
    np.testing.assert_array_equal(transforms.centre(decode(files[0]), 32, 32).transpose(2, 0, 1), expected[0])


# --------------------------------------------------------------------------------- training

def test_choices_depend_only_on_seed_epoch_and_index():
    transform = TrainingTransform(64, 1)
    first = transform.draw(2, 3, 300, 400)
    transform.draw(0, 0, 10, 10)
    assert str(transform.draw(2, 3, 300, 400)) == str(first)
    assert str(TrainingTransform(32, 1).draw(2, 3, 300, 400)) == str(first)
    others = [transform.draw(2, 4, 300, 400), transform.draw(3, 3, 300, 400),
              TrainingTransform(64, 2).draw(2, 3, 300, 400)]
    assert len({str(chosen) for chosen in [first, *others]}) == 4


def test_crops_have_the_published_areas_and_shapes():
    chosen = [TrainingTransform(64, 0).draw(0, index, 300, 400) for index in range(2000)]
    crops = np.array([each.crop for each in chosen if each.crop])
    left, top, width, height = crops.T
    assert (left >= 0).all() and (left + width <= 400).all()
    assert (top >= 0).all() and (top + height <= 300).all()
    areas, aspects = width * height / 120000, width / height
    assert 0.075 < areas.min() < 0.09 and areas.max() > 0.9
    # Turned or not, the aspect ratio is from 3/4 to 4/3, up to rounding.
    assert 0.73 < aspects.min() < 0.78 and 1.28 < aspects.max() < 1.37
    assert 0.4 < np.mean([each.mirrored for each in chosen]) < 0.6
    factors = np.array([each.factors for each in chosen])
    assert 0.6 <= factors.min() < 0.61 and 1.39 < factors.max() <= 1.4
    assert {each.order for each in chosen} == set(itertools.permutations(range(3)))
    noise = np.array([each.noise for each in chosen])
    np.testing.assert_allclose(noise.std(axis=0), 0.1 * np.sqrt((PCA_COLOURS ** 2).sum(axis=1)), rtol=0.1)


def test_image_too_narrow_for_any_crop_gives_its_centre():
    transform = TrainingTransform(32, 0, Jitter(0, 0, 0, 0))
    image, out = blocks(400, 10), np.empty((3, 32, 32), 'float32')
    assert transform.draw(0, 0, 400, 10).crop is None
    transform(image, 0, 0, out)
    values = out if not transform.draw(0, 0, 400, 10).mirrored else out[..., ::-1]
    np.testing.assert_allclose(values * STD_0_TO_255 + MEAN_0_TO_255,
                               transforms.centre(image, 32, 32).transpose(2, 0, 1), atol=1e-4)


def test_input_without_jitter_is_the_crop_of_the_image():
    image = blocks(90, 120)
    values = training_inputs([image] * 20, 32, jitter=Jitter(0, 0, 0, 0))
    for index, value in enumerate(values * STD_0_TO_255 + MEAN_0_TO_255):
        chosen = TrainingTransform(32, 0).draw(0, index, 90, 120)
        left, top, width, height = chosen.crop
        expected = resize(image[top:top + height, left:left + width], 32, 32)
        expected = expected[:, ::-1] if chosen.mirrored else expected
        np.testing.assert_allclose(value, expected.transpose(2, 0, 1), atol=1e-4)


@pytest.mark.parametrize('only, of_a_colour', [
    ('brightness', lambda x, factor: factor * x),
    ('contrast', lambda x, factor: factor * x + (1 - factor) * (x @ GREY)),
    ('saturation', lambda x, factor: factor * x + (1 - factor) * (x @ GREY)),
])
def test_colour_jitter_follows_its_definition(only, of_a_colour):
    colour = np.array([250, 90, 20])
    image = np.tile(colour.astype(np.uint8), (40, 40, 1))
    jitter = Jitter(0, 0, 0, 0)._replace(**{only: 0.4})
    transform, out = TrainingTransform(8, 0, jitter), np.empty((3, 8, 8), 'float32')
    for index in range(20):
        transform(image, 0, index, out)
        factor = transform.draw(0, index, 40, 40).factors[Jitter._fields.index(only)]
        expected = np.clip(of_a_colour(colour, factor), 0, 255)
        np.testing.assert_allclose((out * STD_0_TO_255 + MEAN_0_TO_255)[:, 3, 3], expected, atol=1e-3)


@pytest.mark.parametrize('options', [dict(brightness=0.4), dict(contrast=0.4), dict(saturation=0.4),
                                     dict(pca_noise=0.1)])
def test_image_record_iter_jitters_a_colour_in_the_same_way(tmp_path, options):
    """From one plain colour, both draw from the same range, up to chance and rounding."""
    colour = np.array([180, 90, 20], np.uint8)
    file = encoded(np.tile(colour, (32, 32, 1)), 'PNG')
    theirs = record_iterator(tmp_path, [file] * 500, data_shape=(3, 32, 32), **options)[:, :, 9, 9]
    ours = training_inputs([decode(file)] * 500, 32, jitter=Jitter(0, 0, 0, 0)._replace(**options))
    ours = (ours * STD_0_TO_255 + MEAN_0_TO_255)[:, :, 9, 9]
    np.testing.assert_allclose(ours.mean(axis=0), theirs.mean(axis=0), atol=6)
    np.testing.assert_allclose(ours.std(axis=0), theirs.std(axis=0), rtol=0.15, atol=0.5)
    np.testing.assert_allclose(np.corrcoef(ours.T), np.corrcoef(theirs.T), atol=0.15)


def test_training_inputs_are_distributed_as_in_image_record_iter(shared_data, tmp_path):
    files = photographs(shared_data) * 5
    theirs = record_iterator(tmp_path, files, data_shape=(3, 64, 64), **PUBLISHED_CROP, **NORMALISED,
                             brightness=0.4, contrast=0.4, saturation=0.4, pca_noise=0.1)
    ours = training_inputs([decode(file) for file in files])
    np.testing.assert_allclose(ours.mean(axis=(0, 2, 3)), theirs.mean(axis=(0, 2, 3)), atol=0.1)
    np.testing.assert_allclose(ours.std(axis=(0, 2, 3)), theirs.std(axis=(0, 2, 3)), rtol=0.05)
    # The smaller the crop, the smoother it is when enlarged.
    roughness = [np.abs(np.diff(images, axis=3)).mean() for images in (ours, theirs)]
    np.testing.assert_allclose(*roughness, rtol=0.1)
