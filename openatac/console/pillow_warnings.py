"""Pillow's warnings."""
from __future__ import annotations

import warnings


def hide_pillows_warnings() -> None:
    """Hide Pillow's warnings about large images and odd metadata, in the whole process.

    This is for our own processes: hiding them around each call, by catch_warnings, is not safe in threads.
    """
    warnings.filterwarnings('ignore', module=r'PIL\.')
