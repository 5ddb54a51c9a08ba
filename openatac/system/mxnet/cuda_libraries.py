"""Find the CUDA 11 libraries for MXNet's CUDA build, where ``openatac[cu112]`` installs them."""
from __future__ import annotations

import contextlib
import ctypes
import os
import sys

from openatac.system.installed import has_cuda_wheel

# Each after the libraries it needs: name -> its folder within its package.
# (PyTorch's packages contain libraries for CUDA 12 and 13, some under the same names.)
CUDA_LIBRARIES = {
    'libcudart.so.11.0': 'cuda_runtime', 'libnvrtc.so.11.2': 'cuda_nvrtc', 'libnvToolsExt.so.1': 'nvtx',
    'libcublasLt.so.11': 'cublas', 'libcublas.so.11': 'cublas', 'libcufft.so.10': 'cufft',
    'libcurand.so.10': 'curand', 'libcusolver.so.11': 'cusolver', 'libcudnn.so.8': 'cudnn',
    'libnccl.so.2': 'nccl',
}


def find_cuda_libraries() -> dict[str, str | None]:
    """Return the path of each of `CUDA_LIBRARIES` among the installed nvidia packages, or None."""
    libraries = {}
    for library, package in CUDA_LIBRARIES.items():
        paths = (os.path.join(entry, 'nvidia', package, 'lib', library) for entry in sys.path)
        libraries[library] = next((path for path in paths if os.path.isfile(path)), None)
    return libraries


def load_cuda_libraries() -> None:
    """Load the installed CUDA 11 libraries, so MXNet's CUDA build finds them by name."""
    if not has_cuda_wheel():
        return
    for path in find_cuda_libraries().values():
        if path:
            with contextlib.suppress(OSError):  # MXNet's own import then names what is missing
                ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
