"""The values of several runs as text: mean and deviation of accuracies, median and range of speeds."""
import pytest

from openatac.study.spread import mean_and_deviation, median_and_range


@pytest.mark.parametrize('values, form, text', [
    ([0.77108], '.4f', '0.7711'),
    ([0.5, 0.5], '.4f', '0.5000 ± 0.0000'),
    ([1, 2, 4], '.2f', '2.33 ± 1.53'),  # of a sample: (1.78 + 0.11 + 2.78) / 2 = 1.53 ** 2
])
def test_a_single_value_has_no_deviation(values, form, text):
    assert mean_and_deviation(values, form) == text


def test_accuracies_have_four_digits():
    assert mean_and_deviation([0.77108, 0.77512]) == '0.7731 ± 0.0029'


@pytest.mark.parametrize('speeds, text', [
    ([], 'disturbed'), ([1518.6], '1519'), ([1558, 1480, 1519], '1519 (1480 to 1558)'),
    ([100, 900, 200, 300], '250 (100 to 900)')])
def test_speeds_are_described_by_their_median(speeds, text):
    assert median_and_range(speeds) == text
