"""Differences between units of equal depth: Welch's t test with Holm's correction, and what they show.

Welch's test assumes neither equal variances nor equal numbers of seeds. Holm's correction [1]_ keeps the
chance of a single false finding among all differences at the level of one test.

References
----------
.. [1] S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics
   6 (1979) 65-70.
"""
from __future__ import annotations

import itertools
import math
import statistics
import warnings
from collections.abc import Sequence
from typing import NamedTuple

from openatac.study.comparison.comparison import Comparison, Group
from openatac.text import counted

LEVEL = 0.05            # of significance
WORTH_SHOWING = 0.01    # the difference in accuracy that `seeds_needed` assumes
POWER = 0.8
ALL = 'all'             # --against: every pair of units
MAIN_UNIT = 'atac'      # compared with all others by default, if present
HEADER = ('b', 'unit', 'against', 'difference', f'{1 - LEVEL:.0%} CI', 'p', "p (Holm's correction)", 'n')


class WelchTest(NamedTuple):
    """The result of Welch's t test.

    Attributes
    ----------
    low, high : float
        The 95% confidence interval of the difference.
    p : float
        The p value.
    corrected : float
        ``p`` after Holm's correction.
    """

    low: float
    high: float
    p: float
    corrected: float


class Difference(NamedTuple):
    """How much better the unit ``one`` is than ``other``, at the same depth.

    Attributes
    ----------
    blocks : int
        Per stage.
    one, other : str
    mean : float
        Difference of the mean accuracies.
    test : WelchTest or None
        None if there are too few seeds, or all values are equal.
    counts : (int, int)
        Seeds of ``one`` and ``other``.
    """

    blocks: int
    one: str
    other: str
    mean: float
    test: WelchTest | None
    counts: tuple[int, int]

    def row(self) -> tuple[str, ...]:
        """Return the cells under `HEADER`."""
        test = self.test
        results = ('no test', '', '') if test is None else (
            f'{test.low:+.4f} to {test.high:+.4f}', f'{test.p:.2g}', f'{test.corrected:.2g}')
        return (str(self.blocks), self.one, self.other, f'{self.mean:+.4f}', *results,
                ' and '.join(map(str, self.counts)))


def find_differences(comparison: Comparison) -> list[Difference]:
    """Return the differences between units of equal depth.

    They are those of the unit ``comparison.against`` from all others, or for `ALL` those of every pair; None
    means ATAC, or `ALL` without it. A unit with one seed gets no test, nor do two units without any spread.
    """
    found = [_difference(one, other, comparison.measure) for one, other in _pairs(comparison)]
    corrected = iter(holm([each.test.p for each in found if each.test]))
    return [each._replace(test=each.test._replace(corrected=next(corrected))) if each.test else each
            for each in found]


def _pairs(comparison: Comparison) -> list[tuple[Group, Group]]:
    groups, against = comparison.groups, comparison.against
    if against is None:
        against = MAIN_UNIT if any(group.unit == MAIN_UNIT for group in groups) else ALL
    pairs = [pair for pair in itertools.combinations(groups, 2) if pair[0].blocks == pair[1].blocks]
    if against == ALL:
        return [(second, first) for first, second in pairs]
    return [(first, second) if first.unit == against else (second, first) for first, second in pairs
            if against in (first.unit, second.unit)]


def _difference(one: Group, other: Group, measure: str) -> Difference:
    own, others = one.values(measure), other.values(measure)
    return Difference(one.blocks, one.unit, other.unit, statistics.mean(own) - statistics.mean(others),
                      _welch_test(own, others), (len(own), len(others)))


def _welch_test(own: Sequence[float], others: Sequence[float]) -> WelchTest | None:
    """Return the test, before Holm's correction; None if it cannot be done."""
    if min(len(own), len(others)) < 2 or len(set(own)) == len(set(others)) == 1:
        return None
    from scipy import stats
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', RuntimeWarning)  # of values that are almost equal
        test = stats.ttest_ind(own, others, equal_var=False)
    low, high = map(float, test.confidence_interval(1 - LEVEL))
    return WelchTest(low, high, float(test.pvalue), float(test.pvalue))


def holm(values: Sequence[float]) -> list[float]:
    """Return p values after Holm's correction, in the given order."""
    corrected = [0.0] * len(values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        corrected[index] = largest
    return corrected


def state_findings(found: Sequence[Difference]) -> str:
    """Return a sentence on the statistically significant differences; '' if nothing is compared."""
    corrected = [each.test.corrected for each in found if each.test]
    if not found:
        return ''
    if not corrected:
        return 'There are too few runs to test a difference: each unit needs at least two seeds.'
    correction = f"Holm's correction for {counted(len(corrected), 'test')}"
    proven = [(each, each.test.corrected) for each in found if each.test and each.test.corrected < LEVEL]
    if not proven:
        return ('No difference between the units is statistically significant (the smallest p is '
                f'{min(corrected):.2g} after {correction}).')
    parts = [f'{each.one} is {"better" if each.mean > 0 else "worse"} than {each.other} by '
             f'{abs(each.mean):.4f} at b = {each.blocks} (p = {p:.2g})' for each, p in proven]
    others = len(corrected) - len(proven)
    rest = f'; chance may explain the other {others} differences' if others > 1 else \
        '; chance may explain the other difference' if others else ''
    return f'{", ".join(parts)}{rest} (p after {correction}).'


def seeds_needed(comparison: Comparison) -> int | None:
    """Return how many seeds of each unit would show a difference of `WORTH_SHOWING` with a power of 80%.

    This is for a t test at a level of 5%, assuming the largest standard deviation of the groups for both
    units. Returns None without any spread.
    """
    deviations = [statistics.stdev(group.values(comparison.measure)) for group in comparison.groups
                  if len(group.runs) > 1]
    if not any(deviations):
        return None
    effect = WORTH_SHOWING / max(deviations)
    normal = statistics.NormalDist()
    reach = normal.inv_cdf(1 - LEVEL / 2) + normal.inv_cdf(POWER)
    fewest = max(2, math.ceil(2 * (reach / effect) ** 2))  # if the deviation were known
    return next(seeds for seeds in itertools.count(fewest) if power(effect, seeds) >= POWER)


def power(effect: float, seeds: int) -> float:
    """Return the power of a two-sided t test at `LEVEL` with ``seeds`` seeds of each of two units.

    ``effect`` is the difference of their means over their common standard deviation.
    """
    from scipy import stats  # F is t squared; SciPy's noncentral t is nan for some large effects
    freedom = 2 * seeds - 2
    return float(stats.ncf.sf(stats.f.isf(LEVEL, 1, freedom), 1, freedom, effect ** 2 * seeds / 2))
