"""The flags of commands that draw figures."""
from __future__ import annotations

import argparse
import os

from openatac.figures import FORMATS
from openatac.options.flag_types import comma_separated


def figure_file(text: str) -> str:
    """Return ``text`` if its suffix is one of `FORMATS` (an argparse type)."""
    if os.path.splitext(text)[1][1:].lower() not in FORMATS:
        raise argparse.ArgumentTypeError(f'{text!r} must end with .{", .".join(FORMATS)}')
    return text


def add_format_flag(parser: argparse.ArgumentParser) -> None:
    """Add ``--format``, which names the formats of a command's figure."""
    parser.add_argument('--format', dest='formats', type=comma_separated(_format), default=['png'],
                        metavar='F,F,...',
                        help=f'formats of the figure, of {", ".join(FORMATS)} (default: png)')


def _format(name: str) -> str:
    if name.lower() not in FORMATS:
        raise ValueError(f'{name!r} is not one of {", ".join(FORMATS)}')
    return name.lower()
