"""Figures of a comparison: accuracy against parameters, as in the paper's figure, and curves over epochs.

A unit has the same colour and marker in all figures of the same groups. The colours are those of Okabe and
Ito that stand out from white; colour-blind readers can tell them apart; the markers are hollow and hold the
number of blocks per stage, b.
"""
from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from openatac.study.comparison.results import Group, accuracy_of_epochs, data_set, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ('#000000', '#d55e00', '#0072b2', '#009e73', '#cc79a7', '#e69f00', '#56b4e9')
LINES = ('-', '--', ':')        # of the first 7 units, the next 7, and the others
MARKERS = 'osD^vhp' 'P8<dX>*' 'H'  # markers of one colour, 7 apart, look different
NUDGE = {'^': (0, -1.5), 'v': (0, 1.5), '<': (1.5, 0), '>': (-1.5, 0)}  # to the triangle's middle, in points
CURVES = ('val_accuracy', 'train_loss')  # columns of metrics.csv
SIDE_STEP = 0.015               # between units of equal parameters, in widths of the picture


def accuracy_figure(groups: Sequence[Group], measure: str = 'last_accuracy') -> Figure:
    """Draw mean and standard deviation of one of `results.MEASURES`, with a line for each unit.

    Points of units with equal parameters and depth are drawn side by side, and the axis label says so.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter
    figure = Figure(figsize=(8, 5), layout='constrained')
    axes = figure.subplots()
    x = _x_positions(groups)
    for number, (unit, style) in enumerate(_styles(groups).items()):
        _draw_unit(axes, [(x[group.unit, group.blocks], group) for group in groups if group.unit == unit],
                   measure, style, zorder=3 + 3 * number)
    moved = any(x[group.unit, group.blocks] != group.parameters for group in groups)
    spread = any(len(group.runs) > 1 for group in groups)
    axes.set(xlabel='trainable parameters' + moved * ' (equal ones side by side)',
             ylabel=words(measure, groups) + spread * '\n(mean ± standard deviation over seeds)',
             title=f'{data_set(groups)}, {seeds(groups)}; number in the marker: blocks per stage')
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(StrMethodFormatter('{x:,.0f}'))
    axes.margins(0.06, 0.08)
    _finish(axes)
    return figure


def curves_figure(groups: Sequence[Group], blocks: int) -> Figure:
    """Draw the curves over epochs of the groups with ``blocks`` per stage.

    Each is the mean over the seeds of a unit, in a band from the smallest to the largest value.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
    figure = Figure(figsize=(10, 4), layout='constrained')
    styles = _styles(groups)
    panels = figure.subplots(1, len(CURVES))
    for axes, column, label in zip(panels, CURVES, (accuracy_of_epochs(groups), 'training loss')):
        for group in groups:
            if group.blocks == blocks:
                _draw_curve(axes, group, column, styles[group.unit])
        axes.set(xlabel='epoch', ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].grid(alpha=0.3)
    _finish(panels[-1])
    several = any(len(group.runs) > 1 for group in groups if group.blocks == blocks)
    figure.suptitle(f'b = {blocks}' + several * ': mean over seeds, in a band from least to most',
                    fontsize=12)
    return figure


def seeds(groups: Sequence[Group]) -> str:
    """Return how many seeds the groups have, such as '1 seed' or '2 to 3 seeds'."""
    counts = [len(group.runs) for group in groups]
    fewest, most = min(counts), max(counts)
    return f'{fewest} to ' * (fewest < most) + f'{most} seed' + 's' * (most > 1)


def _styles(groups: Sequence[Group]) -> dict[str, dict[str, Any]]:
    """Return {unit: its colour, line and marker}."""
    units = dict.fromkeys(group.unit for group in groups)
    return {unit: {'color': COLOURS[number % len(COLOURS)], 'marker': MARKERS[number % len(MARKERS)],
                   'linestyle': LINES[number // len(COLOURS) % len(LINES)]}
            for number, unit in enumerate(units)}


def _x_positions(groups: Sequence[Group]) -> dict[tuple[str, int], float]:
    """Return {(unit, blocks): x}: the parameters, moved aside where units have as many."""
    parameters = [group.parameters for group in groups]
    step = SIDE_STEP * ((max(parameters) - min(parameters)) or max(parameters))
    positions = {}
    for group in groups:
        equal = [other.unit for other in groups
                 if (other.blocks, other.parameters) == (group.blocks, group.parameters)]
        positions[group.unit, group.blocks] = group.parameters + step * (
            equal.index(group.unit) - (len(equal) - 1) / 2)
    return positions


def _draw_unit(axes: Axes, points: list[tuple[float, Group]], measure: str, style: dict[str, Any],
               zorder: int) -> None:
    """Draw one unit: its points (x, group), their error bars and the line through them."""
    x = [at for at, _ in points]
    y = [statistics.mean(group.values(measure)) for _, group in points]
    for at, height, (_, group) in zip(x, y, points):
        if len(group.runs) > 1:
            axes.errorbar(at, height, statistics.stdev(group.values(measure)), fmt='none', capsize=4,
                          ecolor=style['color'], elinewidth=1.2, zorder=zorder)
        axes.annotate(str(group.blocks), (at, height), NUDGE.get(style['marker'], (0, 0)), ha='center',
                      textcoords='offset points', va='center_baseline', fontsize=7, zorder=zorder + 2)
    axes.plot(x, y, **style, markersize=12, markerfacecolor='#ffffff', markeredgewidth=1.6, linewidth=1.4,
              label=points[0][1].unit, zorder=zorder + 1)


def _draw_curve(axes: Axes, group: Group, column: str, style: dict[str, Any]) -> None:
    epochs = group.runs[0].history['epoch']
    values = list(zip(*(run.history[column] for run in group.runs)))
    marker = style['marker'] if len(epochs) < 20 else None
    axes.plot(epochs, [statistics.mean(several) for several in values], **{**style, 'marker': marker},
              markersize=5, linewidth=1.4, label=group.unit)
    if len(group.runs) > 1:
        axes.fill_between(epochs, [min(several) for several in values], [max(several) for several in values],
                          color=style['color'], alpha=0.15, linewidth=0)


def _finish(axes: Axes) -> None:
    """Add the grid, and the legend next to the axes."""
    axes.grid(alpha=0.3)
    axes.legend(loc='center left', bbox_to_anchor=(1, 0.5), frameon=False)
