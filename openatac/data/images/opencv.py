"""OpenCV, where it is installed and can load."""
from __future__ import annotations

import contextlib
import functools
import logging
import types

log = logging.getLogger('openatac')


def import_opencv() -> types.ModuleType:
    """Import ``cv2``; if it is missing or cannot load, raise ImportError with a fix."""
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
    """If OpenCV is missing, log a warning with a fix."""
    try:
        import_opencv()
    except ImportError as error:
        log.warning('%s', error)
