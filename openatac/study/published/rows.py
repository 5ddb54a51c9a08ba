"""Pair each published number with ours: costs, accuracies of runs, or the estimated hours of a run."""
from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from openatac.errors import OpenatacError
from openatac.study.finished_runs import FinishedRun
from openatac.study.published.numbers import ACCURACY, COSTS, LAST_TOP1, LAST_TOP5, TOP1, TOP5, Published
from openatac.study.published.our_costs import our_cost
from openatac.study.published.recipe_check import not_comparable
from openatac.study.published.training_time import Speed, TrainingTime, training_time
from openatac.training.config import CifarConfig

COLUMNS = ('network', 'published_as', 'data', 'measure', 'published', 'uncertainty', 'source', 'ours',
           'deviation', 'n', 'difference', 'tolerance', 'verdict', 'hours', 'hours_of', 'images_per_second')
WIDE = 10  # times the published uncertainty: published units and depths differ by as little as that

RULE = f"""\
reproduced: our mean is no farther from the published number than its uncertainty and half the width of our
95% confidence interval (Student's t, n runs) together. undecided: within that distance too, but that
interval is wider than {WIDE} published uncertainties, so more runs are needed. differs: farther. One run has
no interval. How much published numbers vary from run to run is not published."""


class PublishedRow(NamedTuple):
    """A published number and our values for it.

    Attributes
    ----------
    number : Published
    values : tuple of float
        One for each seed, or our count for costs.
    difference, tolerance : float, optional
        The difference of our mean from the published number, and its largest allowed size.
    verdict : str
        The verdict by `RULE`, or a note that the network was not run.
    time : TrainingTime, optional
        The estimated time of a run, if no run is comparable.
    """

    number: Published
    values: tuple[float, ...]
    difference: float | None
    tolerance: float | None
    verdict: str
    time: TrainingTime | None = None

    def cells(self) -> dict[str, Any]:
        """Return {column in COLUMNS: its value in a CSV file}."""
        number, values, time = self.number, self.values, self.time
        return dict(zip(COLUMNS, (
            number.network, number.title, number.data, number.measure, number.value, number.uncertainty,
            number.source, f'{statistics.mean(values):.6g}' if values else '',
            f'{statistics.stdev(values):.6g}' if len(values) > 1 else '',
            '' if number.measure in COSTS else len(values),
            '' if self.difference is None else f'{self.difference:.6g}',
            '' if self.tolerance is None else f'{self.tolerance:.6g}', self.verdict,
            f'{time.hours:.4g}' if time else '', time.kind if time else '',
            f'{time.scaled_from or number.network}: {time.source}' if time else '')))


def make_row(number: Published, runs: Sequence[FinishedRun], speeds: Sequence[Speed]) -> PublishedRow:
    """Return the `PublishedRow` of a published number; raise OpenatacError if runs with one seed differ."""
    values = (our_cost(number),) if number.measure in COSTS else _values(number, runs)
    if not values:
        time = training_time(number, speeds)
        return PublishedRow(number, (), None, None, f'not run: {time or "no speed was measured"}', time)
    difference = statistics.mean(values) - number.value
    half = _half_interval(values)
    tolerance = number.uncertainty + half
    digits = 4 if number.measure == ACCURACY else 2
    shown = f'{round(difference, digits) + 0.0:+.{digits}f}'  # never -0
    if not (number.our_recipe or number.measure in COSTS):
        verdict = f'not judged, another recipe ({difference:+.2f})'
    elif abs(difference) > tolerance * (1 + 1e-9):
        verdict = f'differs by {shown}'
    elif half > WIDE * number.uncertainty:
        verdict = f'undecided: {shown}, but the interval is ±{half:.{digits}f}'
    else:
        verdict = f'reproduced ({shown})'
    return PublishedRow(number, values, difference, tolerance, verdict)


def _half_interval(values: Sequence[float]) -> float:
    """Return half the width of the 95% confidence interval of the mean of ``values``; 0 for one value."""
    if len(values) == 1:
        return 0.0
    from scipy import stats
    return float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5


def _values(number: Published, runs: Sequence[FinishedRun]) -> tuple[float, ...]:
    """Return the results of comparable runs of the number's network, one value for each seed."""
    by_seed: dict[int, FinishedRun] = {}
    for run in runs:
        if run.network == number.network and not not_comparable(run):
            other = by_seed.setdefault(run.seed, run)
            if _reached(other) != _reached(run):
                raise OpenatacError(f'{other.folder} and {run.folder} are two runs of {run.network} with '
                                    f'seed {run.seed}: leave out one of them')
    return tuple(_reached(run)[number.measure] for run in by_seed.values())


def _reached(run: FinishedRun) -> dict[str, float]:
    """Return {measure: the value that a run reached}."""
    if isinstance(run.config, CifarConfig):
        return {ACCURACY: run.summary['best_accuracy']}
    top1 = run.history['val_accuracy']
    best = top1.index(max(top1))
    if 'val_top5_accuracy' not in run.history:
        raise OpenatacError(f'{run.folder} has no top-5 accuracies in metrics.csv: leave it out')
    top5 = run.history['val_top5_accuracy']
    return {measure: 100 * (1 - accuracy) for measure, accuracy in (
        (TOP1, top1[best]), (TOP5, top5[best]), (LAST_TOP1, top1[-1]), (LAST_TOP5, top5[-1]))}
