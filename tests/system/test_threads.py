"""The number of threads and the settings of MXNet and OpenMP; the user's own always win."""
import os

import pytest

from openatac.system import cores, threads
from tests.helpers.processes.fresh_python import output_of


def test_threads_are_set_before_mxnets_own_code_runs(package):
    path = package('import os\nthreads = os.environ["OMP_NUM_THREADS"]\n')
    code = 'import openatac, os; print(os.environ.get("OMP_NUM_THREADS")); import mxnet; print(mxnet.threads)'
    assert output_of(code, path=path) == f'None\n{cores.physical_cores()}'
    assert output_of(code, path=path, OMP_NUM_THREADS='7') == '7\n7'


@pytest.mark.parametrize('variables, expected', [
    ({}, (4, None)),
    ({'OMP_NUM_THREADS': ''}, (4, None)),
    ({'OMP_NUM_THREADS': '3'}, (3, 'OMP_NUM_THREADS')),
    ({'MXNET_OMP_MAX_THREADS': '9'}, (9, 'MXNET_OMP_MAX_THREADS')),
    ({'OMP_THREAD_LIMIT': '2'}, (2, None)),
    ({'OMP_THREAD_LIMIT': '8'}, (4, None)),
    ({'OMP_THREAD_LIMIT': '2', 'OMP_NUM_THREADS': '3'}, (3, 'OMP_NUM_THREADS')),
])
def test_users_own_number_of_threads_wins(monkeypatch, variables, expected):
    for name in ('OMP_NUM_THREADS', 'MXNET_OMP_MAX_THREADS', 'OMP_THREAD_LIMIT'):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(cores, 'physical_cores', lambda: 4)
    assert threads.thread_count() == expected
    threads.set_threads()
    assert os.environ[expected[1] or 'OMP_NUM_THREADS'] == str(expected[0])


def test_users_own_settings_of_mxnet_win(package):
    path = package('from os import environ\n')
    code = ('import openatac; from mxnet import environ; '
            'print(environ["MXNET_CPU_PARALLEL_SIZE"], environ["MXNET_USE_OPERATOR_TUNING"])')
    assert output_of(code, path=path, MXNET_USE_OPERATOR_TUNING='1') == '2147483647 1'
    assert output_of(code, path=path, MXNET_CPU_PARALLEL_SIZE='7') == '7 0'


OPENMP = '''
import ctypes, os
before = os.sched_getaffinity(0)
import openatac, mxnet
openmp = ctypes.CDLL('libgomp.so.1')
print(openmp.omp_get_proc_bind(), openmp.omp_get_num_places())
print(os.sched_getaffinity(0) == before, sorted(set(os.environ) & set(%r)))
'''
OPENMP_VARIABLES = ('OMP_PROC_BIND', 'OMP_PLACES', 'GOMP_CPU_AFFINITY', 'GOMP_SPINCOUNT', 'OMP_WAIT_POLICY')


@pytest.mark.skipif(not 1 < len(cores.allowed_cores()) == cores.physical_cores(),
                    reason='binds a thread to each of several cores, none of which a quota takes away')
def test_only_worker_threads_are_bound_to_cores():
    unset = dict.fromkeys(OPENMP_VARIABLES)
    lines = output_of(OPENMP % (OPENMP_VARIABLES,), **unset).splitlines()
    assert lines == [f'1 {cores.physical_cores()}', 'True []']


@pytest.mark.parametrize('variables, added', [
    ({}, {'GOMP_SPINCOUNT', 'OMP_PROC_BIND', 'OMP_PLACES'}),
    ({'OMP_NUM_THREADS': '4'}, {'GOMP_SPINCOUNT', 'OMP_PROC_BIND', 'OMP_PLACES'}),
    ({'OMP_NUM_THREADS': '3'}, {'GOMP_SPINCOUNT'}),
    ({'OMP_THREAD_LIMIT': '2'}, {'GOMP_SPINCOUNT'}),
    ({'OMP_PROC_BIND': 'false'}, {'GOMP_SPINCOUNT'}),
    ({'OMP_PLACES': 'sockets'}, {'GOMP_SPINCOUNT'}),
    ({'GOMP_CPU_AFFINITY': '0-3'}, {'GOMP_SPINCOUNT'}),
    ({'GOMP_SPINCOUNT': '5'}, {'OMP_PROC_BIND', 'OMP_PLACES'}),
    ({'OMP_WAIT_POLICY': 'active'}, {'OMP_PROC_BIND', 'OMP_PLACES'}),
])
def test_users_own_settings_of_openmp_win(monkeypatch, variables, added):
    for name in (*OPENMP_VARIABLES, 'OMP_NUM_THREADS', 'MXNET_OMP_MAX_THREADS', 'OMP_THREAD_LIMIT'):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(cores, 'allowed_cores', lambda root='/': set(range(4)))
    monkeypatch.setattr(cores, 'cgroup_quota', lambda root='/': None)
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: {0, 1, 2, 3}, raising=False)
    restored = []
    monkeypatch.setattr(os, 'sched_setaffinity', lambda pid, mask: restored.append(mask), raising=False)
    before = dict(os.environ)
    with threads.openmp_for_shared_machine():
        assert set(os.environ) - set(before) == added
        assert all(os.environ[name] == value for name, value in before.items())
    assert dict(os.environ) == before
    assert restored == ([{0, 1, 2, 3}] if 'OMP_PROC_BIND' in added else [])


def test_quota_below_the_cores_leaves_threads_unbound(monkeypatch):
    monkeypatch.setattr(cores, 'allowed_cores', lambda root='/': set(range(4)))
    monkeypatch.setattr(cores, 'cgroup_quota', lambda root='/': 2)
    monkeypatch.setenv('OMP_NUM_THREADS', '2')
    with threads.openmp_for_shared_machine():
        assert 'OMP_PROC_BIND' not in os.environ
