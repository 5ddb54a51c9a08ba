"""A comparison as one self-contained HTML page, which needs no network, no other file and no library."""
from __future__ import annotations

import io
import re
import statistics
import string
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import TYPE_CHECKING

from openatac.console.text import for_html
from openatac.pictures import literal_text
from openatac.study.comparison import results
from openatac.study.comparison.figures import accuracy_figure, curves_figure
from openatac.study.comparison.records import without_paths
from openatac.study.comparison.results import Group

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNIT = 'unit'                   # the column of results.head that is text
REFERENCE = 'relu'              # the unit that costs are compared with


def page(groups: Sequence[Group], measure: str = 'last_accuracy') -> str:
    """Return the HTML document of a comparison.

    Parameters
    ----------
    groups : sequence of Group
    measure : str
        One of `results.MEASURES`, for the figures and the differences.

    Returns
    -------
    str
        Without matplotlib, a sentence replaces the figures.
    """
    sections = [_paragraphs(results.circumstances(groups)), _results(groups), _relative_costs(groups),
                _figures(groups, measure), _statements(groups, measure), _runs(groups)]
    title = 'Units compared on ' + results.data_set(groups)
    template = string.Template(resources.files(__package__).joinpath('page.html').read_text('utf-8'))
    return template.substitute(title=for_html(title), sections='\n'.join(filter(None, sections)))


def _results(groups: Sequence[Group]) -> str:
    return '\n'.join([_heading('Accuracy and costs'), _paragraphs([
        'b: blocks per stage. Parameters: trainable ones. Multiply-adds: for one image. '
        'Images/s: in training, the median over the seeds and their range, without runs that other '
        'processes on the machine disturbed.']),
        _table(results.head(groups), results.rows(groups))])


def _relative_costs(groups: Sequence[Group]) -> str:
    """Return costs divided by those of relu at the same depth; '' if there are none.

    Speeds are compared only if all runs had the same devices and threads, and no other processes disturbed
    them.
    """
    reference = {group.blocks: _costs(group) for group in groups if group.unit == REFERENCE}
    others = [group for group in groups if group.unit != REFERENCE and group.blocks in reference]
    if not others:
        return ''
    machines = {(run.summary['device'], run.summary['threads']) for group in groups for run in group.runs}
    head = ('b', UNIT, 'parameters', 'multiply-adds', *['images/s'] * (len(machines) == 1))
    rows = [(str(group.blocks), group.unit, *(f'{own / base:.2f}' if own and base else 'disturbed'
                                              for own, base in zip(_costs(group), reference[group.blocks])))
            for group in others]
    return '\n'.join([_heading(f'Costs relative to {REFERENCE}'), _paragraphs([
        f'Each is divided by that of {REFERENCE} with as many blocks.']), _table(head, rows)])


def _costs(group: Group) -> tuple[float, float, float]:
    return group.parameters, group.multiply_adds, statistics.median(group.speeds() or [0])


def _figures(groups: Sequence[Group], measure: str) -> str:
    """Return the figures: accuracy against parameters, and curves for each depth."""
    try:
        with literal_text():
            accuracy = _svg(accuracy_figure(groups, measure), 'accuracy',
                            results.words(measure, groups) + ' against trainable parameters')
            curves = [_svg(curves_figure(groups, blocks), f'curves{blocks}',
                           f'{results.accuracy_of_epochs(groups)} and training loss over epochs, '
                           f'b = {blocks}')
                      for blocks in sorted({group.blocks for group in groups})]
    except ImportError:
        return _paragraphs(["The figures are missing, since matplotlib is not installed "
                            "(pip install 'openatac[demo]')."])
    return '\n'.join([_heading('Accuracy against parameters'), accuracy, _heading('Curves'), *curves])


def _svg(figure: Figure, name: str, label: str) -> str:
    """Return ``figure`` as an SVG element in the page's colours and font; its ids begin with ``name``."""
    import matplotlib
    text = io.StringIO()
    with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': 'openatac'}):
        figure.savefig(text, format='svg', metadata=dict.fromkeys(('Creator', 'Date', 'Format', 'Type')))
    svg = re.search(r'<svg[^>]*?(viewBox="[^"]*")[^>]*>(.*)</svg>', text.getvalue(), re.S)
    assert svg, 'matplotlib wrote no SVG'
    size, content = svg.groups()
    content = re.sub(r'(\bid="|href="#|url\(#)', rf'\g<1>{name}-', content)
    content = re.sub(r' d="[^"]*"', lambda path: re.sub(r'(\.\d\d)\d+', r'\1', path[0]), content)
    content = content.replace('#000000', 'currentColor').replace('#ffffff', 'var(--page)')
    return f'<div class="box">\n<svg role="img" aria-label="{for_html(label)}" {size}>{content}</svg>\n</div>'


def _statements(groups: Sequence[Group], measure: str) -> str:
    """Return the differences between units of the same depth."""
    items = [f'<li>{for_html(sentence)}</li>' for sentence in results.statements(groups, measure)]
    if not items:
        return ''
    return '\n'.join([_heading('Differences between units: ' + results.words(measure, groups)), _paragraphs([
        "Each p is of Welch's t test for one pair of units, without a correction for the number of tests."]),
        '<ul>', *items, '</ul>'])


def _runs(groups: Sequence[Group]) -> str:
    """Return the command of each run, and its results."""
    parts = [_heading('The runs')]
    for group in groups:
        seeds = 'seed' + 's' * (len(group.runs) > 1) + ' ' + ', '.join(str(run.seed) for run in group.runs)
        parts += ['<details>', f'<summary>{for_html(group.unit)}, b = {group.blocks}: {seeds}</summary>']
        for run in group.runs:
            parts += [f'<p>{for_html(results.facts(run))}</p>',
                      f'<pre><code>{for_html(without_paths(run.summary["command"]))}</code></pre>']
        parts.append('</details>')
    return '\n'.join(parts)


def _heading(text: str) -> str:
    return f'<h2>{for_html(text)}</h2>'


def _paragraphs(sentences: Iterable[str]) -> str:
    return '\n'.join(f'<p>{for_html(sentence)}</p>' for sentence in sentences)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table that readers can sort, sorted by its first column."""
    lines = ['<div class="box">', '<table>', '<thead><tr>']
    for name in head:
        attributes = ' class="word"' * (name == UNIT) + ' aria-sort="ascending"' * (name == head[0])
        lines.append(f'<th scope="col"{attributes}><button type="button">{for_html(name)}</button></th>')
    lines += ['</tr></thead>', '<tbody>']
    for row in rows:
        cells = [f'<th scope="row" class="word">{for_html(text)}</th>' if name == UNIT
                 else f'<td>{for_html(text)}</td>' for name, text in zip(head, row)]
        lines.append(f'<tr>{"".join(cells)}</tr>')
    return '\n'.join([*lines, '</tbody>', '</table>', '</div>'])
