"""Report the published numbers next to ours, for the terminal."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from openatac.study.finished_runs import FinishedRun
from openatac.study.published.numbers import ACCURACY, COSTS
from openatac.study.published.recipe_check import not_comparable
from openatac.study.published.rows import RULE, PublishedRow
from openatac.study.published.training_time import AUTHORS_SPEED, Speed
from openatac.study.spread import mean_and_deviation
from openatac.text import counted, for_terminal, text_table

Line = tuple[str, ...]

COST_HEAD = ('network', 'published as', 'parameters', 'ours', '', 'operations', 'ours', '')
COST_NOTE = """\
Parameters in M and operations in G, ours counted as the source counts; reproduced: to its last digit. ATAC:
running statistics too, a dense layer as 2 x inputs x outputs - inputs + outputs (openatac costs --published).
AA and FA: two operations for a multiply-add. The others: trained parameters, multiply-adds; their 3.86 and
3.87 G have the stride in a block's first 1x1 convolution; ours, like the authors' code, have it in the 3x3.
Counting the running statistics gives GE's 33.7 M."""
ERROR_HEAD = ('published as', 'top-1', 'top-5', 'ours')
ERROR_NOTE = """\
Errors in %, of the epoch with the lowest top-1 error, chosen on the images it is tested on, unless it says
last. The paper quotes all rows but ATAC's from the papers of these networks, which used other training
recipes; hours are for ATAC's recipe."""
SCALED_NOTE = """\
Scaled hours are estimates in proportion to multiply-adds, which leave much out: they are too low for
self-attention (AA, FA) and depthwise convolutions (GE, xUnit), too high for ReLU scaled from ATAC."""
FIGURE_HEAD = ('network', 'published as', 'accuracy', 'ours', 'n', 'verdict')


def published_text(rows: Sequence[PublishedRow], runs: Sequence[FinishedRun], speeds: Sequence[Speed]
                   ) -> Iterator[str]:
    """Yield the paragraphs of the report."""
    imagenet = [row for row in rows if row.number.data == 'ImageNet']
    costs = [row for row in imagenet if row.number.measure in COSTS]
    errors = [row for row in imagenet if row.number.measure not in COSTS]
    figure = [row for row in rows if row.number.measure == ACCURACY]
    if costs:
        yield 'ImageNet, costs of one image of 224 x 224 pixels\n\n' + _table(COST_HEAD, _cost_lines(costs))
        yield COST_NOTE
        yield 'ImageNet, validation errors\n\n' + _table(ERROR_HEAD, _error_lines(errors))
        yield ERROR_NOTE
    if figure:
        yield (f'{figure[0].number.data}, best test accuracy of all epochs, chosen on the test images, read '
               f'off to ±{figure[0].number.uncertainty:g}\n\n' + _table(FIGURE_HEAD, _figure_lines(figure)))
    yield RULE
    others = list(_left_out(runs))
    if others:
        yield '\n'.join(['Not comparable with any of these, and left out:', *others])
    yield '\n'.join(_speed_lines(rows, speeds))


def _cost_lines(rows: Sequence[PublishedRow]) -> Iterator[Line]:
    networks: dict[tuple[str, str], dict[str, PublishedRow]] = {}
    for row in rows:
        networks.setdefault((row.number.network, row.number.title), {})[row.number.measure] = row
    for names, of_measure in networks.items():
        parameters, operations = (of_measure[measure] for measure in COSTS)
        yield (*names, *_cost_cells(parameters, '.1f'), *_cost_cells(operations, '.3g'))


def _cost_cells(row: PublishedRow, spec: str) -> Line:
    value, (ours,) = row.number.value, row.values
    same = row.verdict.startswith('reproduced')
    return (f'{value:{spec}}', f'{ours:.2f}',
            'reproduced' if same else f'{100 * (ours - value) / value:+.1f}%')


def _error_lines(rows: Sequence[PublishedRow]) -> Iterator[Line]:
    pairs: dict[tuple[str, bool], list[PublishedRow]] = {}
    for row in rows:
        pairs.setdefault((row.number.title, 'last' in row.number.measure), []).append(row)
    for (title, last), pair in pairs.items():
        errors = [f'{row.number.value:.2f}' for row in pair] + ['-'] * (2 - len(pair))
        verdicts = [f'{mean_and_deviation(row.values, ".2f")}: {row.verdict}' for row in pair if row.values]
        yield title + (', last epoch' if last else ''), *errors, '; '.join(verdicts) or pair[0].verdict


def _figure_lines(rows: Sequence[PublishedRow]) -> Iterator[Line]:
    for row in rows:
        yield (row.number.network, row.number.title, f'{row.number.value:.3f}',
               mean_and_deviation(row.values) if row.values else '-', str(len(row.values)), row.verdict)


def _table(head: Line, lines: Iterable[Line]) -> str:
    """Format a table with a left-aligned last column."""
    lines = [head, *lines]
    width = max(len(line[-1]) for line in lines)
    text = text_table([(*line[:-1], line[-1].ljust(width)) for line in lines])
    return '\n'.join(line.rstrip() for line in text.splitlines())


def _left_out(runs: Sequence[FinishedRun]) -> Iterator[str]:
    """Yield a line for each reason why runs cannot be compared."""
    kinds: dict[str, list[str]] = {}
    for run in runs:
        reasons = not_comparable(run)
        if reasons:
            kinds.setdefault(for_terminal(', '.join(reasons)), []).append(for_terminal(run.network))
    for kind, networks in kinds.items():
        yield (f'- {counted(len(networks), "run")}: {kind} '
               f'({", ".join(sorted(set(networks)))})')


def _speed_lines(rows: Sequence[PublishedRow], speeds: Sequence[Speed]) -> Iterator[str]:
    """Yield the speeds from which the hours are computed."""
    used = dict.fromkeys((row.time.scaled_from or row.number.network, row.time.source)
                         for row in rows if row.time)
    if used:
        yield 'Hours are epochs x training images / images per second, without testing; images per second:'
        yield from (f'- {network}: {source}' for network, source in used)
    if any(row.time and row.time.scaled_from for row in rows):
        yield SCALED_NOTE
    if not any(speed.kind == 'GPU' and speed is not AUTHORS_SPEED for speed in speeds):
        yield 'We ran nothing on a GPU: GPU hours are estimated from the speed that the authors printed.'
