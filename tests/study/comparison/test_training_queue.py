"""The training runs of openatac compare end with it; --jobs spreads them over GPUs, which are simulated."""
import os
import signal
import subprocess
import sys

import pytest

from openatac.commands import compare
from openatac.study.comparison.training_queue import QueuedRun, run_queue
from openatac.system import nvidia_driver
from tests.helpers.processes.child_environment import child_environment
from tests.helpers.processes.commands import call_command
from tests.helpers.processes.marked_processes import MARK, marked_processes
from tests.helpers.processes.scripts import finish, wait_until

SAYS_ITS_GPU = [sys.executable, '-S', '-c', 'import os, sys; sys.exit(os.environ["CUDA_VISIBLE_DEVICES"])']


def play_gpus(monkeypatch, count, visible=None):
    monkeypatch.setattr(nvidia_driver, 'nvidia_gpus', lambda: [nvidia_driver.Gpu('GPU', 9, 0)] * count)
    if visible is None:
        monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    else:
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)


@pytest.mark.parametrize('count, visible, names', [
    (0, None, []), (2, None, ['0', '1']), (2, '5,7', ['5', '7']), (1, '5,none', ['5']), (0, '', [])])
def test_gpu_names_come_from_the_environment(monkeypatch, count, visible, names):
    play_gpus(monkeypatch, count, visible)
    assert nvidia_driver.visible_gpus() == names


def test_each_job_sees_the_next_gpu(tmp_path):
    runs = [QueuedRun(str(number), str(tmp_path / str(number)), SAYS_ITS_GPU) for number in range(4)]
    failures = run_queue(runs, 4, ['5', '6', '7'])
    assert [failures[str(number)].last_line for number in range(4)] == ['5', '6', '7', '5']


@pytest.mark.parametrize('flags, gpus', [
    (['--jobs', '2', '--', '--engine', 'torch', '--gpus', '0'], ['0', '1', '2']),
    (['--jobs', '2', '--', '--engine=torch', '--gpus', '0'], ['0', '1', '2']),
    (['--jobs', '1', '--', '--engine', 'torch', '--gpus', '1'], []), (['--jobs', '2'], [])])
def test_only_parallel_pytorch_jobs_are_spread_over_gpus(monkeypatch, tmp_path, flags, gpus):
    play_gpus(monkeypatch, 3)
    asked = []
    monkeypatch.setattr(compare, 'run_queue', lambda runs, jobs, gpus=(): asked.append(list(gpus)) or {})
    call_command('compare', tmp_path / 'sweep', '--units', 'relu,atac', *flags)
    assert asked == [gpus]


# Arguments: the file that the run writes, and its deed: to ignore SIGTERM, or to have a child.
QUEUE = '''
import sys
from openatac.console.program import run_command
from openatac.study.comparison.training_queue import QueuedRun, run_queue
command = [sys.executable, '-S', '-c', """
import signal, subprocess, sys, time
if sys.argv[2] == 'stubborn':
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    subprocess.Popen(['sleep', '300'])
open(sys.argv[1], 'w').close()
time.sleep(300)
""", *sys.argv[1:]]
sys.exit(run_command(lambda: run_queue([QueuedRun('a', '', command)], 1), lambda message, code: None))
'''


@pytest.mark.parametrize('deed, first, second, code', [
    ('stubborn', signal.SIGTERM, signal.SIGTERM, 130), ('stubborn', signal.SIGINT, signal.SIGTERM, 130),
    ('child', signal.SIGKILL, None, -signal.SIGKILL)])
def test_no_run_outlives_the_queue(tmp_path, deed, first, second, code):
    mark, file = os.urandom(8).hex(), tmp_path / 'started'
    process = subprocess.Popen([sys.executable, '-c', QUEUE, file, deed], text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=child_environment(**{MARK: mark}))
    wait_until(file.exists, 'the run', process)
    process.send_signal(first)
    if second:
        assert 'again' in process.stderr.readline()
        process.send_signal(second)
    result = finish(process)
    assert result.returncode == code and 'Traceback' not in result.stderr
    wait_until(lambda: not marked_processes(mark), 'the end of its processes', timeout=10)
