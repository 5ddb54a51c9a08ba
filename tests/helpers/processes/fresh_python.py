"""Run code in a new Python process, to test what happens before or while MXNet loads."""
import subprocess
import sys

from tests.helpers.processes.child_environment import child_environment


def run_python(*arguments, path=(), timeout=300, **environment):
    """Run ``python *arguments``, with openatac's own number of threads.

    Parameters
    ----------
    arguments
    path : sequence of path
        Folders before this checkout on sys.path.
    timeout : float
        In seconds.
    environment
        Variables to set; None removes one.
    """
    variables = {'OMP_NUM_THREADS': None, 'MXNET_OMP_MAX_THREADS': None, **environment}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=timeout,
        env=child_environment(*path, **variables))


def output_of(code, **options):
    """Run ``code`` in a new process that must succeed, and return its output."""
    result = run_python('-c', code, **options)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()
