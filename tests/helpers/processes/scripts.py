"""Run train_cifar.py and train_imagenet.py as a user does, and read the files of a run."""
import contextlib
import json
import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

import train_cifar
from openatac.commands.shared.training_script import run_and_exit
from openatac.files.writing import replace_file
from openatac.options.command_line import from_arguments
from openatac.training.config import CifarConfig, ImagenetConfig
from openatac.training.tracking import trackers
from tests.helpers.paths import ROOT
from tests.helpers.processes.child_environment import child_environment


def start_script(*flags, script='train_cifar.py', limit=None, path=(), **environment):
    """Start a script in its own process, by default with one thread.

    Parameters
    ----------
    flags
    script : str
    limit : int, optional
        The maximum size of a file that the process writes, in bytes.
    path : sequence of path
        Folders before this checkout on sys.path.
    environment
        Variables to set; None removes one.
    """
    return subprocess.Popen(
        [sys.executable, str(ROOT / script), *map(str, flags)], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=child_environment(*path, no_proxy='*', **environment),
        preexec_fn=limit and (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))))


def finish(process, timeout=300):
    """Wait for a process of `start_script` to end; return it with .stdout and .stderr as text."""
    output, errors = process.communicate(timeout=timeout)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def run_script(*flags, **options):
    """Run a script to its end in its own process, with the options of `start_script`."""
    return finish(start_script(*flags, **options))


def run_in_process(*flags, script=train_cifar, figure=False):
    """Run a script in this process, which saves the start-up time, and return its exit code.

    Parameters
    ----------
    flags
    script : module
    figure : bool
        Whether to draw ``history.png``, which takes as long as a short run; otherwise it stays empty.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [script.__file__, *map(str, flags)])
        if not figure:
            patch.setattr(trackers, 'write_figure', write_empty_figure)
        try:
            run_and_exit(script.main)
        except SystemExit as end:
            return end.code
    return 0


def write_empty_figure(path, draw):
    with replace_file(path):
        pass


def config_of(script, *flags):
    """Return the config that a script builds from its flags."""
    kind = CifarConfig if script is train_cifar else ImagenetConfig
    return from_arguments(kind, script.parser().parse_args([*map(str, flags)]), {}, '').config


def error_line(code, stderr):
    """Return the single error line of a failed run, given its exit code and standard error."""
    assert code in (1, 2), stderr
    assert 'Traceback' not in stderr
    lines = [line for line in stderr.splitlines() if re.match('(train_\\w+.py: )?error: ', line)]
    assert len(lines) == 1 and stderr.splitlines()[-1] == lines[0], stderr
    return lines[0]


def script_error(capsys, code, *flags, script=train_cifar):
    """Run a script in this process that must fail with that exit code; return its error line."""
    found = run_in_process(*flags, script=script)
    error = error_line(found, capsys.readouterr().err)
    assert found == code, error
    return error


def wait_until(condition, what, process=None, timeout=120):
    """Wait until ``condition()`` holds, checking every millisecond; fail if ``process`` ends first."""
    end = time.monotonic() + timeout
    while not condition():
        if process and process.poll() is not None:
            pytest.fail(f'the process ended before {what}: {process.communicate()[1]}')
        assert time.monotonic() < end, f'timed out waiting for {what}'
        time.sleep(0.001)


# --------------------------------------------------------------------------- files of a run

def json_of(*path):
    with open(os.path.join(*path), encoding='utf-8') as handle:
        return json.load(handle)


@contextlib.contextmanager
def changed_json(path):
    """Yield the value of a JSON file, and write it back with the changes of the context."""
    value = json_of(path)
    yield value
    Path(path).write_text(json.dumps(value), 'utf-8')


def metrics_of(folder):
    """Return the rows of a run's metrics, one for each epoch."""
    with open(os.path.join(folder, 'metrics.jsonl'), encoding='utf-8') as handle:
        return [json.loads(line) for line in handle]


def assert_metrics_agree(row, expected, tolerance=1e-3):
    """Assert that metrics agree; a loss above 1, as with a teacher, may differ in proportion."""
    assert row.keys() == expected.keys()
    for name in row.keys() - {'images_per_second', 'best_accuracy'}:
        assert row[name] == pytest.approx(expected[name], rel=tolerance, abs=tolerance), name


def log_of(folder):
    """Return a run's log as text, empty if there is none yet."""
    path = os.path.join(folder, 'train.log')
    if not os.path.exists(path):
        return ''
    with open(path, encoding='utf-8') as handle:
        return handle.read()


def accuracy_of(text):
    """Return the first accuracy in the text of a log."""
    return float(text.split('accuracy=')[1].split()[0])


def without_numbers(line):
    """Return a line of a log without its numbers, which depend on the engine and the clock."""
    return re.sub(r'\d+(\.\d+)?(e-\d+)?', '', line)
