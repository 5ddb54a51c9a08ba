"""glibc keeps the memory that MXNet frees."""
import pytest

from tests.helpers.processes.fresh_python import output_of


@pytest.mark.parametrize('variables, kept', [
    ({}, True),
    ({'GLIBC_TUNABLES': 'glibc.malloc.mmap_threshold=131072'}, False),
    ({'MALLOC_MMAP_THRESHOLD_': '131072'}, False),
])
def test_freed_memory_is_kept_unless_the_user_configures_malloc(package, variables, kept):
    path = package('')
    code = """
import ctypes, resource
import openatac, mxnet
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    block = libc.malloc(2 ** 24)
    ctypes.memset(block, 1, 2 ** 24)
    libc.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    faults = int(output_of(code, path=path, **variables))
    assert (faults < 20000) == kept, faults
