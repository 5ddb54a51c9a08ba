"""Query the NVIDIA driver for GPUs."""
import ctypes
import os
import sys
from typing import NamedTuple


class Gpu(NamedTuple):
    """A GPU reported by the NVIDIA driver, with its CUDA compute capability, ``major.minor``."""

    name: str
    major: int
    minor: int


def nvidia_gpus() -> list[Gpu]:
    """Return the GPUs that the NVIDIA driver reports; none without a driver."""
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
    """Return the name of each of `nvidia_gpus` in CUDA_VISIBLE_DEVICES."""
    count = len(nvidia_gpus())
    names = os.environ.get('CUDA_VISIBLE_DEVICES')
    return list(map(str, range(count))) if names is None else names.split(',')[:count]
