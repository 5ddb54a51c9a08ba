"""Draw the statistics of gates over the depth of networks."""
from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from openatac.figures import shortened
from openatac.study.unit_styles import unit_styles
from openatac.zoo.names import unit_in

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GateRow = dict[str, Any]  # a line of gates.csv
MAX_LABEL_LENGTH = 60          # run name in characters

PARTS = {'between_pixels': ('pixels', 1.0), 'between_images': ('images', 0.5),  # column -> name, opacity
         'between_channels': ('channels', 0.2)}


def gates_figure(rows: Sequence[GateRow]) -> Figure:
    """Draw the statistics of gates, layers side by side, with a colour for each run."""
    from matplotlib.figure import Figure
    layers = sorted({row['layer']: row['stage'] for row in rows}.items(), key=lambda item: _depth(item[0]))
    runs = list(dict.fromkeys(row['run'] for row in rows))
    colours = _colours({row['run']: row['network'] for row in rows})
    width = 2 + 0.3 * len(layers) * len(colours) ** 0.5  # inches
    figure = Figure(figsize=(min(max(8.0, width), 40.0), 10.0), layout='constrained')
    panels = figure.subplots(4, 1, sharex=True)
    for position, (layer, _) in enumerate(layers):
        here = [row for row in rows if row['layer'] == layer]
        for index, row in enumerate(here):
            room = 0.8 / len(here)
            _draw_gate(panels, position + (index - (len(here) - 1) / 2) * room, min(0.25, 0.9 * room), row,
                       colours[row['run']])
    _label(panels, layers)
    names = [shortened(f'{run} ({_units(rows, run)})', MAX_LABEL_LENGTH) for run in runs]
    columns = max(1, int(figure.get_figwidth() / (1 + 0.1 * max(map(len, names)))))
    figure.legend(handles=[_patch(name, color=colours[run]) for run, name in zip(runs, names)],
                  loc='outside upper center', ncol=min(len(names), columns),
                  title=f'Gates on {rows[0]["images"]} images of {rows[0]["dataset"]}')
    return figure


def _colours(networks: Mapping[str, str]) -> dict[str, Any]:
    """Return {run: colour} for {run: network}: its unit's colour, in shades where runs share a unit."""
    from matplotlib.colors import LinearSegmentedColormap
    runs_of: dict[str, list[str]] = {}
    for run, network in networks.items():
        runs_of.setdefault(unit_in(network) or run, []).append(run)
    styles = unit_styles(runs_of)
    colours = {}
    for unit, runs in runs_of.items():
        shades = LinearSegmentedColormap.from_list(unit, ['black', styles[unit]['color'], 'white'])
        colours.update({run: shades(number / (len(runs) + 1)) for number, run in enumerate(runs, 1)})
    return colours


def _depth(layer: str) -> tuple[float, ...]:
    """Return a sort key: the numbers in a layer's name, with a block's attention after its activations."""
    return tuple(math.inf if part == 'attention' else int(part)
                 for part in re.findall(r'attention|\d+', layer))


def _units(rows: Sequence[GateRow], run: str) -> str:
    """Return the run's units, such as 'ChaATAC', or 'ChaATAC + SEBlock'."""
    return ' + '.join(dict.fromkeys(row['unit'] for row in rows if row['run'] == run))


def _draw_gate(panels: Sequence[Axes], x: float, width: float, row: GateRow, colour: Any) -> None:
    """Draw one layer of one run in all panels, at ``x``, with bars of that ``width``."""
    mean, near, variance, correlation = panels
    mean.errorbar(x, row['mean'], row['standard_deviation'], fmt='o', markersize=5, capsize=2, color=colour)
    mean.plot(x, row['relu_mask_mean'], '_', markersize=9, markeredgewidth=2, alpha=0.5, color=colour)
    near.plot(x, row['share_below_0.1'], 'v', color=colour)
    near.plot(x, row['share_above_0.9'], '^', color=colour, markerfacecolor='none')
    bottom = 0.0
    for column, (_, opacity) in PARTS.items():
        if row[column] is not None:
            variance.bar(x, row[column], width, bottom=bottom, color=colour, alpha=opacity, linewidth=0)
            bottom += row[column]
    if row['relu_mask_correlation'] is not None:
        correlation.plot(x, row['relu_mask_correlation'], 'o', color=colour)


def _label(panels: Sequence[Axes], layers: Sequence[tuple[str, str]]) -> None:
    """Label the axes, the stages and the markers."""
    mean, near, variance, correlation = panels
    mean.set(ylabel='mean ± deviation', ylim=(0, 1))
    largest = max(0.1, 1.05 * near.get_ylim()[1])
    near.set(ylabel='share of gates', ylim=(-0.05 * largest, largest))
    variance.set(ylabel='share of variance', ylim=(0, 1))
    farthest = 1.1 * max(0.1, *map(abs, correlation.get_ylim()))
    correlation.set(ylabel='correlation with\nthe ReLU mask', ylim=(-farthest, farthest))
    correlation.axhline(0, color='grey', linewidth=0.8)
    correlation.set_xticks(range(len(layers)), [shortened(layer, 40) for layer, _ in layers], rotation=90,
                           fontsize=8)
    _shade_stages(panels, [stage for _, stage in layers])
    for panel, handles in (
            (mean, [_marker('o', 'gate'), _marker('_', 'ReLU mask [x > 0]', alpha=0.5, markeredgewidth=2)]),
            (near, [_marker('v', 'below 0.1'), _marker('^', 'above 0.9', markerfacecolor='none')]),
            (variance, [_patch('between ' + name, color='grey', alpha=opacity)
                        for name, opacity in PARTS.values()])):
        panel.legend(handles=handles, loc='center left', bbox_to_anchor=(1, 0.5))


def _marker(marker: str, label: str, **style: Any) -> Any:
    from matplotlib.lines import Line2D
    return Line2D([], [], linestyle='', marker=marker, color='grey', label=label, **style)


def _patch(label: str, **style: Any) -> Any:
    from matplotlib.patches import Patch
    return Patch(label=label, linewidth=0, **style)


def _shade_stages(panels: Sequence[Axes], stages: Sequence[str]) -> None:
    """Shade every second stage, and name the stages above the first panel."""
    starts = [index for index, stage in enumerate(stages) if index == 0 or stage != stages[index - 1]]
    for index, (start, end) in enumerate(zip(starts, [*starts[1:], len(stages)])):
        for panel in panels:
            panel.axvspan(start - 0.5, end - 0.5, color='black', alpha=0.05 * (index % 2), linewidth=0,
                          zorder=0)
        name = f'stage {stages[start]}' if stages[start] else ''
        panels[0].annotate(name, ((start + end - 1) / 2, 1), xycoords=('data', 'axes fraction'),  # type: ignore[arg-type]
                           xytext=(0, 3), textcoords='offset points', ha='center', fontsize=9)
    panels[0].set_xlim(-0.5, len(stages) - 0.5)
