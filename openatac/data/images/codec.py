"""The one decoder of image files: the same bytes give the same pixels in training, evaluation and prediction.

OpenCV decodes JPEG files, and Pillow all others. Where OpenCV is missing, Pillow decodes JPEG files too, and
NumPy resizes: the pixels are the same, but resizing takes forty times as long. GluonCV requires the package
opencv-python, which loads only where the system has windowing libraries. The headless variant needs none;
pyproject.toml explains how it gets installed instead.
"""
from __future__ import annotations

import contextlib
import functools
import io
import logging
import types
import warnings
from typing import TYPE_CHECKING

import numpy as np

from openatac.data.images import bilinear
from openatac.data.images.source import BadImage

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

EXTENSIONS = ('.jpg', '.jpeg', '.png', '.gif', '.webp', '.bmp', '.tif', '.tiff')  # looked for in folders
_FORMATS = ('JPEG', 'PNG', 'GIF', 'WEBP', 'BMP', 'TIFF')  # of Pillow, for the same
log = logging.getLogger('openatac')
NOT_AN_IMAGE = 'it is not an image that can be decoded'

_JPEG, _END = b'\xff\xd8', b'\xff\xd9'
_START_OF_SCAN, _PROGRESSIVE = b'\xff\xda', b'\xff\xc2'
_FILLERS = b'\xfe\xdc\xba\x98' * 16, b'\xa5\x3c\x96' * 16  # begin with ones; a decoder adds zeros
_TRANSPARENT = ('RGBA', 'LA', 'PA', 'RGBa', 'La')


def decode(data: bytes) -> np.ndarray:
    """Decode the image file ``data`` to uint8 (H, W, 3), RGB.

    Grey, palette, CMYK and 16-bit pixels become 8-bit RGB (the upper 8 of 16 bits), transparent pixels get a
    white background, a photograph is turned as its EXIF data says, and the first frame of an animation is
    taken.

    Raises
    ------
    BadImage
        If it is damaged, or not an image.
    """
    if not data:
        raise BadImage('the image is empty')
    if not data.startswith(_JPEG):
        return _decode_by_pillow(data)
    ends = data.rfind(_END) > data.rfind(_START_OF_SCAN)  # at most other data follows the image
    if not ends:
        data += _END
    image = _decode_jpeg(data)
    if not ends and (image is None or _is_cut_off(data, image)):
        raise BadImage('the image is cut off')
    if image is None:
        raise BadImage(NOT_AN_IMAGE)
    return image


def read_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) of the image file ``data`` from its header, without decoding it.

    Raises
    ------
    BadImage
        If it is not an image in one of the formats of `EXTENSIONS`.
    """
    from PIL import Image
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                return image.size
    except Image.DecompressionBombError as error:
        raise BadImage(f'it is too large ({error})') from None
    except Exception:  # Pillow has a dozen kinds for damaged files
        raise BadImage(NOT_AN_IMAGE) from None


def to_pixels(image: PillowImage) -> np.ndarray:
    """Return uint8 (H, W, 3) of an image of Pillow, as `decode` does; BadImage if it has no such pixels."""
    try:
        return np.asarray(_to_rgb(image))
    except OSError as error:  # its file is damaged
        raise BadImage(f'it cannot be decoded ({error})') from None


def is_image_name(name: str) -> bool:
    """Return whether a file's name is that of an image; hidden files do not count."""
    return name.lower().endswith(EXTENSIONS) and not name.startswith('.')


def resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize a uint8 (H, W, 3) image, or a part of one, to (height, width, 3) by bilinear interpolation."""
    cv2 = find_opencv()
    if cv2 is None:
        return bilinear.resize(image, width, height)
    return cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=cv2.INTER_LINEAR)


def squeeze(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Bring a uint8 (H, W, 3) image to (height, width, 3), whatever its shape.

    Each new pixel is a mean over the area that it covers (Pillow's BILINEAR), which leaves an image of that
    size unchanged.
    """
    from PIL import Image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def import_opencv() -> types.ModuleType:
    """Import ``cv2``; raise ImportError, with the remedy, if it is missing or cannot load."""
    try:
        import cv2
    except ImportError as error:
        raise ImportError(f'OpenCV cannot load here ({error}), and without it photographs are resized more '
                          'slowly: run pip install --force-reinstall --no-deps '
                          'opencv-contrib-python-headless', name='cv2') from error
    return cv2


@functools.cache
def find_opencv() -> types.ModuleType | None:
    """Return ``cv2``, or None if it is missing or cannot load."""
    with contextlib.suppress(ImportError):
        return import_opencv()
    return None


def warn_without_opencv() -> None:
    """Log the remedy if OpenCV is missing."""
    try:
        import_opencv()
    except ImportError as error:
        log.warning('%s', error)


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
    """Return what OpenCV returns; both have libjpeg-turbo."""
    from PIL import Image, ImageOps
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of Pillow about large images and odd metadata
            with Image.open(io.BytesIO(data), formats=['JPEG']) as file:
                image = ImageOps.exif_transpose(file)
                return (_cmyk_to_rgb(np.asarray(image)) if image.mode == 'CMYK' else
                        np.asarray(image.convert('RGB')))
    except Exception:  # Pillow has a dozen kinds for damaged files
        return None


def _cmyk_to_rgb(ink: np.ndarray) -> np.ndarray:
    """Return uint8 (H, W, 3) of Pillow's CMYK, rounded like OpenCV."""
    black = 255 - ink[..., 3:].astype('int32')
    return (black - (ink[..., :3] * black >> 8)).astype('uint8')


def _is_cut_off(data: bytes, image: np.ndarray) -> bool:
    """Return whether ``image`` lacks pixels: that of a JPEG file that was given its end marker.

    If none are missing, more bytes before that marker have no effect on the pixels. The scans of a
    progressive file cannot be counted, so it needs an end marker of its own.
    """
    if _PROGRESSIVE in data[:data.find(_START_OF_SCAN)]:
        return True
    start = data[:-len(_END)]
    if start.endswith(b'\xff'):
        start += b'\0'  # as in the middle of a scan, where a marker would begin otherwise
    others = (_decode_jpeg(start + filler + _END) for filler in _FILLERS)
    return any(other is None or not np.array_equal(image, other) for other in others)


# ---------------------------------------------------------------------------------- other formats

def _decode_by_pillow(data: bytes) -> np.ndarray:
    from PIL import Image
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of Pillow about large images and odd metadata
            with Image.open(io.BytesIO(data), formats=_safe_formats()) as image:
                return np.asarray(_to_rgb(image))
    except BadImage:
        raise
    except Image.UnidentifiedImageError:
        raise BadImage(NOT_AN_IMAGE) from None
    except Exception as error:  # Pillow has a dozen kinds for damaged files
        raise BadImage(f'it cannot be decoded ({error})') from None


def _safe_formats() -> list[str]:
    """Return Pillow's formats except EPS, which is a program that Pillow passes to Ghostscript."""
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
        raise BadImage('its pixels are floating-point numbers: save it with 8 or 16 bits')
    if image.mode in _TRANSPARENT or 'transparency' in image.info:
        image = image.convert('RGBA')
        image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image)
    return image.convert('RGB')


def _upper_8_bits(grey: np.ndarray) -> np.ndarray:
    """Return uint8 of 16-bit grey levels, which Pillow may hold in 32 bits."""
    if grey.min() < 0 or grey.max() >= 2 ** 16:
        raise BadImage('its pixels have 32 bits: save it with 8 or 16')
    return (grey >> 8).astype('uint8')
