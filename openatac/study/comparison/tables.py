"""The results of a comparison as a table: for each unit and depth, its costs, accuracies and speed."""
from __future__ import annotations

import statistics
from collections.abc import Sequence

from openatac.console.text import mean_and_deviation
from openatac.study.comparison.comparison import Comparison


def header(comparison: Comparison) -> tuple[str, ...]:
    """Return the column headings of `rows`."""
    accuracies = [measure.replace('_', ' ') for measure in comparison.measures]
    return 'b', 'unit', 'parameters', 'multiply-adds', *accuracies, 'n', 'images/s'


def rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Return a row under `header` for each group."""
    return [(str(group.blocks), group.unit, f'{group.parameters:,}', f'{group.multiply_adds:,}',
             *(mean_and_deviation(group.values(measure)) for measure in comparison.measures),
             str(len(group.runs)), median_and_range(group.speeds())) for group in comparison.groups]


def median_and_range(speeds: Sequence[float]) -> str:
    """Format speeds, such as '1519 (1480 to 1558)'; a single one without a range."""
    if not speeds:
        return 'disturbed'
    between = f' ({min(speeds):.0f} to {max(speeds):.0f})' if len(speeds) > 1 else ''
    return f'{statistics.median(speeds):.0f}{between}'
