"""Decode JPEG and PNG files and resize images by OpenCV alone, for the same bits on every machine.

GluonCV brings the package opencv-python, which loads only where the system has libraries for windows. The
headless variant needs none; setup.py says how it comes to be the one that is installed.
"""
import types

import numpy as np

from openatac.data.photos.records import BadRecord

_START_OF_SCAN, _END_OF_IMAGE = b'\xff\xda', b'\xff\xd9'
_PNG, _END_OF_PNG = b'\x89PNG', b'IEND\xaeB`\x82'


def decode(data):
    """The image file ``data`` as uint8 (H, W, 3), RGB also where it is grey; BadRecord if it is damaged.

    Decoders fill the missing rows of a file that was cut off with grey, and say nothing.
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


def resize(image, width, height):
    """A uint8 (H, W, 3) image, or a part of one, in another size; bilinear, as OpenCV's INTER_LINEAR."""
    cv2 = import_opencv()
    return cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=cv2.INTER_LINEAR)


def import_opencv() -> types.ModuleType:
    """Return the module ``cv2``; ImportError with the remedy if it is missing or cannot load."""
    try:
        import cv2
    except ImportError as error:
        raise ImportError(f'OpenCV cannot load here ({error}): run pip install --force-reinstall --no-deps '
                          'opencv-contrib-python-headless', name='cv2') from error
    return cv2
