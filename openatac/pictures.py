"""PNG pictures by matplotlib, which only the extra ``demo`` brings."""
import logging

from openatac.files.writing import replace_file

log = logging.getLogger('openatac')


def write_picture(path, draw, dpi=110):
    """Write the figure that ``draw()`` returns to the PNG file ``path``, whole or not at all.

    Where ``draw`` finds no matplotlib a warning says how to get it, and nothing is written.
    """
    try:
        with plain_text():
            figure = draw()
    except ImportError:
        return log.warning("no picture without matplotlib: pip install 'openatac[demo]'")
    with replace_file(path) as temporary:
        figure.savefig(temporary, format='png', dpi=dpi)


def plain_text():
    """While open, matplotlib takes the dollar signs in texts of new figures as they are, not as formulas."""
    import matplotlib
    return matplotlib.rc_context({'text.parse_math': False})
