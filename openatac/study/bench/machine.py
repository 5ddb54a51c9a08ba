"""Describe the machine for speed measurements: processor, threads and versions."""
from __future__ import annotations

import platform

from openatac.system.installed import installed_version
from openatac.system.processor import processor_name
from openatac.system.threads import thread_count

PACKAGES = ('mxnet', 'onnxruntime', 'openvino', 'torch', 'numpy')


def machine() -> dict[str, str]:
    """Return {column of a file: text} for 'device', 'threads' and 'versions'."""
    versions = [f'Python {platform.python_version()}',
                *(f'{package} {version}' for package in PACKAGES if (version := installed_version(package)))]
    return {'device': processor_name(), 'threads': str(thread_count().threads),
            'versions': ', '.join(versions)}
