"""Render a comparison as one self-contained HTML page, without network access, other files or libraries."""
from __future__ import annotations

import io
import re
import statistics
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from openatac.figures import style
from openatac.pages import fill_page
from openatac.study.comparison import sentences, tables
from openatac.study.comparison.comparison import Comparison, Group
from openatac.study.comparison.copied_runs import without_paths
from openatac.study.comparison.differences import HEADER, Difference
from openatac.study.comparison.error_figure import comparison_curves, error_figure
from openatac.system.optional_packages import pip_install
from openatac.text import for_html

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORDS = ('unit', 'against')      # columns of text
REFERENCE = 'relu'              # the unit that costs are compared with


def page_html(comparison: Comparison, found: Sequence[Difference]) -> str:
    """Return the HTML document of a comparison and its differences.

    Without matplotlib, a sentence replaces the figures.
    """
    groups = comparison.groups
    sections = [_paragraphs(sentences.conclusion(comparison, found), 'finding'),
                _paragraphs(sentences.circumstances(comparison)), _results(comparison),
                _relative_costs(groups), _figures(comparison), _differences(comparison, found), _runs(groups)]
    return fill_page(__package__, title=for_html(sentences.title(comparison)),
                     sections='\n'.join(filter(None, sections)))


def _results(comparison: Comparison) -> str:
    return '\n'.join([_heading('Accuracy and costs'), _paragraphs([
        'b: blocks per stage. Parameters: trainable ones. Multiply-adds: for one image. '
        'Images/s: in training, the median over the seeds and their range, without runs that other '
        'processes on the machine disturbed.']),
        _table(tables.header(comparison), tables.rows(comparison))])


def _relative_costs(groups: Sequence[Group]) -> str:
    """Return costs relative to relu at the same depth; '' if there is nothing to compare.

    Speeds are compared only if all runs used the same devices and threads, without disturbance by other
    processes.
    """
    reference = {group.blocks: _costs(group) for group in groups if group.unit == REFERENCE}
    others = [group for group in groups if group.unit != REFERENCE and group.blocks in reference]
    if not others:
        return ''
    machines = {(run.summary['device'], run.summary['threads']) for group in groups for run in group.runs}
    head = ('b', 'unit', 'parameters', 'multiply-adds', *(['images/s'] if len(machines) == 1 else []))
    rows = [(str(group.blocks), group.unit, *(f'{own / base:.2f}' if own and base else 'disturbed'
                                              for own, base in zip(_costs(group), reference[group.blocks])))
            for group in others]
    return '\n'.join([_heading(f'Costs relative to {REFERENCE}'), _paragraphs([
        f'Each is divided by that of {REFERENCE} with as many blocks.']), _table(head, rows)])


def _costs(group: Group) -> tuple[float, float, float]:
    return group.parameters, group.multiply_adds, statistics.median(group.speeds() or [0])


def _figures(comparison: Comparison) -> str:
    """Return the figures: error against parameters, and curves for each depth."""
    try:
        with style():
            error = _svg(error_figure(comparison), 'error', _error_text(comparison))
            curves = [_svg(comparison_curves(comparison, blocks), f'curves{blocks}',
                           f'{comparison.images_of_epochs} error and training loss over epochs, b = {blocks}')
                      for blocks in sorted({group.blocks for group in comparison.groups})]
    except ImportError:
        return _paragraphs(['The figures are missing, since matplotlib is not installed '
                            f'({pip_install("matplotlib")}).'])
    return '\n'.join([_heading('Error against parameters'), error, _heading('Curves'), *curves])


def _error_text(comparison: Comparison) -> str:
    """Describe the error figure in words, for readers who cannot see it."""
    errors = [100 * (1 - statistics.mean(group.values(comparison.measure))) for group in comparison.groups]
    points = '; '.join(f'{group.unit}, b = {group.blocks}: {error:.2f}% with {group.parameters:,} parameters'
                       for group, error in zip(comparison.groups, errors))
    return f'{comparison.describe_measure("error")} against trainable parameters. {points}.'


def _svg(figure: Figure, name: str, label: str) -> str:
    """Return ``figure`` as an SVG element in the page's colours and font; its ids begin with ``name``."""
    text = io.StringIO()
    with style():
        figure.savefig(text, format='svg', metadata=dict.fromkeys(('Creator', 'Date', 'Format', 'Type')))
    svg = re.search(r'<svg[^>]*?(viewBox="[^"]*")[^>]*>(.*)</svg>', text.getvalue(), re.S)
    assert svg, 'matplotlib wrote no SVG'
    size, content = svg.groups()
    content = re.sub(r'(\bid="|href="#|url\(#)', rf'\g<1>{name}-', content)
    content = re.sub(r' d="[^"]*"', lambda path: re.sub(r'(\.\d\d)\d+', r'\1', path[0]), content)
    content = content.replace('#000000', 'currentColor').replace('#ffffff', 'var(--page)')
    return f'<div class="box">\n<svg role="img" aria-label="{for_html(label)}" {size}>{content}</svg>\n</div>'


def _differences(comparison: Comparison, found: Sequence[Difference]) -> str:
    """Return the differences between units of the same depth; '' if there are none."""
    if not found:
        return ''
    heading = _heading('Differences between units: ' + comparison.describe_measure())
    return '\n'.join([heading, _paragraphs([
        "Each p value comes from Welch's t test for one pair of units; Holm's correction covers all tests in "
        'the table.']),
        _table(HEADER, [each.row() for each in found])])


def _runs(groups: Sequence[Group]) -> str:
    """Return each run's command and results."""
    parts = [_heading('The runs')]
    for group in groups:
        seeds = ', '.join(f'seed {run.seed}' for run in group.runs)
        parts += ['<details>', f'<summary>{for_html(group.unit)}, b = {group.blocks}: {seeds}</summary>']
        for run in group.runs:
            parts += [f'<p>{for_html(sentences.describe_run(run))}</p>',
                      f'<pre><code>{for_html(without_paths(run.summary["command"]))}</code></pre>']
        parts.append('</details>')
    return '\n'.join(parts)


def _heading(text: str) -> str:
    return f'<h2>{for_html(text)}</h2>'


def _paragraphs(texts: Iterable[str], kind: str = '') -> str:
    start = f'<p class="{kind}">' if kind else '<p>'
    return '\n'.join(f'{start}{for_html(text)}</p>' for text in texts)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table that readers can sort, sorted by its first column."""
    lines = ['<div class="box">', '<table>', '<thead><tr>']
    for name in head:
        attributes = ' class="word"' if name in WORDS else ''
        if name == head[0]:
            attributes += ' aria-sort="ascending"'
        lines.append(f'<th scope="col"{attributes}><button type="button">{for_html(name)}</button></th>')
    lines += ['</tr></thead>', '<tbody>']
    for row in rows:
        cells = [f'<th scope="row" class="word">{for_html(text)}</th>' if name in WORDS
                 else f'<td>{for_html(text)}</td>' for name, text in zip(head, row)]
        lines.append(f'<tr>{"".join(cells)}</tr>')
    return '\n'.join([*lines, '</tbody>', '</table>', '</div>'])
