"""CSV files that are safe to open in a spreadsheet: none of their text runs as a formula."""
import contextlib
import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from openatac.files.reading import read_text
from openatac.files.writing import write_text

# Characters that spreadsheets treat as the start of a formula, or skip before one.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def write_csv(path: str, columns: Sequence[str], rows: Iterable[Mapping[str, object]],
              floats: str = '') -> None:
    """Write rows, as dicts, under ``columns``, atomically.

    Other keys are left out, and floats get the format ``floats``. Text that a spreadsheet would run as a
    formula gets a leading apostrophe, which `read_csv` removes.
    """
    def cell(value: object) -> object:
        return format(value, floats) if floats and isinstance(value, float) else value

    write_text(path, csv_text([columns, *([cell(row.get(column)) for column in columns] for row in rows)]))


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Return rows of cells as the text of a CSV file, with formulas escaped as in `write_csv`."""
    return ''.join(_csv_line([escape_formula(cell) for cell in row]) for row in rows)


def _csv_line(cells: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator='\r\n').writerow(cells)  # quotes a cell's own \r
    return text.getvalue().removesuffix('\r\n') + '\n'


def read_csv(path: str) -> list[dict[str, str]]:
    """Return the rows of a file from `write_csv` as {column: text}; raise the errors of `read_text`."""
    try:
        return [{column: _unescape_formula(value) for column, value in row.items()}
                for row in csv.DictReader(io.StringIO(read_text(path), newline=''))]
    except csv.Error as error:
        raise ValueError(str(error)) from None


def escape_formula(value: Any) -> Any:
    """Return a CSV cell: a leading apostrophe before text that is a formula, anything else unchanged."""
    if isinstance(value, str) and _FORMULA.match(value) and not _is_number(value):
        return "'" + value
    return value


def _unescape_formula(text: Any) -> Any:
    if isinstance(text, str) and text.startswith("'") and _FORMULA.match(text):
        return text[1:]
    return text


def _is_number(text: str) -> bool:
    with contextlib.suppress(ValueError):
        float(text)
        return text == text.strip()
    return False
