"""Curves over epochs as a PNG picture, by matplotlib if it is there."""
from openatac.pictures import write_picture


def draw_curves(path, title, panels):
    """Draw panels side by side into the PNG file ``path``.

    panels: {label of the vertical axis: {name of the curve: its value after each epoch}}

    Without matplotlib a warning says how to get it, and nothing is drawn.
    """
    write_picture(path, lambda: curves_figure(title, panels))


def curves_figure(title, panels):
    """The same as a matplotlib Figure."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
    figure = Figure(figsize=(9, 3.6), layout='constrained')
    for axes, (label, curves) in zip(figure.subplots(1, len(panels)), panels.items()):
        for name, values in curves.items():
            axes.plot(values, marker='.' if len(values) < 50 else None, label=name)
        axes.set(xlabel='epoch', ylabel=label, ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(title)
    return figure
