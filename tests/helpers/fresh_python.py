"""A Python process of its own, for what can be seen only before or while MXNet loads."""
import os
import subprocess
import sys

from tests.conftest import ROOT


def run_python(*arguments, path=(), timeout=300, **environment):
    """Run ``python *arguments`` with the folders of ``path`` in front of this checkout on sys.path.

    environment: variables to set, or with None to unset. Threads are left to openatac.
    """
    variables = dict(os.environ, OMP_NUM_THREADS=None, MXNET_OMP_MAX_THREADS=None,
                     PYTHONPATH=os.pathsep.join(map(str, [*path, ROOT])))
    variables.update(environment)
    return subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=timeout,
        env={name: value for name, value in variables.items() if value is not None})


def output_of(code, **options):
    """What ``code`` prints, after checking that it did not fail."""
    result = run_python('-c', code, **options)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()
