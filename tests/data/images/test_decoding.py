"""Images of every kind become the right pixels, and damaged ones are refused."""
import contextlib
import os

import mxnet as mx
import numpy as np
import pytest
from PIL import Image

from openatac.data.images.decoding import decode
from openatac.data.images.resizing import resize
from openatac.data.images.source import BadImageError
from tests.helpers.images.made_up_images import blocks, encoded, smooth
from tests.helpers.images.photographs import photographs


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
        with pytest.raises(BadImageError):
            decode(whole[:length])


def test_jpeg_without_end_marker_is_used_unless_pixels_are_missing(shared_data):
    for whole in photographs(shared_data, step=10):
        end = whole.rindex(b'\xff\xd9')
        np.testing.assert_array_equal(decode(whole[:end]), decode(whole))
        for missing in (3, 10, 100):
            with pytest.raises(BadImageError):
                decode(whole[:end - missing])


def test_truncated_png_is_noticed_if_pixels_are_missing():
    whole = encoded(blocks(24, 24), 'PNG')
    image, refused = decode(whole), 0
    for length in range(len(whole)):
        try:
            np.testing.assert_array_equal(decode(whole[:length]), image)
        except BadImageError:
            refused += 1
    assert len(whole) - 24 < refused


@pytest.mark.parametrize('data', [b'', b'some text', b'\xff\xd8\xff\xda\xff\xd9',
                                  b'\x89PNGIEND\xaeB`\x82', bytes(99)])
def test_unsupported_data_is_not_decoded(data):
    with pytest.raises(BadImageError):
        decode(data)


def test_no_program_runs_to_decode_an_image(tmp_path, monkeypatch):
    """Pillow would have Ghostscript run a PostScript image."""
    (tmp_path / 'gs').write_text(f'#!/bin/sh\ntouch {tmp_path}/ran\n')
    (tmp_path / 'gs').chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=os.pathsep)
    postscript = b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n%%EOF\n'
    with pytest.raises(BadImageError):
        decode(postscript)
    assert not (tmp_path / 'ran').exists()


def test_flipped_bit_does_not_crash():
    whole = bytearray(encoded(blocks(32, 32)))
    for position in range(0, len(whole), 3):
        whole[position] ^= 8
        with contextlib.suppress(BadImageError):
            assert decode(bytes(whole)).shape[2] == 3
        whole[position] ^= 8


def test_mxnets_own_opencv_gives_the_same_bits(shared_data):
    """The photographs have no orientation; any installed version of OpenCV will do."""
    for file in photographs(shared_data, step=10):
        part = decode(file)[5:-9, 7:]
        theirs = mx.image.imresize(mx.image.imdecode(file)[5:-9, 7:], 130, 90, interp=1)
        np.testing.assert_array_equal(resize(part, 90, 130), theirs.asnumpy())


def test_photograph_is_turned_upright():
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    image = decode(encoded(pixels, exif=exif))
    assert image.shape == (32, 16, 3) and image[:6].min() > 200 and image[12:].max() < 50


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
    with pytest.raises(BadImageError, match=words):
        decode(encoded(array, 'TIFF'))
