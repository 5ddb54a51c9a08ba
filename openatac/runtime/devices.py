"""The devices to train on: GPUs that the driver shows, the user asks for and MXNet can use."""
import ctypes
import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from openatac.errors import DeviceError
from openatac.runtime.libraries import USE_TORCH
from openatac.runtime.threads import THREAD_VARIABLES

# The CUDA compute capabilities that mxnet-cu112 1.9.1 runs on, by major number. It has code for 5.0 to 8.6
# and no PTX, so 8.9 (Ada) runs the code of 8.6 and 9.0 (Hopper) finds no kernel image.
CAPABILITIES = range(5, 9)


class Gpu(NamedTuple):
    """A GPU as the NVIDIA driver reports it, with its CUDA compute capability, ``major.minor``."""

    name: str
    major: int
    minor: int


def nvidia_gpus() -> list[Gpu]:
    """Return the GPUs that the NVIDIA driver shows; none without a driver."""
    try:
        driver = ctypes.CDLL('nvcuda.dll' if sys.platform == 'win32' else 'libcuda.so.1')
    except OSError:
        return []
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return []
    return [_query_gpu(driver, index) for index in range(count.value)]


def _query_gpu(driver: ctypes.CDLL, index: int) -> Gpu:
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(100)
    driver.cuDeviceGet(ctypes.byref(device), index)
    driver.cuDeviceGetName(name, len(name), device)
    driver.cuDeviceGetAttribute(ctypes.byref(major), 75, device)  # ..COMPUTE_CAPABILITY_MAJOR
    driver.cuDeviceGetAttribute(ctypes.byref(minor), 76, device)  # ..COMPUTE_CAPABILITY_MINOR
    return Gpu(name.value.decode(errors='replace'), major.value, minor.value)


def visible_gpus() -> list[str]:
    """Return what CUDA_VISIBLE_DEVICES calls each of `nvidia_gpus`."""
    count, names = len(nvidia_gpus()), os.environ.get('CUDA_VISIBLE_DEVICES')
    return list(map(str, range(count))) if names is None else names.split(',')[:count]


def check_capability(index: int, gpu: Gpu) -> None:
    """Raise DeviceError if MXNet has no code for GPU ``index``, one of `nvidia_gpus`."""
    name, major, minor = gpu
    if major not in CAPABILITIES:
        torch = f'{USE_TORCH}, ' if major >= CAPABILITIES.stop else ''
        raise DeviceError(
            f'GPU {index} ({name}) has compute capability {major}.{minor}, but MXNet 1.9.1 only has code for '
            f'{CAPABILITIES[0]}.0 to {CAPABILITIES[-1]}.9: {torch}choose another GPU, or train on the CPU')


def choose_contexts(gpus: str = '', fall_back: bool = True) -> tuple[list[Any], str]:
    """Choose the devices to train on in MXNet, and say so in one line.

    Parameters
    ----------
    gpus : str
        Comma-separated indices, as in ``--gpus 0,1``; '' means the CPU.
    fall_back : bool
        Whether to use the CPU, and say so in the line, if MXNet sees no GPU at all, as the published CIFAR
        script does; otherwise that is a DeviceError.

    Returns
    -------
    contexts : list of mxnet.Context
    line : str

    Raises
    ------
    DeviceError
        For an index that does not exist, and for a GPU that MXNet has no code for.
    ValueError
        For a text that is not a list of indices.
    """
    import mxnet as mx
    from mxnet import runtime
    has_cuda = runtime.Features().is_enabled('CUDA')
    wanted, line = choose_gpus(gpus, fall_back, 'MXNet', lambda: mx.context.num_gpus() if has_cuda else 0,
                               'MXNet sees no GPU' if has_cuda else 'this MXNet is the CPU build')
    if not wanted:
        return [mx.cpu()], line
    shown = dict(enumerate(nvidia_gpus()))
    for index in wanted:
        if index in shown:
            check_capability(index, shown[index])
    names = (f'{index} ({shown[index].name if index in shown else "unnamed"})' for index in wanted)
    return [mx.gpu(index) for index in wanted], f'running on GPU {", ".join(names)}'


def context_named(device: str) -> Any:
    """Return MXNet's context of 'cpu', 'cuda' or 'cuda:1', as PyTorch names them; None if it is not here."""
    import mxnet as mx
    if device == 'cpu':
        return mx.cpu()
    kind, _, text = device.partition(':')
    has_cuda = kind == 'cuda' and mx.runtime.Features().is_enabled('CUDA')
    index = int(text) if text.isdecimal() else 0
    return mx.gpu(index) if has_cuda and index < mx.context.num_gpus() else None


def choose_gpus(gpus: str, fall_back: bool, library: str, count: Callable[[], int],
                none_seen: str) -> tuple[list[int], str]:
    """Choose the GPUs to train on, for any library; raise as `choose_contexts`.

    Parameters
    ----------
    gpus, fall_back
        As in `choose_contexts`.
    library : str
        The compute library, for messages.
    count : function
        The number of GPUs that the library sees.
    none_seen : str
        The reason if it sees none.

    Returns
    -------
    indices : list of int
        Empty for the CPU.
    line : str
        The line saying that the run is on the CPU, or ''.
    """
    wanted = parse_gpus(gpus)
    if not wanted:
        return [], describe_cpu()
    present = count()
    if not present:
        problem = f'there is no GPU {gpus} ({none_seen})'
        if not fall_back:
            raise DeviceError(problem)
        return [], f'{describe_cpu()}, as {problem}'
    if max(wanted) >= present:
        raise DeviceError(f'there is no GPU {max(wanted)} ({library} sees {present}): '
                          f'choose from 0 to {present - 1}')
    return wanted, ''


def describe_cpu() -> str:
    """Return the line saying that the run is on the CPU, and with how many threads."""
    # Not thread_count(): no number was set if MXNet was loaded before openatac.
    threads = next(filter(None, map(os.environ.get, THREAD_VARIABLES)), None)
    if not threads:
        return "running on the CPU with MXNet's own number of threads"
    return f'running on the CPU with {"1 thread" if threads == "1" else f"{threads} threads"}'


def parse_gpus(text: str) -> list[int]:
    """Return [0, 1] from '0,1'; raise ValueError for anything else."""
    fields = [field.strip() for field in text.split(',') if field.strip()]
    indices = [int(field) for field in fields if field.isdecimal()]
    if len(set(indices)) != len(fields):
        raise ValueError(f'argument --gpus: {text!r} is not a list of GPU indices like 0,1')
    return indices


def has_torch_device(device: str) -> bool:
    """Return whether PyTorch has the device."""
    import torch
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError):  # the latter if PyTorch is a CPU build
        return False
    return True
