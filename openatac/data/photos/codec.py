"""Decode JPEG and PNG files and resize images with OpenCV alone, for the same bits on every machine.

GluonCV requires the package opencv-python, which loads only where the system has windowing libraries. The
headless variant needs none; pyproject.toml explains how it gets installed instead.
"""
import types

import numpy as np

from openatac.data.photos.records import BadRecord

_START_OF_SCAN, _END_OF_IMAGE = b'\xff\xda', b'\xff\xd9'
_PNG, _END_OF_PNG = b'\x89PNG', b'IEND\xaeB`\x82'


def decode(data: bytes) -> np.ndarray:
    """Decode the image file ``data`` to uint8 (H, W, 3), RGB even if it is grey.

    Raises
    ------
    BadRecord
        If it is damaged. Decoders silently fill the missing rows of a truncated file with grey, so its end is
        checked first.
    """
    if data.startswith(b'\xff\xd8'):
        cut = not data.endswith(_END_OF_IMAGE) and data.rfind(_END_OF_IMAGE) < data.rfind(_START_OF_SCAN)
    else:
        cut = data.startswith(_PNG) and _END_OF_PNG not in data
    if cut:
        raise BadRecord('the image is cut off')
    if not data:
        raise BadRecord('the image is empty')
    cv2 = import_opencv()
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        raise BadRecord('it is not an image that can be decoded')
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize a uint8 (H, W, 3) image, or a part of one, to (height, width, 3) by bilinear interpolation."""
    cv2 = import_opencv()
    return cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=cv2.INTER_LINEAR)


def import_opencv() -> types.ModuleType:
    """Import ``cv2``; raise ImportError, with the remedy, if it is missing or cannot load."""
    try:
        import cv2
    except ImportError as error:
        raise ImportError(f'OpenCV cannot load here ({error}): run pip install --force-reinstall --no-deps '
                          'opencv-contrib-python-headless', name='cv2') from error
    return cv2
