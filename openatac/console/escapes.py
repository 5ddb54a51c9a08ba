"""Text from outside (names of files and classes, notes, commands) where a program would act on it.

A terminal obeys control characters, a spreadsheet runs formulas, and Markdown and HTML have markup. One
function for each makes a text harmless there.
"""
import html
import re
from typing import Any, Optional

# C0 and C1, the separators of lines, what turns the direction of writing, and what is not a character.
_CONTROLS = re.compile('[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]')
# What spreadsheets take for the beginning of a formula, or skip in front of one.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_MARKUP = re.compile(r'([\\`*\[\]|~])|(?<!\w)_|_(?!\w)')


def for_terminal(text: object) -> str:
    """``text`` in one line, with its control characters shown as escapes, such as ``\\x1b``.

    Bytes of a file's name that are not UTF-8 (surrogates, in Python) are shown as such: ``\\xff``.
    """
    return _CONTROLS.sub(_escaped, str(text))


def _escaped(match: 're.Match') -> str:
    character = match[0]
    if '\udc80' <= character <= '\udcff':
        return f'\\x{ord(character) - 0xdc00:02x}'
    return character.encode('unicode_escape', 'surrogatepass').decode()


def without_controls(text: object) -> str:
    """``text`` in one line, without control characters; those that separate words become spaces."""
    return _CONTROLS.sub('', re.sub(r'\s+', ' ', str(text)))


def for_markdown(text: object) -> str:
    """``text`` as Markdown that shows it as it is, in one line; underscores within words stay."""
    return _MARKUP.sub(r'\\\g<0>', html.escape(without_controls(text), quote=False))


def for_html(text: object) -> str:
    """``text`` as HTML that shows it as it is, also within an attribute."""
    return html.escape(without_controls(text))


def for_spreadsheet(value: Any) -> Any:
    """A cell of a CSV file; text that a spreadsheet would run gets an apostrophe in front, numbers stay."""
    if isinstance(value, str) and _FORMULA.match(value) and not _is_number(value):
        return "'" + value
    return value


def from_spreadsheet(text: Optional[str]) -> Optional[str]:
    """The text that `for_spreadsheet` was given."""
    if isinstance(text, str) and text.startswith("'") and _FORMULA.match(text):
        return text[1:]
    return text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text == text.strip()
