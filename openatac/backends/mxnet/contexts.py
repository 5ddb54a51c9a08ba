"""MXNet's devices: the CPU, and the GPUs that it supports."""
from typing import Any

from openatac.backends.devices import choose_gpus
from openatac.errors import DeviceError
from openatac.system import nvidia_driver
from openatac.system.installed import USE_TORCH
from openatac.system.nvidia_driver import Gpu

# The CUDA compute capabilities that mxnet-cu112 1.9.1 runs on, by major number. It has code for 5.0 to 8.6
# and no PTX, so 8.9 (Ada) runs the code of 8.6 and 9.0 (Hopper) finds no kernel image.
CAPABILITIES = range(5, 9)


def check_capability(index: int, gpu: Gpu) -> None:
    """Raise DeviceError if MXNet has no code for GPU ``index``, which the driver reports as ``gpu``."""
    name, major, minor = gpu
    if major not in CAPABILITIES:
        torch = f'{USE_TORCH}, ' if major >= CAPABILITIES.stop else ''
        raise DeviceError(
            f'GPU {index} ({name}) has compute capability {major}.{minor}, but MXNet 1.9.1 only has code for '
            f'{CAPABILITIES[0]}.0 to {CAPABILITIES[-1]}.9: {torch}choose another GPU, or train on the CPU')


def choose_contexts(gpus: str = '', fall_back: bool = True) -> tuple[list[Any], str]:
    """Choose MXNet's devices to train on, and describe them in one line.

    Parameters
    ----------
    gpus, fall_back
        As in `openatac.backends.devices.choose_gpus`.

    Returns
    -------
    contexts : list of mxnet.Context
    line : str

    Raises
    ------
    DeviceError, FlagError
        As in `choose_gpus`, and for a GPU that MXNet has no code for.
    """
    import mxnet as mx
    from mxnet import runtime
    has_cuda = runtime.Features().is_enabled('CUDA')
    wanted, line = choose_gpus(gpus, fall_back, 'MXNet', lambda: mx.context.num_gpus() if has_cuda else 0,
                               'MXNet sees no GPU' if has_cuda else 'this MXNet is the CPU build')
    if not wanted:
        return [mx.cpu()], line
    shown = dict(enumerate(nvidia_driver.nvidia_gpus()))
    for index in wanted:
        if index in shown:
            check_capability(index, shown[index])
    names = (f'{index} ({shown[index].name if index in shown else "unnamed"})' for index in wanted)
    return [mx.gpu(index) for index in wanted], f'running on GPU {", ".join(names)}'


def context_named(device: str) -> Any:
    """Return MXNet's context for PyTorch's 'cpu', 'cuda' or 'cuda:1'; None if this machine lacks it."""
    import mxnet as mx
    if device == 'cpu':
        return mx.cpu()
    kind, _, text = device.partition(':')
    has_cuda = kind == 'cuda' and mx.runtime.Features().is_enabled('CUDA')
    index = int(text) if text.isdecimal() else 0
    return mx.gpu(index) if has_cuda and index < mx.context.num_gpus() else None
