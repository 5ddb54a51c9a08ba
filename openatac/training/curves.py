"""Curves over epochs as a PNG picture, by matplotlib if it is there."""
import logging

from openatac.files import replace_file

log = logging.getLogger('openatac')


def draw_curves(path, title, panels):
    """Draw panels side by side into the PNG file ``path``.

    panels: {label of the vertical axis: {name of the curve: its value after each epoch}}

    Without matplotlib a warning says how to get it, and nothing is drawn.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        return log.warning("no picture without matplotlib: pip install 'openatac[demo]'")
    figure = Figure(figsize=(9, 3.6), layout='constrained')
    FigureCanvasAgg(figure)
    for axes, (label, curves) in zip(figure.subplots(1, len(panels)), panels.items()):
        for name, values in curves.items():
            axes.plot(values, marker='.' if len(values) < 50 else None, label=name)
        axes.set(xlabel='epoch', ylabel=label, ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(title)
    with replace_file(path) as temporary:
        figure.savefig(temporary, format='png', dpi=110)
