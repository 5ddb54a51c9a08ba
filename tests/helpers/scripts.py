"""Runs of train_cifar.py and train_imagenet.py on made-up data, as a user starts them."""
import json
import os
import re
import resource
import subprocess
import sys
import time

import pytest

import train_cifar
from openatac.commands.shared.training_script import run_and_exit
from openatac.files.writing import replace_file
from openatac.options.command_line import from_arguments
from openatac.training.config import CifarConfig, ImagenetConfig
from openatac.training.tracking import curves
from tests.conftest import ROOT


def start_script(*flags, script='train_cifar.py', limit=None, path=(), **environment):
    """Start a script in a process of its own, by default with one thread.

    limit: the most bytes that a file of the process may have; path: folders for PYTHONPATH;
    environment: variables to set.
    """
    variables = {**os.environ, 'OMP_NUM_THREADS': '1', 'no_proxy': '*', **environment}
    variables['PYTHONPATH'] = os.pathsep.join([*map(str, path), str(ROOT)])
    return subprocess.Popen(
        [sys.executable, str(ROOT / script), *map(str, flags)], text=True, env=variables,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=limit and (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))))


def finish(process, timeout=300):
    """Wait for the end of what `start_script` started; it then has .stdout and .stderr as text."""
    output, errors = process.communicate(timeout=timeout)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def run_script(*flags, **options):
    """Run a script to its end in a process of its own (options of `start_script`)."""
    return finish(start_script(*flags, **options))


def call_script(*flags, script=train_cifar, picture=False):
    """Run a script in this process, which saves the start-up; its exit code.

    picture: draw the curves in ``history.png``, which takes as long as a short run; else it stays empty.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [script.__file__, *map(str, flags)])
        if not picture:
            patch.setattr(curves, 'write_picture', write_blank_picture)
        try:
            run_and_exit(script.main)
        except SystemExit as end:
            return end.code
    return 0


def write_blank_picture(path, draw):
    with replace_file(path):
        pass


def config_of(script, *flags):
    """The config that a script makes of its flags."""
    kind = CifarConfig if script is train_cifar else ImagenetConfig
    return from_arguments(kind, script.parser().parse_args([*map(str, flags)]), {}, '').config


def the_error(code, stderr):
    """The one line in which a run that ended with ``code`` says what was wrong."""
    assert code in (1, 2), stderr
    assert 'Traceback' not in stderr
    lines = [line for line in stderr.splitlines() if re.match('(train_\\w+.py: )?error: ', line)]
    assert len(lines) == 1 and stderr.splitlines()[-1] == lines[0], stderr
    return lines[0]


def refusal(capsys, code, *flags, script=train_cifar):
    """Run a script in this process that ends with that code and one sentence; the sentence."""
    found = call_script(*flags, script=script)
    error = the_error(found, capsys.readouterr().err)
    assert found == code, error
    return error


def wait_until(process, condition, what, timeout=120):
    """Look every millisecond whether ``condition()`` holds; fail if the process ends before."""
    end = time.monotonic() + timeout
    while not condition():
        assert process.poll() is None, f'{what} did not come: {process.communicate()[1]}'
        assert time.monotonic() < end, f'{what} did not come'
        time.sleep(0.001)


# ------------------------------------------------------------------------ what a run leaves

def json_of(*path):
    with open(os.path.join(*path), encoding='utf-8') as handle:
        return json.load(handle)


def metrics_of(folder):
    """The rows of its metrics, one for each epoch."""
    with open(os.path.join(folder, 'metrics.jsonl'), encoding='utf-8') as handle:
        return [json.loads(line) for line in handle]


def log_of(folder):
    """Its log as text, empty before there is one."""
    path = os.path.join(folder, 'train.log')
    if not os.path.exists(path):
        return ''
    with open(path, encoding='utf-8') as handle:
        return handle.read()
