"""The results of a comparison as a table: for each unit and depth, its costs, accuracies and speed."""
from __future__ import annotations

from openatac.study.comparison.comparison import Comparison
from openatac.study.spread import mean_and_deviation, median_and_range


def header(comparison: Comparison) -> tuple[str, ...]:
    """Return the column headings of `rows`."""
    accuracies = [measure.replace('_', ' ') for measure in comparison.measures]
    return 'b', 'unit', 'parameters', 'multiply-adds', *accuracies, 'n', 'images/s'


def rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Return a row under `header` for each group."""
    return [(str(group.blocks), group.unit, f'{group.parameters:,}', f'{group.multiply_adds:,}',
             *(mean_and_deviation(group.values(measure)) for measure in comparison.measures),
             str(len(group.runs)), median_and_range(group.speeds())) for group in comparison.groups]
