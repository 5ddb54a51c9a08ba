"""Count the physical cores that this process may use, within its affinity and its cgroup's CPU quota."""
from __future__ import annotations

import os
from collections.abc import Collection


def physical_cores(root: str | os.PathLike[str] = '/') -> int:
    """Return the number of physical cores that this process may use; at least 1.

    Parameters
    ----------
    root : path
        The folder with sys/ and proc/.
    """
    cores, quota = allowed_cores(root), cgroup_quota(root)
    return max(1, min(len(cores), int(quota + 0.5)) if quota else len(cores))


def allowed_cores(root: str | os.PathLike[str] = '/') -> set[object]:
    """Return an identifier for each physical core within this process's affinity, ignoring its quota."""
    topology = os.path.join(root, 'sys/devices/system/cpu/cpu{}/topology/thread_siblings_list')
    return {_read(topology.format(cpu)) or cpu for cpu in allowed_processors()}


def allowed_processors() -> Collection[int]:
    """Return the numbers of the processors (hyper-threads) within this process's affinity."""
    return os.sched_getaffinity(0) if has_affinity() else range(os.cpu_count() or 1)


def cores_per_process(processes: int) -> int:
    """Return the share of the physical cores for each of several processes, at least one."""
    return max(1, physical_cores() // processes)


def has_affinity() -> bool:
    """Return whether this system can restrict a process to some of the processors, as Linux can."""
    return hasattr(os, 'sched_getaffinity')


def cgroup_quota(root: str | os.PathLike[str] = '/') -> float | None:
    """Return the CPU quota in processors (cgroup v2 or v1, the tightest of all levels), or None."""
    limits = []
    for line in (_read(os.path.join(root, 'proc/self/cgroup')) or '').splitlines():
        _, controllers, group = line.split(':', 2)
        if controllers and 'cpu' not in controllers.split(','):  # v2 lists no controllers
            continue
        folder = os.path.join(root, 'sys/fs/cgroup', controllers)
        limits.append(_quota_of(folder))
        for part in group.strip('/').split('/'):
            folder = os.path.join(folder, part)
            limits.append(_quota_of(folder))
    return min((limit for limit in limits if limit), default=None)


def _quota_of(folder: str) -> float | None:
    """Return the quota in one cgroup's folder, in processors, or None."""
    both = _read(os.path.join(folder, 'cpu.max'))  # v2: 'max 100000' or '150000 100000'
    if both is None:  # v1: a quota of -1 means no limit
        files = (os.path.join(folder, f'cpu.cfs_{name}_us') for name in ('quota', 'period'))
        both = ' '.join(_read(file) or '?' for file in files)
    try:
        quota, period = map(int, both.split())
    except ValueError:  # 'max', or no such file
        return None
    return quota / period if quota > 0 and period > 0 else None


def _read(path: str) -> str | None:
    try:
        with open(path) as handle:
            return handle.read().strip()
    except OSError:
        return None
