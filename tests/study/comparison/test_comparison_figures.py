"""The figures of a comparison of made-up runs."""
import os

import numpy as np
import pytest
from PIL import Image

from openatac.figures import write_figure
from openatac.study.comparison.comparison import Comparison
from openatac.study.comparison.error_figure import comparison_curves, error_figure
from tests.helpers.pages.made_up_comparison import EPOCHS, group, several


def test_figure_has_a_point_for_each_group():
    groups = several()
    axes = error_figure(Comparison(groups, 'best_accuracy')).axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    for unit in ('relu', 'swish', 'atac'):
        own = [each for each in groups if each.unit == unit]
        means = [100 - 100 * np.mean(each.values('best_accuracy')) for each in own]
        np.testing.assert_allclose(lines[unit].get_ydata(), means)
        width = 1_290_000 - 77_850
        np.testing.assert_allclose(lines[unit].get_xdata(), [each.parameters for each in own],
                                   atol=0.02 * width)
    assert [text.get_text() for text in axes.texts] == ['1', '10'] * 3


def test_points_of_equal_parameters_are_placed_side_by_side():
    axes = error_figure(Comparison(several())).axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    assert (lines['relu'].get_xdata() < lines['swish'].get_xdata()).all()
    two = Comparison([group('relu', 1, 100, 0.7), group('atac', 1, 150, 0.8)])
    apart = error_figure(two).axes[0]
    assert [list(line.get_xdata()) for line in apart.lines] == [[100], [150]]
    assert 'parameters' in apart.get_xlabel() != axes.get_xlabel()  # which says that they are moved


def test_error_bars_are_one_standard_deviation():
    groups = [group('relu', 1, 100, 0.7, 0.72, 0.77), group('atac', 1, 150, 0.8)]
    axes = error_figure(Comparison(groups)).axes[0]
    bar, = axes.collections  # and none for a single seed
    low, high = bar.get_segments()[0][:, 1]
    values = [100 - 100 * value for value in groups[0].values('last_accuracy')]
    np.testing.assert_allclose([low, high], [np.mean(values) - np.std(values, ddof=1),
                                             np.mean(values) + np.std(values, ddof=1)])


@pytest.mark.parametrize('groups, words', [
    ([group('relu', 1, 100, 0.7, dataset='cifar100')],
     ['cifar100 (20 superclasses)', '1 seed', '2026-11-23']),
    ([group('relu', 1, 100, 0.7), group('atac', 1, 100, 0.7, 0.8, 0.9)],
     ['digits', '1 to 3 seeds', 'deviation', '2026-11-23 to 2026-11-25'])])
def test_figure_describes_its_content(groups, words):
    figure = error_figure(Comparison(groups, 'last_accuracy'))
    assert all(text in figure.get_suptitle() for text in words)
    assert all(text in figure.axes[0].get_ylabel() for text in ('last', '(%)'))


def test_units_have_distinct_and_stable_colours_and_markers():
    groups = [group(f'unit{number}', blocks, 100 * blocks, 0.7)
              for blocks in (1, 2) for number in range(15)]
    axes = error_figure(Comparison(groups)).axes[0]
    styles = [(line.get_color(), line.get_marker()) for line in axes.lines]
    assert len(set(styles)) == len({marker for _, marker in styles}) == 15
    others = [each for each in groups if (each.unit, each.blocks) != ('unit0', 2)]
    without_first = comparison_curves(Comparison(others), 2)
    assert [line.get_color() for line in without_first.axes[0].lines] == [colour for colour, _ in styles[1:]]


@pytest.fixture(scope='module')
def curves():
    """[(line, band, group of seeds, column)] for all curves of several seeds."""
    figure = comparison_curves(Comparison(several()), 1)
    return [(*drawn, column) for axes, column in zip(figure.axes, ('val_accuracy', 'train_loss'))
            for drawn in zip(axes.lines, axes.collections, several()[:3])]


def seeds_of(group, column):
    values = np.array([seed.history[column] for seed in group.runs])
    return 100 * (1 - values) if column == 'val_accuracy' else values


def test_curves_are_the_means_of_the_seeds(curves):
    for line, _, seeds, column in curves:
        np.testing.assert_allclose(line.get_ydata(), seeds_of(seeds, column).mean(0))
        assert list(line.get_xdata()) == [1, 2, 3, 4]  # epochs


def test_bands_reach_from_the_lowest_seed_to_the_highest(curves):
    for _, band, seeds, column in curves:
        values, corners = seeds_of(seeds, column), band.get_paths()[0].vertices
        for epoch in range(EPOCHS):
            heights = corners[corners[:, 0] == epoch + 1, 1]
            np.testing.assert_allclose([heights.min(), heights.max()],
                                       [values[:, epoch].min(), values[:, epoch].max()])


def test_curve_of_one_seed_has_no_band():
    alone = comparison_curves(Comparison([group('relu', 1, 100, 0.7)]), 1)
    assert 'b = 1, 1 seed' in alone.get_suptitle() and not alone.axes[0].collections


def test_png_file_opens_and_is_not_blank(tmp_path):
    path = tmp_path / 'comparison.png'
    write_figure(path, lambda: error_figure(Comparison(several(), 'last_accuracy')))
    with Image.open(path) as image:
        pixels = np.asarray(image.convert('L'))
    assert pixels.shape[1] >= 1000 and 0.01 < (pixels < 128).mean() < 0.5
    assert os.listdir(tmp_path) == ['comparison.png']
