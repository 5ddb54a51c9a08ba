"""The flags of commands that draw pictures."""
from __future__ import annotations

import argparse
import os

from openatac.options.flag_types import comma_separated
from openatac.pictures import FORMATS


def picture_file(text: str) -> str:
    """Return ``text`` if its suffix is one of `FORMATS` (an argparse type)."""
    if os.path.splitext(text)[1][1:].lower() not in FORMATS:
        raise argparse.ArgumentTypeError(f'{text!r} must end with .{", .".join(FORMATS)}')
    return text


def add_format_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--format``, which names the formats of a command's picture."""
    parser.add_argument('--format', dest='formats', type=comma_separated(_format), default=['png'],
                        metavar='F,F,...',
                        help=f'formats of the picture, of {", ".join(FORMATS)} (default: png)')


def _format(name: str) -> str:
    if name.lower() not in FORMATS:
        raise ValueError(f'{name!r} is not one of {", ".join(FORMATS)}')
    return name.lower()
