"""MXNet's own environment variables; the user's settings always win."""
from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

FUSION_BACKEND = 'MXNET_SUBGRAPH_BACKEND'

DEFAULTS = {
    # With more OpenMP threads than processors, libgomp's threads sleep at each of the thousands of barriers
    # in a step instead of spinning (a third of the speed on 2 cores). MXNet's engine has one team of threads,
    # and a second, permanent team is created when the program's own thread copies an array of more than
    # 200,000 numbers in parallel. Copying in one thread costs nothing in comparison.
    'MXNET_CPU_PARALLEL_SIZE': str(2 ** 31 - 1),
    # Operator tuning times each elementwise operator for a few microseconds at start, and on a busy machine
    # picks at random which ones run on a single thread.
    'MXNET_USE_OPERATOR_TUNING': '0',
    # On CPUs, MXNet's executors (Module API, simple_bind) fuse operators by default, with a bug in MXNet
    # 1.9.1: if a convolution's output goes into a BatchNorm and also into a sum, as in a pre-activation
    # ResNet, the sum gets the normalised output. openatac.export.forms.fused_form is not affected.
    FUSION_BACKEND: 'NONE',
    'MXNET_SUBGRAPH_VERBOSE': '0',  # otherwise MXNet prints the backend's name at each binding
}


def set_defaults() -> None:
    """Set the variables of `DEFAULTS` that are not set yet; MXNet reads them when it loads."""
    for variable, value in DEFAULTS.items():
        os.environ.setdefault(variable, value)


@contextlib.contextmanager
def fusion_backend(backend: str | None) -> Iterator[None]:
    """Set MXNet's fusion backend within the context: 'NONE' for no fusion, None for MXNet's default."""
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
