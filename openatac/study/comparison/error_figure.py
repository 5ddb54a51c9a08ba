"""Figures of a comparison: error against parameters, as in the paper's figure, and curves over epochs.

The hollow markers contain the number of blocks per stage, b.
"""
from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from openatac.figures import shortened, wrapped
from openatac.study.comparison.comparison import Comparison, Group, describe_seeds
from openatac.study.unit_styles import unit_styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, CURVES_WIDTH = 8, 10     # of the figures, in inches
NUDGE = {'^': (0, -1.5), 'v': (0, 1.5), '<': (1.5, 0), '>': (-1.5, 0)}  # to the triangle's middle, in points
SIDE_STEP = 0.03                # between units with similar parameters, over the figure's width
ROWS, COLUMN = 18, 2.5          # of a legend: entries per column, and column width in inches


def error_figure(comparison: Comparison) -> Figure:
    """Draw the mean and standard deviation of the error.

    Each unit gets a line. Points of equal depth that would overlap are drawn side by side, as noted in the
    axis label.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter
    groups = comparison.groups
    inches = WIDTH + COLUMN * (_legend_columns(len({group.unit for group in groups})) - 1)
    figure = Figure(figsize=(inches, 5.4), layout='constrained')
    axes = figure.subplots()
    x = _x_positions(groups)
    for number, (unit, look) in enumerate(unit_styles(group.unit for group in groups).items()):
        _draw_unit(axes, [(x[group.unit, group.blocks], group) for group in groups if group.unit == unit],
                   comparison.measure, look, zorder=3 + 3 * number)
    moved = any(x[group.unit, group.blocks] != group.parameters for group in groups)
    several = any(len(group.runs) > 1 for group in groups)
    axes.set(xlabel=f'trainable parameters{" (similar values side by side)" if moved else ""}',
             ylabel=f'{comparison.describe_measure("error")} (%)')
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(StrMethodFormatter('{x:,.0f}'))
    axes.margins(0.08, 0.08)
    seeds = f'mean ± standard deviation over {describe_seeds(groups)}' if several else describe_seeds(groups)
    _title(figure, comparison, inches, f'{seeds}; in the marker: blocks per stage, b')
    _finish(axes)
    return figure


def comparison_curves(comparison: Comparison, blocks: int) -> Figure:
    """Draw the curves over epochs of the groups with ``blocks`` per stage.

    Each curve is the mean over a unit's seeds, with a band from the smallest to the largest value.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
    figure = Figure(figsize=(CURVES_WIDTH, 4.4), layout='constrained')
    looks = unit_styles(group.unit for group in comparison.groups)
    shown = [group for group in comparison.groups if group.blocks == blocks]
    panels = figure.subplots(1, 2)
    for axes, column, label in zip(panels, ('val_accuracy', 'train_loss'),
                                   (f'{comparison.images_of_epochs} error (%)', 'training loss')):
        for group in shown:
            _draw_curve(axes, group, column, looks[group.unit])
        axes.set(xlabel='epoch', ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].grid(alpha=0.3)
    _finish(panels[-1])
    several = any(len(group.runs) > 1 for group in shown)
    band = ': mean, with a band from minimum to maximum' if several else ''
    _title(figure, comparison, CURVES_WIDTH, f'b = {blocks}, {describe_seeds(shown)}{band}')
    return figure


def _title(figure: Figure, comparison: Comparison, inches: float, text: str) -> None:
    data_and_dates = ', '.join(filter(None, [comparison.data_set, comparison.dates]))
    figure.suptitle(wrapped(f'{data_and_dates}\n{text}', inches))


def _x_positions(groups: Sequence[Group]) -> dict[tuple[str, int], float]:
    """Return {(unit, blocks): x}: the parameters, moved aside where markers would overlap."""
    parameters = [group.parameters for group in groups]
    step = SIDE_STEP * ((max(parameters) - min(parameters)) or max(parameters))
    positions: dict[tuple[str, int], float] = {}
    for blocks in dict.fromkeys(group.blocks for group in groups):
        clusters: list[list[Group]] = []
        for group in sorted((group for group in groups if group.blocks == blocks),
                            key=lambda group: group.parameters):
            if clusters and group.parameters - clusters[-1][-1].parameters < step:
                clusters[-1].append(group)
            else:
                clusters.append([group])
        for cluster in clusters:
            middle = statistics.mean(group.parameters for group in cluster)
            positions.update({(group.unit, blocks): middle + step * (place - (len(cluster) - 1) / 2)
                              for place, group in enumerate(cluster)})
    return positions


def _errors(accuracies: Sequence[float]) -> list[float]:
    """Return errors in per cent."""
    return [100 * (1 - accuracy) for accuracy in accuracies]


def _draw_unit(axes: Axes, points: list[tuple[float, Group]], measure: str, look: dict[str, Any],
               zorder: int) -> None:
    """Draw one unit: its points (x, group), their error bars and the line through them."""
    x = [at for at, _ in points]
    y = [statistics.mean(_errors(group.values(measure))) for _, group in points]
    for at, height, (_, group) in zip(x, y, points):
        if len(group.runs) > 1:
            axes.errorbar(at, height, statistics.stdev(_errors(group.values(measure))), fmt='none', capsize=4,
                          ecolor=look['color'], elinewidth=1.2, zorder=zorder)
        axes.annotate(str(group.blocks), (at, height), NUDGE.get(look['marker'], (0, 0)), ha='center',
                      textcoords='offset points', va='center_baseline', fontsize=7, zorder=zorder + 2)
    axes.plot(x, y, **look, markersize=12, markerfacecolor='#ffffff', markeredgewidth=1.6, linewidth=1.4,
              label=shortened(points[0][1].unit), zorder=zorder + 1)


def _draw_curve(axes: Axes, group: Group, column: str, look: dict[str, Any]) -> None:
    epochs = [epoch + 1 for epoch in group.runs[0].history['epoch']]
    values = list(zip(*(run.history[column] for run in group.runs)))
    if column == 'val_accuracy':
        values = [tuple(_errors(several)) for several in values]
    marker = look['marker'] if len(epochs) < 20 else None
    axes.plot(epochs, [statistics.mean(several) for several in values], **{**look, 'marker': marker},
              markersize=5, linewidth=1.4, label=shortened(group.unit))
    if len(group.runs) > 1:
        axes.fill_between(epochs, [min(several) for several in values], [max(several) for several in values],
                          color=look['color'], alpha=0.15, linewidth=0)


def _finish(axes: Axes) -> None:
    """Add the grid, and the legend next to the axes."""
    axes.grid(alpha=0.3)
    columns = _legend_columns(len(axes.get_legend_handles_labels()[1]))
    axes.legend(loc='center left', bbox_to_anchor=(1, 0.5), ncol=columns)


def _legend_columns(entries: int) -> int:
    return -(-entries // ROWS)
