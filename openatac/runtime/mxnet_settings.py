"""MXNet's own environment variables; the user's settings always win."""
from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

FUSION_BACKEND = 'MXNET_SUBGRAPH_BACKEND'

DEFAULTS = {
    # When more OpenMP threads exist than processors, libgomp's threads sleep at each of the thousands of
    # barriers of a step instead of waiting awake (a third of the speed of 2 cores). MXNet's engine has its
    # team of threads, and another, permanent team is created when the program's own thread copies an array of
    # more than 200,000 numbers in parallel. Copying them all in one thread costs nothing in comparison.
    'MXNET_CPU_PARALLEL_SIZE': str(2 ** 31 - 1),
    # Operator tuning times each elementwise operator for a few microseconds at start, and on a busy machine
    # picks at random which ones run on a single thread.
    'MXNET_USE_OPERATOR_TUNING': '0',
    # On CPUs, MXNet's executors (of the Module API, simple_bind) fuse operators by default, and MXNet 1.9.1
    # has a bug in that: if a convolution's output goes into a BatchNorm and also into a sum, as in a
    # pre-activation ResNet, the sum gets the normalised one. The output of openatac.export.forms.fused is
    # correct and not affected.
    FUSION_BACKEND: 'NONE',
    'MXNET_SUBGRAPH_VERBOSE': '0',  # otherwise MXNet prints the backend's name at each binding
}


def set_defaults() -> None:
    """Set the variables of `DEFAULTS` that are not set yet; MXNet reads them when it loads."""
    for variable, value in DEFAULTS.items():
        os.environ.setdefault(variable, value)


@contextlib.contextmanager
def fusion_backend(backend: str | None) -> Iterator[None]:
    """Have MXNet fuse operators with ``backend`` while open: 'NONE' for no fusion, None for its own."""
    before = _set_fusion_backend(backend)
    try:
        yield
    finally:
        _set_fusion_backend(before)


def _set_fusion_backend(backend: str | None) -> str | None:
    before = os.environ.pop(FUSION_BACKEND, None)
    if backend is not None:
        os.environ[FUSION_BACKEND] = backend
    return before
