"""Check whether MXNet and PyTorch are installed, and advise what to do if one is missing."""
from __future__ import annotations

import contextlib
import importlib.util
import platform
import sys

from openatac.system.optional_packages import pip_install

# The only platform that openatac supports for MXNet; MXNet 1.9.1 has few wheels for others.
SYSTEM, MACHINES = 'linux', ('x86_64', 'amd64')
PYTHONS = (3, 9), (3, 14)
USE_TORCH = f'use PyTorch ({pip_install("torch")}) with --engine torch'
_PACKAGES = {'PIL': 'Pillow', 'cv2': 'opencv-contrib-python-headless', 'distutils': 'setuptools',
             'sklearn': 'scikit-learn', 'yaml': 'PyYAML'}
NO_PYTORCH = f'PyTorch is not installed: run {pip_install("torch")}'
PINNED = {'mxnet': '1.9.1', 'gluoncv': '0.10.5.post0'}  # the last releases of projects that have ended


def package_of(module: str) -> str:
    """Return the pip package of a module."""
    return _PACKAGES.get(module, module)


def installed_version(package: str) -> str | None:
    """Return the version of an installed pip package, or None."""
    from importlib import metadata
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return None


def has_mxnet() -> bool:
    """Return whether MXNet is installed, without loading it."""
    spec = importlib.util.find_spec('mxnet')
    return spec is not None and spec.origin is not None  # the import hook finds a missing MXNet without one


def has_cuda_wheel() -> bool:
    """Return whether the installed MXNet is the CUDA 11.2 build."""
    return installed_version('mxnet-cu112') is not None


def require_mxnet() -> None:
    """Raise ModuleNotFoundError, with the command to run, if MXNet is not installed; do not load it."""
    if not has_mxnet():
        raise ModuleNotFoundError(mxnet_missing(), name='mxnet')


def has_torch() -> bool:
    """Return whether PyTorch is installed, without loading it."""
    return importlib.util.find_spec('torch') is not None


def require_torch() -> None:
    """Raise ModuleNotFoundError, with the command to run, if PyTorch is not installed; do not load it."""
    if not has_torch():
        raise ModuleNotFoundError(NO_PYTORCH, name='torch')


def mxnet_fits() -> bool:
    """Return whether MXNet runs on this system, processor and Python version."""
    return (sys.platform == SYSTEM and platform.machine().lower() in MACHINES
            and PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1])


def mxnet_missing() -> str:
    """Return an error message for a missing MXNet, with advice."""
    version = '{}.{}'.format
    if not mxnet_fits():
        here = f'{sys.platform}, {platform.machine()}, Python {version(*sys.version_info[:2])}'
        return (f'MXNet runs only on x86-64 Linux with Python {version(*PYTHONS[0])} to '
                f'{version(*PYTHONS[1])}, but this machine is {here}: {USE_TORCH}')
    # From 3.13 on, pip finds no NumPy that MXNet's metadata allows.
    release = PINNED['mxnet']
    more = (f', and then pip install --no-deps mxnet=={release} or mxnet-cu112=={release}'
            if sys.version_info[:2] >= (3, 13) else '')
    return ("MXNet is not installed: run pip install 'openatac[cpu]' for a machine without a GPU, or pip "
            f"install 'openatac[cu112]' for one with an NVIDIA GPU{more}; to train without MXNet, "
            f'{USE_TORCH}')
