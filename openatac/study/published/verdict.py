"""Whether our runs reproduce a published number."""
from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from openatac.study.published.numbers import ACCURACY, Published

WIDE = 10  # times the published uncertainty: published units and depths differ by as little as that

RULE = f"""\
reproduced: our mean is no farther from the published number than its uncertainty and half the width of our
95 % interval (Student's t, n runs) together. undecided: no farther either, but that interval is wider than
{WIDE} published uncertainties, so more runs are needed. differs: farther. One run has no interval. How much
published numbers vary from run to run is not published."""


class Verdict(NamedTuple):
    """A verdict in words, the difference of our mean from the published number, and the tolerance for it."""

    words: str
    difference: float
    tolerance: float


def judge(published: Published, values: Sequence[float]) -> Verdict:
    """The `Verdict` by RULE on our ``values`` of a published number; two and more need scipy."""
    difference, half = statistics.mean(values) - published.value, half_interval(values)
    tolerance = published.uncertainty + half
    digits = 4 if published.measure == ACCURACY else 2
    shown = f'{round(difference, digits) + 0.0:+.{digits}f}'  # never -0
    if abs(difference) > tolerance * (1 + 1e-9):
        words = f'differs by {shown}'
    elif half > WIDE * published.uncertainty:
        words = f'undecided: {shown}, but the interval is ±{half:.{digits}f}'
    else:
        words = f'reproduced ({shown})'
    return Verdict(words, difference, tolerance)


def half_interval(values: Sequence[float]) -> float:
    """Half the width of the 95 % interval of the mean of ``values``; 0 for one value."""
    if len(values) == 1:
        return 0.0
    from scipy import stats
    return float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
