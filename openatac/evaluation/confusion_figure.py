"""Draw a confusion matrix."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from openatac.figures import is_drawable, shortened, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEGIBLE = 30  # classes whose names and counts fit


def confusion_figure(matrix: np.ndarray, names: Sequence[str]) -> Figure:
    """Draw a confusion matrix as shares of each class's images, without classes that never occur.

    A class is labelled by index if no installed font can draw its name.
    """
    from matplotlib.figure import Figure
    shown = np.flatnonzero(matrix.sum(axis=0) + matrix.sum(axis=1))
    matrix = matrix[np.ix_(shown, shown)]
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = min(10.0, 3 + 0.45 * len(shown))
    figure = Figure(figsize=(side + 1, side), layout='constrained')
    axes = figure.subplots()
    image = axes.imshow(shares, cmap='Blues', vmin=0, vmax=1, interpolation='nearest')
    figure.colorbar(image, label='share of the images of a class', shrink=0.8)
    axes.set(xlabel='predicted class', ylabel='class')
    if len(shown) <= LEGIBLE:
        ticks = range(len(shown))
        labels = [shortened(names[index]) if is_drawable(names[index]) else f'class {index}'
                  for index in shown]
        axes.set_xticks(ticks, labels, rotation=90)
        axes.set_yticks(ticks, labels)
        for row, column in zip(*matrix.nonzero()):
            axes.text(column, row, str(matrix[row, column]), ha='center', va='center', fontsize=7,
                      color='white' if shares[row, column] > 0.5 else 'black')
    axes.spines[:].set_visible(True)
    wrong = 100 * (1 - matrix.trace() / matrix.sum())
    figure.suptitle(wrapped(f'{matrix.sum():,} images, error {wrong:.2f}%', side + 1))
    return figure
