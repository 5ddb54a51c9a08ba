"""Draw the speeds of exports in runtimes."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from openatac.figures import shortened, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BenchRow = dict[str, Any]  # from `openatac.study.bench.measurement.Measurement.row`


def bench_figure(rows: Sequence[BenchRow], title: str) -> Figure:
    """Draw images per second by runtime, medians with their ranges.

    Each batch size gets a panel, and each export a colour.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
    sizes = list(dict.fromkeys(row['batch'] for row in rows))
    runtimes = list(dict.fromkeys(row['engine'] for row in rows))
    exports = list(dict.fromkeys(row['export'] for row in rows))
    width = 0.8 / len(exports)
    inches = max(6, 2 + 1.1 * len(runtimes) * max(1, len(exports) ** 0.5 / 1.5))
    figure = Figure(figsize=(inches, 1 + 3 * len(sizes)), layout='constrained')
    panels = figure.subplots(len(sizes), 1, sharex=True, squeeze=False)[:, 0]
    for panel, size in zip(panels, sizes):
        for row in (row for row in rows if row['batch'] == size):
            export = exports.index(row['export'])
            x = runtimes.index(row['engine']) + (export - (len(exports) - 1) / 2) * width
            _draw_bar(panel, x, 0.9 * width, row, f'C{export}')
        panel.set(ylabel='images/s', title=f'batch of {size}')
        panel.margins(y=0.15)
    panels[-1].set_xticks(range(len(runtimes)), [runtime.replace('-', '-\n') for runtime in runtimes])
    names = [shortened(export, 40) for export in exports]
    columns = max(1, int(inches / (1 + 0.1 * max(map(len, names)))))
    figure.legend(handles=[Patch(color=f'C{number}', label=name) for number, name in enumerate(names)],
                  loc='outside lower center', ncol=min(len(names), columns))
    figure.suptitle(wrapped(f'{title}\nmedian and range of {rows[0]["rounds"]} rounds', inches))
    return figure


def _draw_bar(panel: Axes, x: float, width: float, row: BenchRow, colour: str) -> None:
    speed = row['images_per_second']
    spread = [[speed - row['images_per_second_low']], [row['images_per_second_high'] - speed]]
    panel.bar(x, speed, width, color=colour, yerr=spread, capsize=3, ecolor='0.3')
    panel.annotate(f'{speed:.3g}' if speed < 100 else f'{speed:.0f}',
                   (x, row['images_per_second_high']), xytext=(0, 2), textcoords='offset points',
                   ha='center', fontsize=7)
