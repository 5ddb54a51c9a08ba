"""Figures drawn with matplotlib (from the extra ``demo``): in one style."""
from __future__ import annotations

import logging
import os
import textwrap
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from openatac.files.writing import replace_file
from openatac.system.optional_packages import pip_install

log = logging.getLogger('openatac')

FORMATS = ('png', 'svg', 'pdf')
DPI = 150
LETTER_WIDTH = 6.5  # in a title, in points
# Dollar signs in names stay literal: they are not formulas.
STYLE = {'text.parse_math': False, 'axes.spines.top': False, 'axes.spines.right': False,
         'axes.axisbelow': True, 'axes.titlesize': 'medium', 'figure.titlesize': 'medium',
         'legend.frameon': False, 'svg.fonttype': 'none', 'svg.hashsalt': 'openatac'}

# Fonts for characters that matplotlib's own font lacks, mainly Chinese, Japanese and Korean; used if
# installed.
OTHER_FONTS = ('Noto Sans', 'Noto Sans CJK SC', 'Noto Sans CJK JP', 'Source Han Sans SC', 'WenQuanYi Zen Hei',
               'PingFang SC', 'Hiragino Sans', 'Microsoft YaHei', 'Yu Gothic', 'Malgun Gothic',
               'Arial Unicode MS')

# Okabe and Ito's colours that stand out from white; colour-blind readers can tell them apart. In greyscale,
# the markers and lines differ.
COLOURS = ('#000000', '#d55e00', '#0072b2', '#009e73', '#cc79a7', '#e69f00', '#56b4e9')
LINES = ('-', '--', ':')


def write_figure(path: str, draw: Callable[[], Any], formats: Sequence[str] | None = None) -> None:
    """Write a figure to a file, atomically.

    Without matplotlib, write nothing and warn with the command that installs it.

    Parameters
    ----------
    path : str
        The file; its suffix is the format.
    draw : function
        Imports matplotlib and returns the figure.
    formats : sequence of str, optional
        Formats from `FORMATS`: write one file for each, named ``path`` with that suffix instead.
    """
    try:
        with style():
            figure = draw()
    except ImportError:
        log.warning('no figure without matplotlib: run %s', pip_install('matplotlib'))
        return
    root, suffix = os.path.splitext(path)
    for name in formats or [suffix[1:].lower()]:
        with replace_file(f'{root}.{name}' if formats else path) as temporary, style():
            # Undated: equal data give equal bytes.
            undated = {'svg': {'Date': None}, 'pdf': {'CreationDate': None}}.get(name)
            figure.savefig(temporary, format=name, dpi=DPI, metadata=undated)


def style() -> AbstractContextManager[Any]:
    """Apply the common style of our figures to new figures while the context is open."""
    import matplotlib
    return matplotlib.rc_context({**STYLE, 'font.family': _fonts()})  # type: ignore[dict-item]


def _fonts() -> list[str]:
    from matplotlib import font_manager
    installed = font_manager.get_font_names()
    return ['DejaVu Sans', *(name for name in OTHER_FONTS if name in installed)]


def is_drawable(text: str) -> bool:
    """Return whether our fonts cover every letter of the text; missing letters would be drawn as boxes."""
    from matplotlib import font_manager
    fonts = [font_manager.get_font(font_manager.findfont(name)) for name in _fonts()]
    return all(any(font.get_char_index(ord(letter)) for font in fonts) for letter in text)


def wrapped(text: str, inches: float) -> str:
    """Break a title into lines at most ``inches`` wide."""
    letters = max(10, int(inches * 72 / LETTER_WIDTH))
    return '\n'.join(textwrap.fill(line, letters) for line in text.split('\n'))


def shortened(name: str, length: int = 24) -> str:
    """Shorten a name to at most ``length`` characters by cutting out its middle."""
    half = (length - 1) // 2
    return name if len(name) <= length else f'{name[:half]}\N{HORIZONTAL ELLIPSIS}{name[-half:]}'
