"""A photograph is decoded, cropped and recoloured as by MXNet's ImageRecordIter."""
import contextlib
import itertools
import os

import mxnet as mx
import numpy as np
import pytest
from PIL import Image

from openatac.data.images import decoding, resizing
from openatac.data.images.decoding import decode
from openatac.data.images.folder import ImageFolder
from openatac.data.images.resizing import resize
from openatac.data.images.source import BadImage
from openatac.data.photos import transforms
from openatac.data.photos.colours import GREY
from openatac.data.photos.transforms import (
    MEAN,
    PCA_COLOURS,
    STD,
    EvaluationTransform,
    Jitter,
    TrainingTransform,
)
from tests.helpers.images.made_up_images import blocks, encoded, smooth
from tests.helpers.processes.fresh_python import run_python

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


def photographs(shared_data, step=1):
    folder = ImageFolder(str(shared_data / 'imagenet_sample'))
    return [folder.read(index)[0] for index in range(0, len(folder), step)]


def training_inputs(images, size=64, **options):
    """Return the inputs of epoch 0, float32 (N, 3, size, size)."""
    transform = TrainingTransform(size, 0, **options)
    out = np.empty((len(images), 3, size, size), 'float32')
    for index, image in enumerate(images):
        transform(image, 0, index, out[index])
    return out


# --------------------------------------------------------------------------------- decoding

@pytest.mark.parametrize('form, mode', [('JPEG', 'RGB'), ('JPEG', 'L'), ('JPEG', 'CMYK'), ('PNG', 'RGB'),
                                        ('PNG', 'L'), ('PNG', 'RGBA'), ('PNG', 'P')])
def test_every_kind_of_image_becomes_rgb(form, mode):
    pixels = np.full((20, 30, 3), (200, 100, 50), np.uint8)
    image = decode(encoded(pixels, form, mode))
    assert image.shape == (20, 30, 3) and image.dtype == np.uint8
    expected = np.asarray(Image.fromarray(pixels).convert('L').convert('RGB')) if mode == 'L' else pixels
    assert np.abs(image.astype(int) - expected).max() <= 3


@pytest.mark.parametrize('options', [{}, {'progressive': True}, {'optimize': True, 'quality': 30}])
def test_truncated_jpeg_is_noticed_at_every_length(options):
    whole = encoded(blocks(64, 64), **options)
    decode(whole)
    decode(whole + b'something behind it')
    for length in range(0, len(whole) - 2, 7):
        with pytest.raises(BadImage):
            decode(whole[:length])


def test_jpeg_without_end_marker_is_used_unless_pixels_are_missing(shared_data):
    for whole in photographs(shared_data, step=10):
        end = whole.rindex(b'\xff\xd9')
        np.testing.assert_array_equal(decode(whole[:end]), decode(whole))
        for missing in (3, 10, 100):
            with pytest.raises(BadImage):
                decode(whole[:end - missing])


def test_truncated_png_is_noticed_if_pixels_are_missing():
    whole = encoded(blocks(24, 24), 'PNG')
    image, refused = decode(whole), 0
    for length in range(len(whole)):
        try:
            np.testing.assert_array_equal(decode(whole[:length]), image)
        except BadImage:
            refused += 1
    assert len(whole) - 24 < refused


@pytest.mark.parametrize('data', [b'', b'some text', b'\xff\xd8\xff\xda\xff\xd9',
                                  b'\x89PNGIEND\xaeB`\x82', bytes(99)])
def test_unsupported_data_is_not_decoded(data):
    with pytest.raises(BadImage):
        decode(data)


def test_no_program_runs_to_decode_an_image(tmp_path, monkeypatch):
    """Pillow would have Ghostscript run a PostScript image."""
    (tmp_path / 'gs').write_text(f'#!/bin/sh\ntouch {tmp_path}/ran\n')
    (tmp_path / 'gs').chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=os.pathsep)
    postscript = b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n%%EOF\n'
    with pytest.raises(BadImage):
        decode(postscript)
    assert not (tmp_path / 'ran').exists()


