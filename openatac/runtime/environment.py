"""What the environment of a process must be for MXNet to load and work in it, checked before it does.

MXNet and the libraries that come with it abort, hang or blame something else where these are wrong.
"""
import contextlib
import errno
import os
import re
import resource
import sys
import warnings
from typing import Iterator, Optional

THREADS = ('OMP_NUM_THREADS', 'MXNET_OMP_MAX_THREADS')
MOST_THREADS = 1024
# MXNet's libraries, their threads' stacks and heaps, and the smallest training: 2 GiB and as much as this.
ADDRESS_SPACE, ADDRESS_SPACE_OF_THREAD = 2 ** 31, 2 ** 27


class UnfitEnvironment(ImportError):
    """MXNet cannot be loaded in this environment."""

    def __init__(self, sentence: str):
        super().__init__(sentence, name='mxnet')


@contextlib.contextmanager
def loading_mxnet() -> Iterator[None]:
    """While open, MXNet loads; before, what would end the process without a word is an `UnfitEnvironment`."""
    check_threads()
    check_address_space()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of MXNet's age, which ``-W error`` would make the end of it
        yield


def check_threads() -> None:
    """Raise `UnfitEnvironment` for a number of threads that MXNet cannot have.

    OpenMP allows a list, with a number for each level of nested parallelism. MXNet, which has one level,
    aborts on it: it gets the first one.
    """
    for variable in THREADS:
        text = os.environ.get(variable)
        if not text:
            continue
        fields = [field.strip() for field in text.split(',')]
        if variable != 'OMP_NUM_THREADS' and len(fields) > 1 or not all(map(_is_thread_count, fields)):
            raise UnfitEnvironment(f'the environment variable {variable} is {text!r}, and must be a number '
                                   f'of threads from 1 to {MOST_THREADS}: correct it, or unset it')
        os.environ[variable] = fields[0]


def _is_thread_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 < int(text[:9]) <= MOST_THREADS and len(text) < 9


def check_address_space() -> None:
    """Raise `UnfitEnvironment` if this process may not have as much memory as MXNet takes to start."""
    shortage = lacking_memory()
    if shortage:
        raise UnfitEnvironment(shortage)


def lacking_memory() -> Optional[str]:
    """The sentence that there is too little address space (``ulimit -v``) for MXNet, or None."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    threads = os.environ.get('OMP_NUM_THREADS', '').split(',')[0]
    threads = int(threads) if _is_thread_count(threads) else os.cpu_count() or 1
    least = ADDRESS_SPACE + threads * ADDRESS_SPACE_OF_THREAD
    if limit == resource.RLIM_INFINITY or limit >= least:
        return None
    return (f'the address space of this process is limited to {limit // 2 ** 20} MiB, and MXNet needs '
            f'{least // 2 ** 20} MiB with {threads} threads: raise the limit (ulimit -v unlimited)')


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether an error may come from too little memory, whatever it says itself."""
    if isinstance(error, ImportError):  # the loader's words are the library that did not fit
        return not isinstance(error, (ModuleNotFoundError, UnfitEnvironment))
    return isinstance(error, MemoryError) or getattr(error, 'errno', None) == errno.ENOMEM


def prepare_command() -> None:
    """Undo what the environment asks of every Python program and our commands have no use for.

    Warnings made errors (``PYTHONWARNINGS=error``) are shown as warnings, since libraries warn of what
    their users cannot change. A backend of matplotlib that is not there (``MPLBACKEND``) would keep it
    from loading, and no command opens a window.
    """
    os.environ.pop('MPLBACKEND', None)
    if any(action == 'error' for action, *_ in warnings.filters):
        warnings.filters[:] = [('default' if action == 'error' else action, *rest)
                               for action, *rest in warnings.filters]
        warnings._filters_mutated()
    asked = os.environ.get('PYTHONWARNINGS')
    if asked:  # what the processes that we start get
        os.environ['PYTHONWARNINGS'] = ','.join(
            re.sub('^ *error', 'default', each) for each in asked.split(','))


def keep_docstrings(loader: object) -> None:
    """Let a module of MXNet, which builds on them, have its docstrings under ``PYTHONOPTIMIZE=2`` too."""
    if sys.flags.optimize > 1:
        loader.get_code = lambda name: compile(
            loader.get_data(loader.path), loader.path, 'exec', dont_inherit=True, optimize=0)
