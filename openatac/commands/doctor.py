"""Report whether networks can be trained on this machine.

It works even where MXNet does not. For anything missing it prints the command that installs it.
"""
from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import openatac
from openatac.backends.mxnet.contexts import check_capability
from openatac.commands.shared.catalogue import command_parser
from openatac.errors import DeviceError
from openatac.system import cores, nvidia_driver, processor, threads
from openatac.system.child_python import python_command
from openatac.system.installed import (
    PINNED,
    USE_TORCH,
    has_cuda_wheel,
    has_mxnet,
    has_torch,
    installed_version,
    mxnet_fits,
    mxnet_missing,
    package_of,
)
from openatac.system.mxnet import cuda_libraries
from openatac.system.optional_packages import OPTIONAL_PACKAGES, pip_install

# Run in another process, so that a crash of MXNet is reported instead of ending this process.
_ASK_MXNET = '''
import openatac
try:
    import mxnet
except ImportError as error:
    if error.name != 'mxnet':
        raise
    print(json.dumps({'problem': str(error)}))
    sys.exit()
cuda = mxnet.runtime.Features().is_enabled('CUDA')
print(json.dumps({'version': mxnet.__version__, 'path': mxnet.__path__[0], 'cuda': cuda,
                  'gpus': mxnet.context.num_gpus() if cuda else 0,
                  'sum': float(mxnet.nd.ones((2, 2)).sum().asscalar())}))
'''


def main(argv: Sequence[str]) -> int:
    """Print the state of everything that training needs; return 0 if training works, else 1."""
    command_parser('doctor', __doc__).parse_args(argv)
    mxnet, problem = ask_mxnet()
    _print('Python', f'{platform.python_version()} ({sys.executable})')
    _print('openatac', f'{openatac.__version__} ({os.path.dirname(os.path.abspath(openatac.__file__))})')
    _print('NumPy', installed_version('numpy') or 'missing: pip install numpy')
    _print('MXNet', f'{mxnet["version"]}, {"CUDA" if mxnet["cuda"] else "CPU"} build ({mxnet["path"]})'
           if mxnet else problem)
    gluoncv = installed_version('gluoncv')
    _print('GluonCV', f'{gluoncv}: in your programs, import openatac before gluoncv and mxnet' if gluoncv else
           f'missing: pip install gluoncv=={PINNED["gluoncv"]}')
    _print('OpenCV', _opencv())
    _print('threads', _threads())
    _print('INT8', processor.int8_line().removeprefix('INT8: '))
    _print_gpus(mxnet)
    if has_cuda_wheel():
        missing = [library for library, path in cuda_libraries.find_cuda_libraries().items() if path is None]
        _print('CUDA 11', f"{', '.join(missing)} missing: pip install 'openatac[cu112]'" if missing else
               f'all {len(cuda_libraries.CUDA_LIBRARIES)} libraries found')
    from openatac.data.small.cifar_layouts import CIFAR_DATASETS
    from openatac.data.small.cifar_location import find_cifar, gluon_folder
    for name in CIFAR_DATASETS:
        path = find_cifar(name)
        _print(name, f'found in {path}' if path else f'not in {gluon_folder(name)}: downloaded there by '
                                                     f'openatac train-cifar --dataset {name}')
    for name, package in OPTIONAL_PACKAGES.items():
        _print(name, installed_version(name) or f'missing, for {package.purpose}: {pip_install(name)}')
    if mxnet:
        print('Training works here.')
        return 0
    if has_torch() and not has_mxnet():  # a broken MXNet would be used for the initial values
        print('Training works here with --engine torch.')
        return 0
    print('Training does not work here yet: see the line on MXNet.')
    return 1


def _print(subject: str, text: str | None) -> None:
    print(f'{subject:<13} {text}')


def ask_mxnet() -> tuple[dict[str, Any] | None, str | None]:
    """Return (facts about MXNet, None) after importing it in another process, or (None, the problem)."""
    if not has_mxnet():
        return None, mxnet_missing()
    try:
        answer = subprocess.run(python_command(_ASK_MXNET), timeout=300,
                                stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except subprocess.TimeoutExpired:
        return None, 'broken: importing it takes more than 5 minutes'
    if answer.returncode == 0:
        facts = json.loads(answer.stdout.splitlines()[-1])
        return (None, facts['problem']) if 'problem' in facts else (facts, None)
    reason = (answer.stderr.strip().splitlines() or [f'it ended with code {answer.returncode}'])[-1]
    return None, f'broken ({reason}): {_remedy(reason)}'


def _remedy(reason: str) -> str:
    """Return the command that repairs an MXNet that fails to load with ``reason``."""
    if reason.startswith('ModuleNotFoundError: No module named'):
        return 'pip install ' + package_of(reason.split("'")[1].split('.')[0])
    if not mxnet_fits():
        return USE_TORCH
    wheel = 'mxnet-cu112' if has_cuda_wheel() else 'mxnet'
    return f'pip install --force-reinstall --no-deps {wheel}=={PINNED["mxnet"]}'


def _opencv() -> str:
    from openatac.data.images.opencv import import_opencv
    try:
        return import_opencv().__version__
    except ImportError as error:
        return str(error)


def _threads() -> str:
    try:
        count, variable = threads.thread_count()
    except ImportError as error:
        return str(error)
    why = f'{variable} is set' if variable else 'one per core'
    return f'{count}: {why}; physical cores that this process may use: {cores.physical_cores()}'


def _print_gpus(mxnet: dict[str, Any] | None) -> None:
    gpus = nvidia_driver.nvidia_gpus()
    if not gpus:
        _print('GPU', 'no NVIDIA GPU found')
    for index, gpu in enumerate(gpus):
        _print(f'GPU {index}', f'{gpu.name}, compute capability {gpu.major}.{gpu.minor}: '
                               f'{_gpu_use(index, gpu, mxnet)}')


def _gpu_use(index: int, gpu: nvidia_driver.Gpu, mxnet: dict[str, Any] | None) -> str:
    """Return whether MXNet can train on the GPU, or what prevents it."""
    try:
        check_capability(index, gpu)
    except DeviceError as error:
        return f'not usable by MXNet: {error}'
    if not mxnet:
        return f'not usable without MXNet: {USE_TORCH}'
    if not mxnet['cuda']:
        return "usable after pip uninstall mxnet and pip install 'openatac[cu112]'"
    return 'usable' if index < mxnet['gpus'] else 'MXNet does not see it: update the driver'
