"""Speeds of exports in engines as a PNG picture, by matplotlib if it is there."""
from openatac.pictures import write_picture


def draw_bench(path, rows, title):
    """Draw rows of `openatac bench` into the PNG file ``path``: a panel for each size of batch.

    Without matplotlib a warning says how to get it, and nothing is drawn.
    """
    write_picture(path, lambda: bench_figure(rows, title))


def bench_figure(rows, title):
    """Images per second, medians with their ranges, by engine; a colour for each export; a Figure."""
    from matplotlib.figure import Figure
    sizes = list(dict.fromkeys(row['batch'] for row in rows))
    engines = list(dict.fromkeys(row['engine'] for row in rows))
    exports = list(dict.fromkeys(row['export'] for row in rows))
    width = 0.8 / len(exports)
    figure = Figure(figsize=(2 + 1.1 * len(engines) * max(1, len(exports) ** 0.5 / 1.5), 3.2 * len(sizes)),
                    layout='constrained')
    panels = figure.subplots(len(sizes), 1, sharex=True, squeeze=False)[:, 0]
    for panel, size in zip(panels, sizes):
        for row in (row for row in rows if row['batch'] == size):
            export = exports.index(row['export'])
            place = engines.index(row['engine']) + (export - (len(exports) - 1) / 2) * width
            _draw_bar(panel, place, 0.9 * width, row, 'C%d' % export)
        panel.set(ylabel='images/s', title='batch of %d' % size)
        panel.margins(y=0.15)
        panel.spines[['top', 'right']].set_visible(False)
    panels[-1].set_xticks(range(len(engines)), [engine.replace('-', '-\n') for engine in engines])
    figure.legend(handles=_patches(exports), loc='outside lower center', ncol=min(len(exports), 4),
                  frameon=False)
    figure.suptitle(title + '\nmedian and range of %d rounds' % rows[0]['rounds'], fontsize=10)
    return figure


def _draw_bar(panel, place, width, row, colour):
    speed = row['images_per_second']
    spread = [[speed - row['images_per_second_low']], [row['images_per_second_high'] - speed]]
    panel.bar(place, speed, width, color=colour, yerr=spread, capsize=3, ecolor='0.3')
    panel.annotate('%.3g' % speed if speed < 100 else '%.0f' % speed, (place, row['images_per_second_high']),
                   xytext=(0, 2), textcoords='offset points', ha='center', fontsize=7)


def _patches(exports):
    from matplotlib.patches import Patch
    return [Patch(color='C%d' % number, label=export) for number, export in enumerate(exports)]
