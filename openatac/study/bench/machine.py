"""Describe the machine for speed measurements: processor, threads and versions."""
from __future__ import annotations

import platform

from openatac.system.installed import installed_version
from openatac.system.threads import thread_count

PACKAGES = ('mxnet', 'onnxruntime', 'openvino', 'torch', 'numpy')


def machine() -> dict[str, str]:
    """Return {column of a file: text} for 'device', 'threads' and 'versions'."""
    versions = [f'Python {platform.python_version()}',
                *(f'{package} {version}' for package in PACKAGES if (version := installed_version(package)))]
    return {'device': _processor(), 'threads': str(thread_count().threads), 'versions': ', '.join(versions)}


def _processor() -> str:
    try:
        with open('/proc/cpuinfo') as handle:
            return next(line.split(':')[1].strip() for line in handle if line.startswith('model name'))
    except (OSError, StopIteration):
        return platform.machine()
