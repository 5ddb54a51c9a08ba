"""JPEG and PNG files decoded, and images resized, by OpenCV.

GluonCV brings the package opencv-python, which is the fastest, but loads only where the system has
libGL. Elsewhere the OpenCV inside MXNet does the same to the same bits, in twice the time.
"""
import contextlib
import functools
import io

import numpy as np

from openatac.data.records import BadRecord

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
    image = _opencv()[0](data)
    if image is None:
        raise BadRecord('it is no image that can be decoded')
    return image


def resize(image, width, height):
    """A uint8 (H, W, 3) image, or a part of one, in another size; bilinear, as OpenCV's INTER_LINEAR."""
    return _opencv()[1](np.ascontiguousarray(image), width, height)


@functools.lru_cache(maxsize=None)
def _opencv():
    """(decode, resize) of the OpenCV that loads here."""
    try:
        import cv2
    except ImportError:
        return _decode_by_mxnet, _resize_by_mxnet
    return functools.partial(_decode_by_cv2, cv2), functools.partial(_resize_by_cv2, cv2)


def _decode_by_cv2(cv2, data):
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    except cv2.error:
        return None


def _resize_by_cv2(cv2, image, width, height):
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def _decode_by_mxnet(data):
    """None also where MXNet says nothing: its engine may lose the error and give pixels of a made-up size."""
    import mxnet as mx
    from PIL import Image
    try:
        size = Image.open(io.BytesIO(data)).size
        image = mx.image.imdecode(data).asnumpy()
    except Exception:  # Pillow has a dozen kinds for a damaged header
        with contextlib.suppress(mx.MXNetError):  # which the engine would raise again at the end
            mx.nd.waitall()
        return None
    return image if sorted(image.shape[:2]) == sorted(size) else None


def _resize_by_mxnet(image, width, height):
    import mxnet as mx
    return mx.image.imresize(mx.nd.from_numpy(image), width, height, interp=1).asnumpy()
