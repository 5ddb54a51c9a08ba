"""PyTorch's learner in several local processes (gloo) agrees with one process with all images."""
import re
import signal
import sys

import numpy as np
import pytest

from tests.helpers.processes.scripts import finish

torch = pytest.importorskip('torch')
pytestmark = pytest.mark.usefixtures('one_torch_thread')

from tests.helpers.learners import torch_processes  # noqa: E402  (it needs torch)

SCRIPT = sys.executable, torch_processes.__file__


def run(count, folder, *cases):
    """Run the cases in ``count`` processes, which must end without a traceback or a warning."""
    result = finish(torch_processes.start(count, *SCRIPT, folder, *cases), timeout=120)
    assert not re.search('Traceback|Warning', result.stderr), result.stderr
    return result


def sentences(result):
    """Return {process: its error}."""
    return dict(re.findall(r'^\[(.+?)\] error: (.*)$', result.stderr, re.M))


def arrays_of(folder, case, count):
    """Return the arrays that each process has written."""
    return [dict(np.load(folder / f'{case}-{rank}.npz')) for rank in range(count)]


@pytest.fixture(scope='module')
def two(tmp_path_factory):
    """The arrays of two processes: {case: [arrays of each process]}."""
    folder, cases = tmp_path_factory.mktemp('two'), ['group', 'bfloat16', 'batch', 'synchronised', 'overflow']
    assert run(2, folder, *cases).returncode == 0
    return {case: arrays_of(folder, case, 2) for case in cases}


def apart(found, expected):
    return max(np.abs(found[name] - expected[name]).max() for name in expected)


@pytest.mark.parametrize('case, most', [('group', 1e-6), ('synchronised', 1e-6), ('bfloat16', 1e-3)])
def test_two_processes_agree_with_one_on_the_doubled_batch(two, case, most):
    expected = torch_processes.results(case)
    expected.pop('metrics/0')  # each process keeps its own
    for found in two[case]:
        assert apart(found, expected) < most


@pytest.mark.slow  # compiling takes half a minute
def test_two_compiled_processes_agree_with_one(tmp_path):
    assert run(2, tmp_path, 'compiled').returncode == 0
    expected = torch_processes.results('group')
    expected.pop('metrics/0')
    for found in arrays_of(tmp_path, 'compiled', 2):
        assert apart(found, expected) < 1e-5


def test_mean_of_the_processes_running_statistics_is_saved(two):
    first, second = two['batch']
    assert all((first[name] == second[name]).all() for name in first)
    for name in ('1.running_mean', '1.running_var'):
        own = [first[f'parameter/{name}/{rank}'] for rank in range(2)]
        assert not (own[0] == own[1]).all()
        assert first['saved/' + name] == pytest.approx(np.mean(own, axis=0), rel=1e-6)
    assert 'parameter/0.weight/1' not in first


def test_overflow_in_one_process_skips_the_step_in_all(two):
    first, second = two['overflow']
    assert first == second
    assert first['kept'] and first['scale'] == 512


def test_three_processes_resume_exactly_and_report_a_killed_worker_0(tmp_path):
    """Three are needed, since the sum of two numbers is the same in any order."""
    result = run(3, tmp_path, 'resumed', 'killed')
    for arrays in arrays_of(tmp_path, 'resumed', 3):
        whole = {name for name in arrays if name.startswith('whole/')}
        assert len(whole) > 20
        assert all((arrays[name] == arrays[name.replace('whole', 'parts')]).all() for name in whole)
    assert result.returncode == 128 + signal.SIGKILL
    said = sentences(result)
    assert sorted(said) == ['worker 1', 'worker 2']
    assert all(line.startswith('worker 0 ') and '--resume auto' in line for line in said.values())


def test_shared_statistics_of_torchs_own_batchnorm_are_refused(tmp_path):
    result = run(2, tmp_path, 'foreign')
    assert result.returncode == 1
    said = sentences(result)
    assert said and all('--syncbn' in line and 'openatac.pytorch.BatchNorm' in line for line in said.values())


@pytest.mark.slow
def test_failure_of_worker_0_is_reported_by_the_others(tmp_path):
    result = run(2, tmp_path, 'fails')
    assert result.returncode == 1
    said = sentences(result)
    assert said['worker 0'] == 'the loss became nan'
    assert said['worker 1'].startswith('worker 0 ') and 'the loss became nan' in said['worker 1']
