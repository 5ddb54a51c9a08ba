"""Load MXNet: check and set up the environment first, and explain failures."""
import contextlib
import warnings
from collections.abc import Iterator

from openatac.errors import UnfitEnvironment
from openatac.system import memory, threads
from openatac.system.installed import USE_TORCH, has_cuda_wheel, mxnet_fits
from openatac.system.mxnet import cuda_libraries, settings, system_libraries


@contextlib.contextmanager
def loading_mxnet() -> Iterator[None]:
    """Prepare the process for MXNet, which loads while the context is open.

    Raises
    ------
    UnfitEnvironment
        If MXNet would end the process without a message, for a bad number of threads or too little memory.
    ImportError
        If its library cannot load; the message explains what to install.
    """
    threads.set_threads()
    try:
        shortage = memory.memory_shortage()
        if shortage:
            raise UnfitEnvironment(shortage)
        settings.set_defaults()
        memory.keep_freed_memory()
        with threads.openmp_for_shared_machine():
            system_libraries.load_system_libraries()
        cuda_libraries.load_cuda_libraries()
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # about MXNet's age, which ``-W error`` would turn into errors
            yield
    except OSError as error:
        raise ImportError(_explain(error), name='mxnet') from error


def _explain(error: OSError) -> str:
    """Return a message with advice for the system's error on loading MXNet's library."""
    if not mxnet_fits():
        return f'MXNet cannot load here ({error}): {USE_TORCH}'
    named = str(error).split(':')[0]
    package = system_libraries.SYSTEM_LIBRARIES.get(named)
    if package:
        return (f"MXNet cannot load here ({error}): run pip install 'openatac[cpu]', which brings that "
                f"library, or install the system's own (Debian, Ubuntu: apt install {package})")
    if not has_cuda_wheel():
        return f'MXNet cannot load here ({error}): install the system library named there'
    missing = [library for library, path in cuda_libraries.find_cuda_libraries().items() if path is None]
    if named in missing:
        remedy = f"pip install 'openatac[cu112]' brings {', '.join(missing)}"
    elif named == 'libcuda.so.1':
        remedy = 'it comes with the NVIDIA driver, which must be installed'
    else:
        remedy = "it needs the NVIDIA driver and the libraries of pip install 'openatac[cu112]'"
    return (f'the CUDA build of MXNet cannot load here ({error}): {remedy}; for a machine without a GPU run '
            "pip uninstall mxnet-cu112 and then pip install 'openatac[cpu]'")
