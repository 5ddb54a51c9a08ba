"""Draw the curves of a run over its epochs."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from openatac.figures import COLOURS, LINES, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Panels = dict[str, dict[str, Sequence[float]]]  # {vertical axis: {curve: its value after each epoch}}
WIDTH = 9  # inches


def curves_figure(title: str, panels: Panels) -> Figure:
    """Draw panels side by side."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
    figure = Figure(figsize=(WIDTH, 3.8), layout='constrained')
    for axes, (label, curves) in zip(figure.subplots(1, len(panels)), panels.items()):
        for (name, values), colour, line in zip(curves.items(), COLOURS[1:], LINES):
            axes.plot(range(1, len(values) + 1), values, color=colour, linestyle=line,
                      marker='.' if len(values) < 50 else None, label=name)
        axes.set(xlabel='epoch', ylabel=label, ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(wrapped(title, WIDTH))
    return figure
