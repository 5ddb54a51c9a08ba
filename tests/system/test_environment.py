"""Environments in which MXNet would abort, hang or blame the wrong cause."""
import os
import resource
import subprocess
import sys

import pytest
from PIL import Image

from openatac.console import program
from openatac.errors import UnfitEnvironment
from openatac.system import memory, threads
from tests.helpers.images.made_up_images import write_cifar
from tests.helpers.paths import ROOT
from tests.helpers.processes.child_environment import child_environment
from tests.helpers.processes.fresh_python import run_python

USE_MXNET = 'import openatac, mxnet; print(mxnet.nd.ones(3).sum().asscalar())'
COSTS = ('-m', 'openatac', 'costs', 'cifar_resnet8_v2_relu')


@pytest.mark.parametrize('variable, text', [
    *(('OMP_NUM_THREADS', text) for text in (
        'abc', '1.5', '99999999999', '0', '-1', ',', '2,', '2,x', '٣', str(threads.MAX_THREADS + 1),
        '9' * 5000)),
    ('MXNET_OMP_MAX_THREADS', 'abc'), ('MXNET_OMP_MAX_THREADS', '2,2')])
def test_invalid_thread_counts_are_refused(monkeypatch, variable, text):
    monkeypatch.setenv(variable, text)
    with pytest.raises(UnfitEnvironment, match=variable) as error:
        threads.thread_count()
    assert repr(text) in str(error.value) and str(threads.MAX_THREADS) in str(error.value)


@pytest.mark.parametrize('text, used', [('2', 2), ('2,2', 2), (' 3 , 2', 3), ('007', 7)])
def test_first_thread_count_of_a_list_is_used(monkeypatch, text, used):
    monkeypatch.setenv('OMP_NUM_THREADS', text)
    assert threads.thread_count() == (used, 'OMP_NUM_THREADS') and os.environ['OMP_NUM_THREADS'] == text
    threads.set_threads()
    assert os.environ['OMP_NUM_THREADS'] == str(used)


def test_wrong_thread_count_is_one_error_line_in_every_program():
    for command in (COSTS, (ROOT / 'train_cifar.py', '--summary')):
        result = run_python(*command, OMP_NUM_THREADS='abc')
        error, = result.stderr.splitlines()
        assert result.returncode == 1
        assert "'abc'" in error and 'OMP_NUM_THREADS' in error


def test_doctor_reports_a_wrong_thread_count_and_continues():
    result = run_python('-m', 'openatac', 'doctor', OMP_NUM_THREADS='abc')
    lines = result.stdout.splitlines()
    assert result.returncode == 1 and not result.stderr
    assert len(lines) > 10
    assert sum("'abc'" in line for line in lines) == 2  # for MXNet and for threads
    assert 'reinstall' not in result.stdout


def test_wrong_thread_count_fails_the_import_of_mxnet():
    result = run_python('-c', USE_MXNET, OMP_NUM_THREADS='1.5')
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith('openatac.errors.UnfitEnvironment: ')


@pytest.mark.slow
def test_predict_works_with_strict_python_settings(exported, tmp_path):
    """PYTHONOPTIMIZE=2 removes the docstrings that MXNet is built from; MXNet and others emit warnings."""
    Image.new('RGB', (40, 30), 'red').save(tmp_path / 'a.jpg')
    result = run_python('-m', 'openatac', 'predict', exported / 'net', tmp_path / 'a.jpg',
                        '--gates', tmp_path / 'gates.png', PYTHONOPTIMIZE='2', PYTHONWARNINGS='error',
                        MPLBACKEND='nope')
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 4 and (tmp_path / 'gates.png').exists()


def test_mxnet_imports_with_strict_python_and_nested_thread_counts():
    result = run_python('-c', USE_MXNET, PYTHONOPTIMIZE='2', PYTHONWARNINGS='error', OMP_NUM_THREADS='2,2')
    assert result.returncode == 0 and result.stdout == '3.0\n', result.stderr


def test_commands_ignore_strict_environment_settings(monkeypatch):
    import warnings
    monkeypatch.setenv('MPLBACKEND', 'nope')
    monkeypatch.setenv('PYTHONWARNINGS', 'error::UserWarning,ignore')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        program.undo_strict_environment()
        with warnings.catch_warnings(record=True) as seen:
            warnings.warn('something', stacklevel=1)
        assert len(seen) == 1
    assert 'MPLBACKEND' not in os.environ
    assert os.environ['PYTHONWARNINGS'] == 'default::UserWarning,ignore'


# ----------------------------------------------------------------------------------- memory

def limited(megabytes, *command):
    """Run a command within a limit on its address space; return its result."""
    return subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, timeout=120,
        env=child_environment(OMP_NUM_THREADS='2'),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (megabytes * 10 ** 6,) * 2))


@pytest.mark.parametrize('megabytes', [300, 1500])
def test_too_little_address_space_is_one_error_with_the_limit(megabytes):
    result = limited(megabytes, *COSTS)
    error, = result.stderr.splitlines()
    assert result.returncode == 1
    assert 'ulimit -v' in error and str(megabytes * 10 ** 6 // 2 ** 20) in error


def test_minimum_address_space_is_enough(tmp_path):
    """The smallest network trains within it, with a batch of 128."""
    data = write_cifar(tmp_path / 'data', images=26)
    least = (memory.ADDRESS_SPACE + 2 * memory.ADDRESS_SPACE_OF_THREAD) // 10 ** 6 + 1
    result = limited(least, ROOT / 'train_cifar.py', '--data-dir', data, '--blocks', 1, '--act-type',
                     'relu', '--num-epochs', 1, '--save-dir', tmp_path / 'run')
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize('error', [
    MemoryError(), ImportError('libopenblas.so.0: failed to map segment from shared object'),
    OSError(12, 'Cannot allocate memory')])
def test_import_error_blames_memory_when_it_is_short(monkeypatch, error):
    monkeypatch.setattr(memory, 'memory_shortage', lambda: 'too little')
    reported = []

    def fails():
        raise error

    assert program.run_command(fails, lambda *words: reported.append(words)) == 1
    assert reported == [('too little', 1)]


def test_missing_module_is_not_blamed_on_memory(monkeypatch):
    monkeypatch.setattr(memory, 'memory_shortage', lambda: 'too little')
    reported = []

    def fails():
        import no_such_module  # noqa: F401

    assert program.run_command(fails, lambda *words: reported.append(words)) == 1
    assert 'pip install no_such_module' in reported[0][0]
