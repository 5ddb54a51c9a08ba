"""openatac compare --jobs spreads training runs over the available GPUs, which are simulated here."""
import sys

import pytest

from openatac.commands import compare
from openatac.study.comparison.training_queue import QueuedRun, run_queue
from openatac.system import nvidia_driver
from tests.helpers.processes.commands import call_command

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
