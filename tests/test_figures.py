"""Figures with long titles, one point, equal values or many units have no clipped or covered text."""
import itertools

import numpy as np
import pytest

from openatac.backends.devices import Devices
from openatac.evaluation.confusion_figure import confusion_figure
from openatac.figures import DPI, style, write_figure
from openatac.options.declaration import build_config
from openatac.study.bench.speed_figure import bench_figure
from openatac.study.comparison.comparison import Comparison, Group
from openatac.study.comparison.error_figure import comparison_curves, error_figure
from openatac.study.finished_runs import FinishedRun
from openatac.study.gates.gates_figure import gates_figure
from openatac.study.unit_styles import unit_styles
from openatac.training.config import CifarConfig
from openatac.training.tracking.curves_figure import curves_figure

pytest.importorskip('matplotlib')
LONG = 'images saved as JPEG with quality 75, then cropped, resized and coded again, twice, by two programs'
MANY = [f'a_unit_with_quite_a_long_name_{number}' for number in range(20)]


def group(unit, blocks=1, parameters=77_850, accuracies=(0.7, 0.72)):
    config = build_config(CifarConfig, {'act_type': 'relu', 'blocks': blocks, 'dataset': 'cifar100'})
    runs = [FinishedRun('run', config, 'net', unit, Devices('cpu'),
                        {'settings': {'data': '1+2'}, 'dataset': 'cifar100', 'last_accuracy': accuracy,
                         'best_accuracy': accuracy},
                        {'epoch': [0.0, 1.0], 'val_accuracy': [0.1, accuracy], 'train_loss': [2.0, 1.0]},
                        '2026-11-23') for accuracy in accuracies]
    return Group(unit, blocks, runs, parameters, 0)


COMPARISONS = {
    'long title': Comparison([group('relu'), group('atac', parameters=89_578)], note=LONG),
    'one point': Comparison([group('relu', accuracies=[0.7])]),
    'equal values': Comparison([group(unit, accuracies=[0.7, 0.7]) for unit in ('relu', 'atac', 'se')]),
    'many units': Comparison([group(unit, blocks, 1000 * blocks + number, [0.5 + number / 50, 0.55])
                              for blocks in (1, 3) for number, unit in enumerate(MANY)]),
}


