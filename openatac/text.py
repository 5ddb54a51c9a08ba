"""Tables and numbers as text, and text from outside (file names, class names, commands) made safe to show.

Terminals obey control characters, and Markdown and HTML interpret markup. One function for each escapes
whatever would take effect there; `openatac.files.csv_file` does the same for spreadsheets.
"""
from __future__ import annotations

import html
import os
import re
from collections.abc import Iterable, Sequence

# C0 and C1, line separators, marks that change the direction of writing, and surrogates.
_CONTROLS = re.compile('[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]')
_MARKUP = re.compile(r'([\\`*\[\]|~])|(?<!\w)_|_(?!\w)')


def for_terminal(text: object) -> str:
    r"""Return ``text`` on one line, with its control characters shown as escapes, such as ``\x1b``.

    Bytes of a file name that are not UTF-8 (surrogates, in Python) are shown as ``\xff``.
    """
    return _CONTROLS.sub(_escape, str(text))


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if '\udc80' <= character <= '\udcff':
        return f'\\x{ord(character) - 0xdc00:02x}'
    return character.encode('unicode_escape', 'surrogatepass').decode()


def printable(name: str) -> str:
    """Return a file or class name, which can contain any bytes, as text that any file can hold."""
    return os.fsencode(name).decode('utf-8', 'backslashreplace')


def without_controls(text: object) -> str:
    """Return ``text`` on one line, without control characters; word separators become spaces."""
    return _CONTROLS.sub('', re.sub(r'\s+', ' ', str(text)))


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, such as '1 run' or '2 runs'."""
    return f'{count} {noun}' if count == 1 else f'{count} {noun}s'


def first_few(names: Sequence[str], count: int = 3) -> str:
    """Return the first ``count`` names and how many more there are, such as 'a, b, c and 2 more'."""
    more = f' and {len(names) - count} more' if len(names) > count else ''
    return ', '.join(names[:count]) + more


def short_names(paths: Sequence[str]) -> Sequence[str]:
    """Return the base names of the paths, or the paths themselves if two base names are equal."""
    names = [os.path.basename(os.path.abspath(path)) for path in paths]
    return names if len(set(names)) == len(names) else paths


def for_markdown(text: object) -> str:
    """Return ``text`` on one line, as Markdown that shows it literally; underscores within words are kept."""
    return _MARKUP.sub(r'\\\g<0>', html.escape(without_controls(text), quote=False))


def for_html(text: object) -> str:
    """Return ``text`` on one line, as HTML that shows it literally, even within an attribute."""
    return html.escape(without_controls(text))


def text_table(rows: Iterable[Sequence[object]]) -> str:
    """Align rows of text in columns for a terminal, the first column left and the others right."""
    cells = [[for_terminal(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    return '\n'.join('  '.join(cell.ljust(width) if index == 0 else cell.rjust(width)
                               for index, (cell, width) in enumerate(zip(row, widths))) for row in cells)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown; the text of the rows is shown literally."""
    lines = [head, ('---',) * len(head), *(map(for_markdown, row) for row in rows)]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)
