"""The values of several runs as text: their centre and their spread."""
from __future__ import annotations

import statistics
from collections.abc import Sequence


def mean_and_deviation(values: Sequence[float], form: str = '.4f') -> str:
    """Format mean and standard deviation, such as '0.7711 ± 0.0043'; a single value without deviation."""
    mean = f'{statistics.mean(values):{form}}'
    return mean if len(values) == 1 else f'{mean} ± {statistics.stdev(values):{form}}'


def median_and_range(speeds: Sequence[float]) -> str:
    """Format speeds, such as '1519 (1480 to 1558)'; a single one without a range."""
    if not speeds:
        return 'disturbed'
    between = f' ({min(speeds):.0f} to {max(speeds):.0f})' if len(speeds) > 1 else ''
    return f'{statistics.median(speeds):.0f}{between}'
