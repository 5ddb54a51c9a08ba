"""The environment of processes that tests start."""
import os

from tests.helpers.paths import ROOT


def child_environment(*path, **variables):
    """Return this process's environment with the checkout on the path and, by default, one thread.

    Parameters
    ----------
    path
        Folders before this checkout on sys.path.
    variables
        Variables to set; None removes one.
    """
    changed = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': os.pathsep.join(map(str, [*path, ROOT])),
               **variables}
    return {name: value for name, value in changed.items() if value is not None}
