"""Without OpenCV, Pillow and NumPy decode and resize images to the same pixels."""
import numpy as np
import pytest
from PIL import Image

from openatac.data.images import decoding, resizing
from openatac.data.images.decoding import decode
from openatac.data.images.resizing import resize
from openatac.data.images.source import BadImageError
from openatac.data.photos.transforms import EvaluationTransform
from tests.helpers.images.made_up_images import blocks, encoded, smooth
from tests.helpers.images.photographs import photographs
from tests.helpers.processes.fresh_python import run_python


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
    except BadImageError as error:
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
        for sides in ((int(height), int(width)), (2 * tall, 2 * wide)):
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
