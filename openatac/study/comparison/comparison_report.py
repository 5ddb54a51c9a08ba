"""Write the report of a comparison: a table of its runs, a summary in Markdown, a figure and a page."""
from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from openatac.errors import OpenatacError
from openatac.figures import write_figure
from openatac.files.csv_file import write_csv
from openatac.files.reading import read_text
from openatac.files.run_file_names import LOG
from openatac.files.writing import write_text, writing
from openatac.study.comparison import differences, sentences, tables
from openatac.study.comparison.comparison import Comparison, group_runs
from openatac.study.comparison.copied_runs import ADVICE, without_paths
from openatac.study.comparison.error_figure import error_figure
from openatac.study.comparison.html_page import page_html
from openatac.study.finished_runs import find_runs
from openatac.text import for_markdown, markdown_table, without_controls

NOTE = 'note.txt'
HELD_OUT = ('validation_images', 'test_accuracy')  # columns if images were held out for validation
COLUMNS = ('unit', 'blocks', 'seed', 'date', 'parameters', 'multiply_adds', 'dataset', 'training_images',
           'test_images', 'epochs', 'best_accuracy', 'best_epoch', 'last_accuracy', 'images_per_second',
           'disturbed', 'device', 'threads', 'openatac', 'mxnet', 'torch', 'numpy', 'python', 'command',
           'log')


def write_comparison(folder: str, measure: str, against: str | None = None,
                     formats: Sequence[str] = ('png',)) -> str:
    """Write the comparison of the runs in ``folder`` into it.

    Parameters
    ----------
    folder : str
    measure : str
        One of `openatac.study.comparison.comparison.MEASURES`, for the figure and the differences.
    against : str, optional
        The unit to compare with the others; see `openatac.study.comparison.differences`.
    formats : sequence of str
        The formats of the figure.

    Returns
    -------
    str
        The text of comparison.md.

    Raises
    ------
    OpenatacError
        If the runs cannot be compared, or lack the measure or the unit.
    """
    comparison = Comparison(group_runs(find_runs(folder)), measure, against, read_note(folder))
    units = [group.unit for group in comparison.groups]
    if against not in (None, differences.ALL, *units):
        raise OpenatacError(f'--against {against}: there are no runs of it; choose from '
                            f'{", ".join(dict.fromkeys([*units, differences.ALL]))}')
    if measure not in comparison.measures:
        raise OpenatacError(f'the runs in {folder} have no {measure.replace("_", " ")} apart from "best" and '
                            '"last", as they were trained without --val-split: choose another --measure')
    columns = COLUMNS + HELD_OUT if 'test_accuracy' in comparison.measures else COLUMNS
    found = differences.find_differences(comparison)
    text = '\n'.join([
        f'# {for_markdown(sentences.title(comparison))}', '',
        *map(for_markdown, sentences.conclusion(comparison, found)), '',
        *map(for_markdown, sentences.circumstances(comparison)), '',
        markdown_table(tables.header(comparison), tables.rows(comparison))]) + '\n'
    if found:
        text += (f"\nDifferences in {measure.replace('_', ' ')} (Welch's t test):\n\n"
                 f'{markdown_table(differences.HEADER, [each.row() for each in found])}\n')
    document = page_html(comparison, found)
    with writing(folder, ADVICE):
        write_csv(os.path.join(folder, 'runs.csv'), columns, _rows(comparison, folder))
        write_text(os.path.join(folder, 'comparison.md'), text)
        write_figure(os.path.join(folder, 'comparison.png'), lambda: error_figure(comparison), formats)
        write_text(os.path.join(folder, 'comparison.html'), document)
    return text


def _rows(comparison: Comparison, folder: str) -> Iterator[dict[str, Any]]:
    """Yield {column: value} for each run, with COLUMNS and HELD_OUT among the columns."""
    for group in comparison.groups:
        for run in group.runs:
            yield {**run.summary, **run.summary['versions'], **group._asdict(), 'seed': run.seed,
                   'date': run.date,
                   'command': without_paths(run.summary['command']),
                   'log': os.path.relpath(os.path.join(run.folder, LOG), folder)}


def read_note(folder: str) -> str:
    """Return the note on the data of this comparison, or ''."""
    try:
        return without_controls(read_text(os.path.join(folder, NOTE))).strip()
    except FileNotFoundError:
        return ''
    except (OSError, ValueError) as error:
        raise OpenatacError(f'{os.path.join(folder, NOTE)} cannot be read ({error}): write it again with '
                            '--note') from None


def write_note(folder: str, note: str) -> None:
    """Save a note on the data, for this comparison and later repetitions."""
    with writing(folder, ADVICE):
        write_text(os.path.join(folder, NOTE), without_controls(note) + '\n')
