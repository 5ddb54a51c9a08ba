"""PNG pictures with matplotlib, which only the extra ``demo`` installs."""
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from openatac.files.writing import replace_file

log = logging.getLogger('openatac')


def write_picture(path: str, draw: Callable[[], Any], dpi: int = 110) -> None:
    """Write a figure to the PNG file ``path``, whole or not at all.

    Without matplotlib nothing is written, and a warning says how to install it.

    Parameters
    ----------
    path : str
    draw : function
        Imports matplotlib and returns the figure.
    dpi : int
    """
    try:
        with literal_text():
            figure = draw()
    except ImportError:
        return log.warning("no picture without matplotlib: pip install 'openatac[demo]'")
    with replace_file(path) as temporary:
        figure.savefig(temporary, format='png', dpi=dpi)


def literal_text() -> AbstractContextManager[Any]:
    """Keep dollar signs in new figures' text literal, not formulas, while the context is open."""
    import matplotlib
    return matplotlib.rc_context({'text.parse_math': False})
