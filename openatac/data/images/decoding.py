"""Decode image files: the same bytes give the same pixels in training, evaluation and prediction.

OpenCV decodes JPEG files, and Pillow all others. Where OpenCV is missing, Pillow decodes JPEG files too, and
NumPy resizes: the pixels are the same, but resizing takes forty times as long. GluonCV requires the package
opencv-python, which loads only where the system has windowing libraries. The headless variant needs none;
pyproject.toml explains how it gets installed instead.
"""
from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import numpy as np

from openatac.data.images.jpeg_scans import lacks_scans
from openatac.data.images.opencv import find_opencv
from openatac.data.images.source import BadImageError
from openatac.errors import reason
from openatac.files.reading import MAX_IMAGE_BYTES, read_input, read_limited

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

_FORMATS = ('JPEG', 'PNG', 'GIF', 'WEBP', 'BMP', 'TIFF')  # Pillow's names; see `image_paths.EXTENSIONS`
NOT_AN_IMAGE = 'it is not an image that can be decoded'
STDIN = '-'  # stands for standard input where a path is expected

_JPEG, _END = b'\xff\xd8', b'\xff\xd9'
_START_OF_SCAN = b'\xff\xda'
_FILLERS = b'\xfe\xdc\xba\x98' * 16, b'\xa5\x3c\x96' * 16  # begin with 1 bits, since decoders pad with zeros
_TRANSPARENT = ('RGBA', 'LA', 'PA', 'RGBa', 'La')


def decode(data: bytes) -> np.ndarray:
    """Decode the image file ``data`` to uint8 (H, W, 3), RGB.

    Grey, palette, CMYK and 16-bit pixels become 8-bit RGB (the upper 8 of 16 bits), transparent pixels get a
    white background, photographs are rotated according to their EXIF data, and only the first frame of an
    animation is used.

    Raises
    ------
    BadImageError
        If ``data`` is damaged or not an image.
    """
    if not data:
        raise BadImageError('the image is empty')
    if not data.startswith(_JPEG):
        return _decode_by_pillow(data)
    ends = data.rfind(_END) > data.rfind(_START_OF_SCAN)  # only other data can follow the image
    if not ends:
        data += _END
    image = _decode_jpeg(data)
    if not ends and (image is None or _is_cut_off(data, image)):
        raise BadImageError('the image is cut off')
    if image is None:
        raise BadImageError(NOT_AN_IMAGE)
    return image


def decode_file(path: str) -> np.ndarray:
    """Decode an image file, or `STDIN`, like `decode`; raise BadImageError also if it cannot be read."""
    return decode(_read(path))


def _read(path: str) -> bytes:
    try:
        if path != STDIN:
            return read_input(path, MAX_IMAGE_BYTES)
        if sys.stdin is None:
            raise BadImageError('standard input is closed')
        return read_limited(sys.stdin.buffer, MAX_IMAGE_BYTES, path)
    except OSError as error:
        raise BadImageError(reason(error)) from None


def read_size(data: bytes) -> tuple[int, int]:
    """Return (height, width) of the image file ``data`` from its header, without decoding it.

    Raises
    ------
    BadImageError
        If ``data`` is not an image in one of the formats in `openatac.data.images.image_paths.EXTENSIONS`.
    """
    from PIL import Image
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            return image.height, image.width
    except Image.DecompressionBombError as error:
        raise BadImageError(f'it is too large ({error})') from None
    except Exception:  # Pillow raises a dozen kinds for damaged files
        raise BadImageError(NOT_AN_IMAGE) from None


def to_pixels(image: PillowImage) -> np.ndarray:
    """Convert a Pillow image to uint8 (H, W, 3), like `decode`; raise BadImageError if that fails."""
    try:
        return np.asarray(_to_rgb(image))
    except OSError as error:  # its file is damaged
        raise BadImageError(f'it cannot be decoded ({error})') from None


# ------------------------------------------------------------------------------------------ JPEG

def _decode_jpeg(data: bytes) -> np.ndarray | None:
    """Return uint8 (H, W, 3), RGB, or None. The decoder silently fills missing rows with grey."""
    cv2 = find_opencv()
    if cv2 is None:
        return _decode_jpeg_by_pillow(data)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _decode_jpeg_by_pillow(data: bytes) -> np.ndarray | None:
    """Decode like OpenCV: both use libjpeg-turbo."""
    from PIL import Image, ImageOps
    try:
        with Image.open(io.BytesIO(data), formats=['JPEG']) as file:
            image = ImageOps.exif_transpose(file)
            return (_cmyk_to_rgb(np.asarray(image)) if image.mode == 'CMYK' else
                    np.asarray(image.convert('RGB')))
    except Exception:  # Pillow raises a dozen kinds for damaged files
        return None


def _cmyk_to_rgb(ink: np.ndarray) -> np.ndarray:
    """Convert Pillow's CMYK to uint8 (H, W, 3), RGB, rounded like OpenCV."""
    black = 255 - ink[..., 3:].astype('int32')
    return (black - (ink[..., :3] * black >> 8)).astype('uint8')


def _is_cut_off(data: bytes, image: np.ndarray) -> bool:
    """Return whether ``image`` lacks pixels; ``data`` is its JPEG file with an end marker added.

    If none are missing, extra bytes before that marker do not change the pixels.
    """
    if lacks_scans(data):
        return True
    start = data[:-len(_END)]
    if start.endswith(b'\xff'):
        start += b'\0'  # escape the byte, which would otherwise begin a marker
    others = (_decode_jpeg(start + filler + _END) for filler in _FILLERS)
    return any(other is None or not np.array_equal(image, other) for other in others)


# ---------------------------------------------------------------------------------- other formats

def _decode_by_pillow(data: bytes) -> np.ndarray:
    from PIL import Image
    try:
        with Image.open(io.BytesIO(data), formats=_safe_formats()) as image:
            return np.asarray(_to_rgb(image))
    except BadImageError:
        raise
    except Image.UnidentifiedImageError:
        raise BadImageError(NOT_AN_IMAGE) from None
    except Exception as error:  # Pillow raises a dozen kinds for damaged files
        raise BadImageError(f'it cannot be decoded ({error})') from None


def _safe_formats() -> list[str]:
    """Return Pillow's formats except EPS: such files are programs, which Pillow runs in Ghostscript."""
    from PIL import Image
    Image.init()
    return [name for name in Image.ID if name != 'EPS']


def _to_rgb(image: PillowImage) -> PillowImage:
    """Return the image in mode 'RGB', upright."""
    from PIL import Image, ImageOps
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith('I'):
        return Image.fromarray(_upper_8_bits(np.asarray(image))).convert('RGB')
    if image.mode == 'F':
        raise BadImageError('its pixels are floating-point numbers: save it with 8 or 16 bits')
    if image.mode in _TRANSPARENT or 'transparency' in image.info:
        image = image.convert('RGBA')
        image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image)
    return image.convert('RGB')


def _upper_8_bits(grey: np.ndarray) -> np.ndarray:
    """Convert 16-bit grey levels to uint8; Pillow sometimes stores them in 32 bits."""
    if grey.min() < 0 or grey.max() >= 2 ** 16:
        raise BadImageError('its pixels have 32 bits: save it with 8 or 16')
    return (grey >> 8).astype('uint8')
