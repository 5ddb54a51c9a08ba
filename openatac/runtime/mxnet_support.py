"""Where MXNet runs, and what to do where it is missing."""
from __future__ import annotations

import platform
import sys

# The only platform on which openatac makes MXNet work; MXNet 1.9.1 has few wheels for others.
SYSTEM, MACHINES = 'linux', ('x86_64', 'amd64')
PYTHONS = (3, 9), (3, 14)
USE_TORCH = "use --engine torch, with pip install 'openatac[torch]'"


def mxnet_fits() -> bool:
    """Return whether MXNet runs on this system, processor and version of Python."""
    return (sys.platform == SYSTEM and platform.machine().lower() in MACHINES
            and PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1])


def mxnet_missing() -> str:
    """Return what to do where MXNet is not installed, for an error message."""
    version = '{}.{}'.format
    if not mxnet_fits():
        here = f'{sys.platform}, {platform.machine()}, Python {version(*sys.version_info[:2])}'
        return (f'MXNet does not run on this machine ({here}), but on x86-64 Linux with Python '
                f'{version(*PYTHONS[0])} to {version(*PYTHONS[1])}: {USE_TORCH}')
    # From 3.13 on, pip finds no NumPy that MXNet's metadata allows.
    more = (', and then pip install --no-deps mxnet==1.9.1 or mxnet-cu112==1.9.1'
            if sys.version_info[:2] >= (3, 13) else '')
    return ("MXNet is not installed: run pip install 'openatac[cpu]' for a machine without a GPU, or pip "
            f"install 'openatac[cu112]' for one with an NVIDIA GPU{more}")
