"""Stand-ins for NVIDIA's libraries on a machine without a GPU, built by its C compiler."""
import shutil
import subprocess

import pytest

NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE

# The driver's functions that libmxnet.so of mxnet-cu112 binds when it loads. Without a GPU, none is called.
BOUND_BY_MXNET = (
    'cuDevicePrimaryCtxRetain', 'cuGetErrorString', 'cuGraphKernelNodeGetParams', 'cuGraphNodeGetType',
    'cuLaunchKernel', 'cuModuleGetFunction', 'cuModuleLoadData', 'cuModuleLoadDataEx', 'cuModuleUnload')

# The driver's functions that libcudart and `openatac.system.nvidia_driver.nvidia_gpus` call.
DRIVER_SOURCE = '''
#include <string.h>
int cuDriverGetVersion(int *version) { *version = 11080; return 0; }
int cuInit(unsigned flags) { return COUNT ? 0 : NO_DEVICE; }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return index < COUNT ? 0 : NO_DEVICE; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, NAME, size); return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? MAJOR : MINOR;
    return 0;
}
'''


def make_library(path, source='', needs=()):
    """Compile C source into the shared library ``path`` (its name is its soname); skip without a compiler.

    Parameters
    ----------
    path : Path
    source : str
    needs : sequence of path
        Libraries to link by their sonames alone, without their locations.
    """
    compiler = shutil.which('cc')
    if compiler is None:
        pytest.skip('no C compiler (cc) to make stand-ins for the CUDA libraries with')
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [compiler, '-shared', '-fPIC', '-x', 'c', '-', '-x', 'none', '-o', str(path),
         '-Wl,-soname,' + path.name, '-Wl,--no-as-needed', '-Wl,--allow-shlib-undefined', *map(str, needs)],
        input=source, text=True, check=True)
    return path


def make_driver(folder, gpus=0, name='', capability=(0, 0)):
    """Make a libcuda.so.1 in ``folder`` that reports ``gpus`` GPUs of one kind; return its path.

    With ``LD_LIBRARY_PATH=folder``, processes find it before a real one.
    """
    constants = {'NO_DEVICE': NO_DEVICE, 'COUNT': gpus, 'NAME': f'"{name}"',
                 'MAJOR': capability[0], 'MINOR': capability[1]}
    return make_library(folder / 'libcuda.so.1', '\n'.join(
        ['#define {} {}'.format(*constant) for constant in constants.items()] + [DRIVER_SOURCE] +
        [f'int {function}() {{ return NO_DEVICE; }}' for function in BOUND_BY_MXNET]))