def test_flipped_bit_does_not_crash():
    whole = bytearray(encoded(blocks(32, 32)))
    for position in range(0, len(whole), 3):
        whole[position] ^= 8
        with contextlib.suppress(BadImage):
            assert decode(bytes(whole)).shape[2] == 3
        whole[position] ^= 8


def test_mxnets_own_opencv_gives_the_same_bits(shared_data):
    """The photographs have no orientation; any installed version of OpenCV will do."""
    for file in photographs(shared_data, step=10):
        part = decode(file)[5:-9, 7:]
        theirs = mx.image.imresize(mx.image.imdecode(file)[5:-9, 7:], 130, 90, interp=1)
        np.testing.assert_array_equal(resize(part, 130, 90), theirs.asnumpy())


def test_photograph_is_turned_upright():
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    image = decode(encoded(pixels, exif=exif))
    assert image.shape == (32, 16, 3) and image[:6].min() > 200 and image[12:].max() < 50


# --------------------------------------------------------------------------- without OpenCV

@pytest.fixture
def pillow_alone(monkeypatch):
    """A function that calls function(...) with OpenCV hidden, and returns its result."""
    def call(function, *arguments):
        with monkeypatch.context() as patched:
            for module in (decoding, resizing):
                patched.setattr(module, 'find_opencv', lambda: None)
            return function(*arguments)

    return call


def decoded(data):
    """Return the pixels as a list, or the reason why decoding fails."""
    try:
        return decode(data).tolist()
    except BadImage as error:
        return str(error)


@pytest.mark.parametrize('mode', ['RGB', 'L', 'CMYK'])
@pytest.mark.parametrize('options', [{}, {'progressive': True}, {'quality': 30}, {'subsampling': 0}])
def test_pillow_decodes_the_same_pixels(pillow_alone, mode, options):
    for size in ((64, 64), (33, 65), (1, 1)):
        data = encoded(smooth(*size), 'JPEG', mode, **options)
        assert decoded(data) == pillow_alone(decoded, data)