def gate_rows(runs, layers):
    numbers = ('mean', 'standard_deviation', 'relu_mask_mean', 'share_below_0.1', 'share_above_0.9',
               'between_pixels', 'between_images', 'between_channels', 'relu_mask_correlation')
    return [{'run': run, 'unit': 'ChaATAC', 'network': 'cifar_resnet8_v2_atac',
             'layer': layer, 'stage': str(number // 3), 'images': 10,
             'dataset': 'cifar10', **dict.fromkeys(numbers, 0.3)}
            for run in runs for number, layer in enumerate(layers)]


def bench_rows(exports, engines, sizes):
    return [{'export': export, 'engine': engine, 'batch': size, 'rounds': 5, 'images_per_second': 1234.5,
             'images_per_second_low': 1200, 'images_per_second_high': 1300}
            for export in exports for engine in engines for size in sizes]


def gate_map_figure(title, stages):
    from openatac.inference.gate_maps import GateMap, gate_figure
    maps = [GateMap(stage, np.linspace(0.1, 0.9, 64).reshape(8, 8)) for stage in stages]
    return gate_figure(maps, np.zeros((32, 32, 3), 'uint8'), title)


FIGURES = {
    **{f'errors, {name}': lambda comparison=comparison: error_figure(comparison)
       for name, comparison in COMPARISONS.items()},
    **{f'comparison curves, {name}': lambda comparison=comparison: comparison_curves(comparison, 1)
       for name, comparison in COMPARISONS.items()},
    'history, long title': lambda: curves_figure(LONG, {'top-1 error (%)': {'training': [50, 40]},
                                                        'loss': {'training': [1.5, 1], 'test': [2, 1]}}),
    'history, one epoch': lambda: curves_figure('net', {'loss': {'test': [1.5]}, 'error': {'test': [9]}}),
    'gates, one layer': lambda: gates_figure(gate_rows(['run'], ['features.2.0.act1'])),
    'gates, many': lambda: gates_figure(gate_rows(
        MANY[:6], [f'features.{n}.0.a_long_name' for n in range(9)])),
    'gates, long names': lambda: gates_figure(gate_rows([LONG, LONG + '2'], ['features.2.0.act1'])),
    'bench, one': lambda: bench_figure(bench_rows(['atac'], ['mxnet-static'], [1]), LONG),
    'bench, many': lambda: bench_figure(bench_rows(
        MANY[:5], ['mxnet-imperative', 'mxnet-int8', 'onnxruntime', 'torch-compiled'], [1, 64]), 'CPU'),
    'confusion, long names': lambda: confusion_figure(np.full((20, 20), 7),
                                                      [f'{n} {LONG}' for n in range(20)]),
    'confusion, two classes': lambda: confusion_figure(np.array([[9, 1], [0, 10]]), ['cat', 'dog']),
    'gate maps, long title': lambda: gate_map_figure(LONG, ['1', '1', '2', '']),
    'gate maps, one': lambda: gate_map_figure('a', ['1']),
}


def boxes(figure):
    """Return [(text, its box in pixels)] of the visible texts, except those inside markers and bars."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Annotation, Text
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(DPI)
    canvas.draw()
    renderer = canvas.get_renderer()
    hidden = {tick for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)
              for tick in hidden_labels(axes, axis)}
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip() and text not in hidden and \
                not isinstance(text, Annotation) and not in_hidden_axes(text):
            yield text.get_text(), text.get_window_extent(renderer)


def hidden_labels(axes, axis):
    """Return the labels of ticks that are not drawn: outside the limits, or on axes without ticks."""
    low, high = sorted(axis.get_view_interval())
    for tick in axis.get_major_ticks() + axis.get_minor_ticks():
        for label in (tick.label1, tick.label2):
            if not low <= tick.get_loc() <= high or not axes.axison:
                yield label


def in_hidden_axes(text):
    return text.axes is not None and not text.axes.axison and text not in (
        text.axes.title, text.axes._left_title, text.axes._right_title)


@pytest.mark.filterwarnings('error:constrained_layout')
@pytest.mark.parametrize('name', FIGURES)
def test_texts_are_not_clipped_or_covered(name):
    with style():
        figure = FIGURES[name]()
        found = list(boxes(figure))
    width, height = figure.bbox.width, figure.bbox.height
    assert len(found) > 3
    for text, box in found:
        assert box.x0 >= -1 and box.x1 <= width + 1 and box.y0 >= -1 and box.y1 <= height + 1, text
    for (one, first), (other, second) in itertools.combinations(found, 2):
        overlap = (min(first.x1, second.x1) - max(first.x0, second.x0),
                   min(first.y1, second.y1) - max(first.y0, second.y0))
        assert min(overlap) <= 2, f'{one!r} covers {other!r}'


def test_unit_style_is_the_same_in_all_figures():
    assert unit_styles(['relu'])['relu']['color'] == '#000000'
    for units in (['relu', 'atac'], ['atac', 'se', 'relu'], [*MANY, 'atac', 'relu']):
        assert {unit: unit_styles(units)[unit] for unit in ('relu', 'atac')} == unit_styles(['relu', 'atac'])
    alone = unit_styles(MANY[:1])
    assert unit_styles([*MANY[:1], 'relu'])[MANY[0]] == alone[MANY[0]] or \
        alone[MANY[0]]['marker'] == unit_styles(['relu'])['relu']['marker']
    assert len({look['marker'] for look in unit_styles(MANY[:15]).values()}) == 15


def test_gates_figure_draws_a_unit_in_its_colour_and_its_runs_in_shades_of_it():
    from matplotlib.colors import rgb_to_hsv, to_rgb

    def legend(*runs):
        figure = gates_figure(gate_rows(runs, ['a']))
        return [patch.get_facecolor()[:3] for patch in figure.legends[0].get_patches()]

    atac = to_rgb(unit_styles(['atac'])['atac']['color'])
    np.testing.assert_allclose(legend('a'), [atac], atol=0.01)
    shades = legend('a', 'b', 'c', 'd')
    assert len(set(shades)) == 4
    np.testing.assert_allclose(rgb_to_hsv(shades)[:, 0], rgb_to_hsv(atac)[0], atol=0.01)


@pytest.mark.parametrize('formats, starts', [(None, {'a.png': b'\x89PNG'}),
                                             (['svg', 'pdf'], {'a.svg': b'<?xml', 'a.pdf': b'%PDF'})])
def test_figures_are_written_in_every_format(tmp_path, formats, starts):
    write_figure(str(tmp_path / 'a.png'), lambda: error_figure(COMPARISONS['one point']), formats)
    assert {path.name for path in tmp_path.iterdir()} == set(starts)
    for name, start in starts.items():
        assert (tmp_path / name).read_bytes().startswith(start)


def test_class_name_without_glyphs_is_replaced_by_its_index():
    """Fonts differ between machines, but none has glyphs for private-use characters."""
    figure = confusion_figure(np.eye(2, dtype=int), ['caf\u00e9', '\uf8fe\uf8fd'])
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ['caf\u00e9', 'class 1']
