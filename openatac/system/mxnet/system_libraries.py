"""Find the system libraries that MXNet's wheel links to, in pip packages if the system lacks them.

MXNet's wheel expects GCC's OpenMP and quad-precision libraries. A bare machine has neither, but other wheels
include copies under names with a hash: scikit-learn's includes OpenMP, SciPy's quad precision. Such a copy is
loaded from memory under the name that MXNet requests. Nothing is written to disk, so nothing needs to be
cleaned up, shared between processes or kept up to date.
"""
import contextlib
import ctypes
import os
import sys
from pathlib import Path

# In loading order: name -> its Debian and Ubuntu package.
SYSTEM_LIBRARIES = {'libgomp.so.1': 'libgomp1', 'libquadmath.so.0': 'libquadmath0'}


def load_system_libraries() -> None:
    """Load each of `SYSTEM_LIBRARIES`, from the system or from a pip package, before MXNet requests it.

    If neither has it, do nothing: loading MXNet then fails with the library's name.
    """
    for name in SYSTEM_LIBRARIES:
        with contextlib.suppress(OSError):
            ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
            continue
        for path in bundled_copies(name):
            with contextlib.suppress(OSError, ValueError):
                _load_as(name, path)
                break


def bundled_copies(name: str) -> list[Path]:
    """Find copies of the library ``name``, such as libgomp.so.1, in the wheels on `sys.path`."""
    stem = name.partition('.so')[0]
    return [path for entry in sys.path for path in sorted(Path(entry or '.').glob(f'*.libs/{stem}-*.so*'))]


def _load_as(name: str, path: Path) -> None:
    """Load the library at ``path`` under the name ``name``.

    The loader uses the soname in the file. This is the file's own, longer name, so the new soname fits in its
    place.
    """
    soname = path.name.encode() + b'\0'
    image = path.read_bytes()
    if image.count(soname) != 1 or len(name) >= len(soname):
        raise ValueError(f'{path} does not contain its own name exactly once')
    # Never closed: the loader identifies a library by its path, which the next one would reuse.
    memory = os.memfd_create(name, os.MFD_CLOEXEC)
    with open(memory, 'wb', closefd=False) as handle:
        handle.write(image.replace(soname, name.encode().ljust(len(soname), b'\0')))
    ctypes.CDLL(f'/proc/self/fd/{memory}', mode=ctypes.RTLD_GLOBAL)