@pytest.mark.parametrize('orientation', range(1, 9))
def test_pillow_applies_the_same_orientation(pillow_alone, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(smooth(20, 31), exif=exif)
    assert decoded(data) == pillow_alone(decoded, data)


@pytest.mark.parametrize('options', [{}, {'progressive': True}])
def test_pillow_notices_truncated_files(pillow_alone, options):
    whole = encoded(blocks(64, 64), **options)
    for length in range(0, len(whole) + 1, 13):
        assert decoded(whole[:length]) == pillow_alone(decoded, whole[:length]), length


def test_numpy_resizes_to_the_same_pixels(pillow_alone):
    random = np.random.RandomState(0)
    shapes = [(*(2 * half), *half) for half in random.randint(1, 100, (20, 2))]
    for tall, wide, height, width in [*random.randint(1, 250, (150, 4)).tolist(), *shapes]:
        image = random.randint(0, 256, (tall, wide, 3), np.uint8)
        for sides in ((int(width), int(height)), (2 * wide, 2 * tall)):
            np.testing.assert_array_equal(resize(image, *sides), pillow_alone(resize, image, *sides))


def test_photographs_become_the_same_inputs_without_opencv(pillow_alone, shared_data):
    def inputs():
        transform, out = EvaluationTransform(96, 0.875), np.empty((len(files), 3, 96, 96), 'float32')
        for file, values in zip(files, out):
            transform(decode(file), values)
        return out

    files = photographs(shared_data, step=10)
    np.testing.assert_array_equal(inputs(), pillow_alone(inputs))


@pytest.mark.parametrize('workers', [0, 2])
def test_training_says_that_opencv_is_missing(tmp_path, workers):
    (tmp_path / 'cv2.py').write_text('raise ImportError("libxcb.so.1: cannot open shared object file")')
    for index in range(4):
        place = tmp_path / 'images' / str(index % 2) / f'{index}.jpg'
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encoded(blocks(20, 20)))
    code = f"""
from openatac.data.images.folder import ImageFolder
from openatac.data.photos.batches import TrainingPhotoBatches
if __name__ == '__main__':
    source = ImageFolder({str(tmp_path / 'images')!r})
    print(next(TrainingPhotoBatches(source, 16, 2, 0, {workers}).epoch(0))[0].shape)
"""
    (tmp_path / 'read.py').write_text(code)
    result = run_python(tmp_path / 'read.py', path=[tmp_path])
    assert result.returncode == 0 and result.stdout.strip() == '(2, 3, 16, 16)', result.stderr
    line, = result.stderr.splitlines()
    assert 'libxcb.so.1' in line and 'python-headless' in line


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
    parts = np.array([each.part for each in chosen if each.part])
    left, top, width, height = parts.T
    assert (left >= 0).all() and (left + width <= 400).all()
    assert (top >= 0).all() and (top + height <= 300).all()
    areas, aspects = width * height / 120000, width / height
    assert 0.075 < areas.min() < 0.09 and areas.max() > 0.9
    # Turned or not, the aspect ratio is from 3/4 to 4/3, up to rounding.
    assert 0.73 < aspects.min() < 0.78 and 1.28 < aspects.max() < 1.37
    assert 0.4 < np.mean([each.mirrored for each in chosen]) < 0.6
    factors = np.array([each.factors for each in chosen])
    assert factors.min() < 0.61 and factors.max() > 1.39 and factors.min() >= 0.6 and factors.max() <= 1.4
    assert {each.order for each in chosen} == set(itertools.permutations(range(3)))
    noise = np.array([each.noise for each in chosen])
    np.testing.assert_allclose(noise.std(axis=0), 0.1 * np.sqrt((PCA_COLOURS ** 2).sum(axis=1)), rtol=0.1)


def test_image_too_narrow_for_any_crop_gives_its_centre():
    transform = TrainingTransform(32, 0, Jitter(0, 0, 0, 0))
    image, out = blocks(400, 10), np.empty((3, 32, 32), 'float32')
    assert transform.draw(0, 0, 400, 10).part is None
    transform(image, 0, 0, out)
    values = out if not transform.draw(0, 0, 400, 10).mirrored else out[..., ::-1]
    np.testing.assert_allclose(values * STD + MEAN,
                               transforms.centre(image, 32, 32).transpose(2, 0, 1), atol=1e-4)


def test_input_without_jitter_is_the_crop_of_the_image():
    image = blocks(90, 120)
    values = training_inputs([image] * 20, 32, jitter=Jitter(0, 0, 0, 0))
    for index, value in enumerate(values * STD + MEAN):
        chosen = TrainingTransform(32, 0).draw(0, index, 90, 120)
        left, top, width, height = chosen.part
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
        np.testing.assert_allclose((out * STD + MEAN)[:, 3, 3], expected, atol=1e-3)


@pytest.mark.parametrize('options', [dict(brightness=0.4), dict(contrast=0.4), dict(saturation=0.4),
                                     dict(pca_noise=0.1)])
def test_image_record_iter_jitters_a_colour_in_the_same_way(tmp_path, options):
    """From one plain colour, both draw from the same range, up to chance and rounding."""
    colour = np.array([180, 90, 20], np.uint8)
    file = encoded(np.tile(colour, (32, 32, 1)), 'PNG')
    theirs = record_iterator(tmp_path, [file] * 500, data_shape=(3, 32, 32), **options)[:, :, 9, 9]
    ours = training_inputs([decode(file)] * 500, 32, jitter=Jitter(0, 0, 0, 0)._replace(**options))
    ours = (ours * STD + MEAN)[:, :, 9, 9]
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
