"""The system libraries that MXNet's wheel links to, found among pip packages where the system lacks them.

MXNet's wheel expects GCC's OpenMP and quad-precision libraries to be there. A bare machine has neither,
but other wheels bring copies of both, under names with a hash in them: scikit-learn's has OpenMP, SciPy's
quad precision. Such a copy is loaded under the name that MXNet asks for, from memory: nothing is written
to the disk, so there is nothing to clean up, to share between processes or to be out of date.
"""
import contextlib
import ctypes
import os
import sys
from pathlib import Path

# In the order in which they are loaded: name -> the Debian and Ubuntu package that has it.
SYSTEM_LIBRARIES = {'libgomp.so.1': 'libgomp1', 'libquadmath.so.0': 'libquadmath0'}


def load_system_libraries() -> None:
    """Load each of `SYSTEM_LIBRARIES`, from the system or from a pip package, before MXNet asks for it.

    Where neither has one, nothing happens, and loading MXNet fails by its name.
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
    """Copies of the library ``name``, such as libgomp.so.1, that wheels on `sys.path` bring."""
    stem = name.partition('.so')[0]
    return [path for entry in sys.path for path in sorted(Path(entry or '.').glob(f'*.libs/{stem}-*.so*'))]


def _load_as(name: str, path: Path) -> None:
    """Load the library at ``path`` as if it were called ``name``.

    The loader takes a library for ``name`` if its soname says so. The one in the file, which is the file's
    own name, is longer, so that the new one fits in its place.
    """
    soname = path.name.encode() + b'\0'
    image = path.read_bytes()
    if image.count(soname) != 1 or len(name) >= len(soname):
        raise ValueError(f'{path} does not hold its own name once')
    # Never closed: the loader knows a library by its path, and the next one would get the same.
    memory = os.memfd_create(name, os.MFD_CLOEXEC)
    with open(memory, 'wb', closefd=False) as handle:
        handle.write(image.replace(soname, name.encode().ljust(len(soname), b'\0')))
    ctypes.CDLL(f'/proc/self/fd/{memory}', mode=ctypes.RTLD_GLOBAL)
