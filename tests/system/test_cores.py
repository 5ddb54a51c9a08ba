"""The physical cores of machines and cgroups, read from stand-ins for the system's folders."""
import os

import pytest

from openatac.system import cores


def machine(root, processors, siblings=str, files=()):
    """Make a root folder with the topology of that many processors and (path, text) files; return it."""
    topology = [(f'sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list', siblings(cpu))
                for cpu in range(processors)]
    for name, text in [*topology, *files]:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + '\n')
    return root


def v2(group, **limits):
    """Return the files of cgroup v2: this process's group, and each group's cpu.max (root for the root)."""
    return [('proc/self/cgroup', '0::' + group)] + [
        (f"sys/fs/cgroup/{name.replace('root', '.').replace('_', '/')}/cpu.max", text)
        for name, text in limits.items()]


def v1(folder, quota):
    """Return the files of cgroup v1, with a quota for a period of 100000 in one folder."""
    return [('proc/self/cgroup', '7:memory:/m\n4:cpu,cpuacct:/docker/x\n0::/'),
            (f'sys/fs/cgroup/{folder}/cpu.cfs_quota_us', quota),
            (f'sys/fs/cgroup/{folder}/cpu.cfs_period_us', '100000')]


@pytest.mark.parametrize('files, count', [
    ([], 8),
    (v2('/a/b'), 8),
    (v2('/a/b', a='max 100000'), 8),
    (v2('/a/b', a_b='300000 100000'), 3),
    (v2('/a/b', a_b='300000 100000', a='100000 50000'), 2),
    (v2('/a/b', root='150000 100000'), 2),
    (v2('/a/b', root='20000 100000'), 1),
    (v2('/a/b', root='6400000 100000'), 8),
    (v2('/a/b', root='nonsense'), 8),
    (v2('/', root='400000 100000'), 4),
    (v2('/a', c='100000 100000'), 8),
    (v1('cpu,cpuacct', '-1'), 8),
    (v1('cpu,cpuacct', '500000'), 5),
    (v1('cpu,cpuacct/docker/x', '200000'), 2),
    (v1('memory/m', '200000'), 8),
])
def test_cgroups_quota_limits_the_cores(monkeypatch, tmp_path, files, count):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: set(range(8)), raising=False)
    assert cores.physical_cores(machine(tmp_path, 8, files=files)) == count


@pytest.mark.parametrize('allowed, count', [
    (range(8), 4), ([0], 1), ([0, 4], 1), ([0, 1], 2), ([1, 2, 5, 6, 7], 3)])
def test_hyper_threads_of_an_allowed_core_count_once(monkeypatch, tmp_path, allowed, count):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: set(allowed), raising=False)
    pairs = machine(tmp_path, 8, siblings=lambda cpu: f'{cpu % 4},{cpu % 4 + 4}')
    assert cores.physical_cores(pairs) == count


def test_without_topology_or_affinity_each_processor_is_a_core(monkeypatch, tmp_path):
    monkeypatch.delattr(os, 'sched_getaffinity', raising=False)
    monkeypatch.setattr(os, 'cpu_count', lambda: 6)
    assert cores.physical_cores(tmp_path) == 6
