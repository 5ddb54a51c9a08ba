"""A comparison's statistics equal hand calculations: Welch's test, Holm's correction, the seeds needed."""
import math
import re
import statistics
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from openatac.study.comparison import differences
from openatac.study.comparison.comparison import Comparison, Group
from openatac.study.comparison.differences import find_differences


def fake_group(unit, *accuracies):
    runs = [SimpleNamespace(summary={'last_accuracy': accuracy}) for accuracy in accuracies]
    return Group(unit, 2, runs, 0, 0)


def test_welch_test_equals_a_hand_calculation():
    """Calculate Welch's t, degrees of freedom and interval here."""
    a, b = [0.71, 0.74, 0.72], [0.70, 0.69, 0.705, 0.71]
    parts = [statistics.variance(a) / 3, statistics.variance(b) / 4]
    mean = statistics.mean(a) - statistics.mean(b)
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 3)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(sum(parts))
    p = 2 * stats.t.sf(mean / math.sqrt(sum(parts)), freedom)
    found, = find_differences(Comparison([fake_group('relu', *b), fake_group('atac', *a)]))
    assert (found.one, found.other, found.blocks, found.counts) == ('atac', 'relu', 2, (3, 4))
    np.testing.assert_allclose([found.mean, *found.test], [mean, mean - half, mean + half, p, p])
    assert found.row()[3:7] == (f'{mean:+.4f}', f'{mean - half:+.4f} to {mean + half:+.4f}', f'{p:.2g}',
                                f'{p:.2g}')


def test_no_test_without_variance():
    one, same, other = fake_group('a', 0.5), fake_group('b', 0.5, 0.5), fake_group('c', 0.75, 0.75)
    for pair, mean in ((Comparison([one, other]), 0.25), (Comparison([same, other]), 0.25)):
        found, = find_differences(pair)
        assert (found.mean, found.test) == (mean, None)
        assert differences.state_findings([found])
        assert differences.seeds_needed(pair) is None


def test_holm_correction_equals_a_hand_calculation():
    assert differences.holm([0.04, 0.01, 0.03, 0.5]) == pytest.approx([0.09, 0.04, 0.09, 0.5])
    assert differences.holm([0.6, 0.6]) == [1, 1] and differences.holm([]) == []


@pytest.mark.parametrize('against, pairs', [
    (None, [('atac', 'relu'), ('atac', 'se')]), ('relu', [('relu', 'se'), ('relu', 'atac')]),
    ('all', [('se', 'relu'), ('atac', 'relu'), ('atac', 'se')])])
def test_units_are_compared_with_the_baseline(against, pairs):
    units = [fake_group(unit, 0.5, 0.6) for unit in ('relu', 'se', 'atac')]
    found = find_differences(Comparison(units, against=against))
    assert [(each.one, each.other) for each in found] == pairs
    without = find_differences(Comparison(units[:2], against=None))
    assert [(each.one, each.other) for each in without] == [('se', 'relu')]


def test_finding_names_significant_differences():
    clear = Comparison([fake_group('relu', 0.50, 0.51, 0.52), fake_group('se', 0.69, 0.72, 0.71),
                        fake_group('atac', 0.70, 0.71, 0.72)])
    said = differences.state_findings(find_differences(clear))
    assert re.search(r'^atac .*better .*relu .*0\.2000', said) and 'se' not in said.split(';')[0]
    vague = Comparison([fake_group('relu', 0.5, 0.6), fake_group('atac', 0.5, 0.7)])
    p = find_differences(vague)[0].test.corrected
    assert f'{p:.2g}' in differences.state_findings(find_differences(vague))


def test_number_of_seeds_needed_for_a_decision():
    """By Cohen's table (1988, 2.4.1), an effect of 1 needs 17 seeds; with a known deviation, 16."""
    def seeds(deviation):
        return differences.seeds_needed(
            Comparison([fake_group('relu', 0.5, 0.5 + deviation * math.sqrt(2))]))

    assert seeds(0.01) == 17
    assert [seeds(deviation) for deviation in (1e-9, 0.001, 0.02, 0.1)] == [2, 2, 64, 1571]
