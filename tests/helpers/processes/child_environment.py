"""The environment of processes that tests start."""
import os

from tests.helpers.paths import ROOT


def child_environment(**variables):
    """Return this process's environment with the checkout on the path, one thread and ``variables``."""
    return {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', **variables}
