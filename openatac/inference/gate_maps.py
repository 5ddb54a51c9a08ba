"""Draw the gates that an exported network computes for an image, over that image.

An ATAC unit multiplies its input by a gate for every pixel and channel, L(x) in section III of "Attention as
Activation". A map is the mean of a gate over its channels. The gates are found in the symbol file (see
`openatac.graph.gates`), so the gates of other units are drawn too.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from openatac.errors import OpenatacError
from openatac.figures import wrapped, write_figure
from openatac.files.writing import writing
from openatac.graph.gates import find_gates
from openatac.graph.nodes import Graph
from openatac.system.optional_packages import pip_install
from openatac.zoo.names import stage_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

PANEL = 1.5  # inches
COLOUR_MAP, OPACITY = 'viridis', 0.6


class GateMap(NamedTuple):
    """The map of one unit's gate.

    Attributes
    ----------
    stage : str
        The number of its stage; '' outside the stages.
    values : float32 (H, W)
        The mean over the channels.
    """

    stage: str
    values: np.ndarray


def open_gates(prefix: str) -> Callable[[np.ndarray], list[GateMap]]:
    """Return a function that maps one input of an export, float32 (C, H, W), to its maps, in graph order.

    Raises
    ------
    OpenatacError
        If the export has no symbol form, or its symbol form has no gates.
    """
    import mxnet as mx

    from openatac.export.exported_symbol import read_exported_files
    from openatac.graph.symbol_block import symbol_block
    symbol, arrays = read_exported_files(prefix)
    gates = find_gates(Graph.of(symbol))
    if not gates:
        raise OpenatacError(f'{prefix} has no ATAC units or other gates to draw: leave out --gates')
    net = symbol_block(Graph([gate.factor for gate in gates]).symbol(), arrays)
    net.cast('float32')

    def maps(image: np.ndarray) -> list[GateMap]:
        factors = net(mx.nd.array(image[None]))
        return [GateMap(stage_of(gate.product.name), values.asnumpy()[0].mean(axis=0))
                for gate, values in zip(gates, factors if len(gates) > 1 else [factors])]

    return maps


# ------------------------------------------------------------------------------------- figure

def check_matplotlib() -> None:
    """Raise OpenatacError if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise OpenatacError(f'--gates needs matplotlib: run {pip_install("matplotlib")}') from None


def draw_gate_maps(path: str, prefix: str, image: np.ndarray, pixels: np.ndarray, title: str) -> None:
    """Draw the maps of an export for one input into the figure file ``path``.

    Each stage gets a row: the image, then each unit's map in colour over the grey image. All maps share one
    scale; the range of each is printed above it.

    Parameters
    ----------
    path, prefix : str
    image : float32 (C, H, W)
        The input.
    pixels : uint8 (H, W, 3)
        The image as the network sees it.
    title : str

    Raises
    ------
    OpenatacError
        As in `open_gates`, if matplotlib is missing, or if the file cannot be written.
    """
    check_matplotlib()
    maps = open_gates(prefix)(image)
    with writing(path, 'choose another folder'):
        write_figure(path, lambda: gate_figure(maps, pixels, title))


def gate_figure(maps: Sequence[GateMap], pixels: np.ndarray, title: str) -> Figure:
    """Return a matplotlib Figure of `GateMap`s over uint8 (H, W, 3)."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    stages: dict[str, list[np.ndarray]] = {}
    for stage, values in maps:
        stages.setdefault(stage, []).append(values)
    columns = 1 + max(map(len, stages.values()))
    width = PANEL * max(columns, 4)
    figure = Figure(figsize=(width, (PANEL + 0.25) * len(stages) + 1.2), layout='constrained')
    scale = Normalize(min(values.min() for _, values in maps), max(values.max() for _, values in maps))
    grid = figure.subplots(len(stages), columns, squeeze=False)
    for panel in grid.flat:
        panel.set_axis_off()
    for row, (stage, units) in zip(grid, stages.items()):
        row[0].imshow(pixels)
        row[0].set_title(f'stage {stage}' if stage else 'after the stages', fontsize=9)
        for number, (panel, values) in enumerate(zip(row[1:], units), 1):
            _draw_map(panel, values, pixels, scale)
            panel.set_title(f'unit {number}: {values.min():.2f} to {values.max():.2f}', fontsize=7)
    figure.colorbar(ScalarMappable(scale, COLOUR_MAP), ax=grid, location='bottom', aspect=30, alpha=OPACITY,
                    shrink=min(0.8, 4 / columns), label='gate, mean over the channels')
    figure.suptitle(wrapped(title, width))
    return figure


def _draw_map(panel: Axes, values: np.ndarray, pixels: np.ndarray, scale: Normalize) -> None:
    """Draw one map over the image in grey."""
    height, width = pixels.shape[:2]
    extent = 0, width, height, 0
    panel.imshow(pixels.mean(axis=2), cmap='gray', vmin=-128, vmax=255, extent=extent)
    panel.imshow(values, cmap=COLOUR_MAP, norm=scale, alpha=OPACITY, extent=extent)
