"""MXNet 1.9.1 made to work on today's Python, NumPy and machines.

MXNet was retired in 2023. Importing this module (``import openatac`` does) loads no MXNet; it
installs an import hook, so that any later ``import mxnet``, ours or the user's own,

* finds the names that NumPy has dropped since 1.20, without putting them into NumPy;
* runs with one thread per physical core that this process may use (MXNet's own default is half
  of the processors it sees, which halves the speed where there are no hyper-threads), which wait
  for work awake, and with memory that is not given back and taken again in every step;
* finds the CUDA 11 libraries that ``pip install 'openatac[cu112]'`` brought.

Without MXNet, ``import mxnet`` fails in one sentence that says what to install.
"""
import contextlib
import ctypes
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Iterator

from openatac.errors import DeviceError
from openatac.runtime import environment
from openatac.runtime.libraries import SYSTEM_LIBRARIES, load_system_libraries
from openatac.runtime.old_numpy import PRINTING_MODULES, builtins_with_old_numpy, printer

MISSING = ("MXNet is not installed: run pip install 'openatac[cpu]' for a machine without a GPU, "
           "or pip install 'openatac[cu112]' for one with an NVIDIA GPU")
if sys.version_info >= (3, 13):  # where pip would not find a NumPy that MXNet's metadata allows
    MISSING += ', and then pip install --no-deps mxnet==1.9.1 or mxnet-cu112==1.9.1'

FUSING_BACKEND = 'MXNET_SUBGRAPH_BACKEND'
SPINS = '20000'  # of a thread that waits, before it sleeps: 0.1 to 1 ms, as processors differ

# The CUDA compute capabilities that mxnet-cu112 1.9.1 runs on, by major number. It holds code for
# 5.0 to 8.6 and no PTX, so 8.9 (Ada) runs the code of 8.6 and 9.0 (Hopper) finds no kernel image.
CAPABILITIES = range(5, 9)


# ----------------------------------------------------------------------------- import hook

class _Finder:
    """Finds ``mxnet``, its submodules and ``gluoncv`` where they are, and has a say when they load."""

    def __init__(self):
        self._builtins = None

    def find_spec(self, fullname, path=None, target=None):
        if fullname == 'gluoncv':
            spec = self._find_elsewhere(fullname, path, target)
            if spec is not None:
                _load_within(spec.loader, _gluoncv_alone)
            return spec
        if fullname != 'mxnet' and not fullname.startswith('mxnet.'):
            return None
        spec = self._find_elsewhere(fullname, path, target)
        if spec is None and fullname == 'mxnet':
            # Not None, after which Python would fail in words of its own; not an error either,
            # which would break those who only ask whether there is an MXNet.
            return importlib.machinery.ModuleSpec(fullname, _MissingLoader())
        if spec is not None and spec.origin and spec.origin.endswith('.py'):
            self._wrap(spec.loader)
        return spec

    def _find_elsewhere(self, fullname, path, target):
        """What the finders behind this one find."""
        for finder in sys.meta_path[sys.meta_path.index(self) + 1:]:
            if hasattr(finder, 'find_spec'):  # the one of an old six, for instance, has it not
                spec = finder.find_spec(fullname, path, target)
                if spec is not None:
                    return spec
        return None

    def _wrap(self, loader):
        """Let the loader's modules run with the old NumPy, and prepare for the first of them."""
        environment.keep_docstrings(loader)
        execute = loader.exec_module

        def exec_module(module):
            if self._builtins is None:
                self._builtins = builtins_with_old_numpy()
            module.__dict__['__builtins__'] = self._builtins
            if module.__name__ in PRINTING_MODULES:
                module.__dict__['str'] = printer()
            if module.__name__ == 'mxnet':
                with _libraries_in_reach():
                    execute(module)
            else:
                execute(module)

        loader.exec_module = exec_module


def _load_within(loader, context):
    """Let the loader execute its module within ``context()``."""
    execute = loader.exec_module

    def exec_module(module):
        with context():
            execute(module)

    loader.exec_module = exec_module


class _NoTorch:
    """Finds no torch."""

    @staticmethod
    def find_spec(fullname, path=None, target=None):
        if fullname == 'torch':
            raise ModuleNotFoundError('torch is hidden while gluoncv loads', name='torch')


@contextlib.contextmanager
def _gluoncv_alone():
    """While GluonCV loads: no PyTorch, beside whose version 2 it refuses to, and no say in how Pillow reads.

    It lets Pillow pass images that are cut short, for everyone in the process.
    """
    with contextlib.suppress(ImportError):
        importlib.import_module('mxnet')  # which may well see PyTorch
    torch = sys.modules.pop('torch', None)
    passes = getattr(sys.modules.get('PIL.ImageFile'), 'LOAD_TRUNCATED_IMAGES', False)
    sys.meta_path.insert(0, _NoTorch)
    try:
        yield
    finally:
        sys.meta_path.remove(_NoTorch)
        if torch is not None:
            sys.modules['torch'] = torch
        if 'PIL.ImageFile' in sys.modules:
            sys.modules['PIL.ImageFile'].LOAD_TRUNCATED_IMAGES = passes


class _MissingLoader:
    """Stands for an MXNet that is not installed."""

    @staticmethod
    def create_module(spec):
        raise ModuleNotFoundError(MISSING, name='mxnet')

    @staticmethod
    def exec_module(module):
        """Part of the loader protocol; never reached."""


def require_mxnet():
    """Raise ModuleNotFoundError, in one sentence, if MXNet is not installed; loads nothing."""
    spec = importlib.util.find_spec('mxnet')
    if isinstance(spec.loader, _MissingLoader):
        raise ModuleNotFoundError(MISSING, name='mxnet')


def install():
    """Put the import hook in place, instead of one from before a reload; done on import."""
    sys.meta_path[:] = [finder for finder in sys.meta_path
                        if getattr(finder, '__module__', None) != __name__]
    sys.meta_path.insert(0, _Finder())


@contextlib.contextmanager
def _libraries_in_reach():
    """While MXNet's library loads: threads and CUDA as it needs them, and a sentence if it can't."""
    set_threads()
    try:
        with environment.loading_mxnet():
            keep_threads_awake()
            keep_freed_memory()
            keep_graphs_right()
            with sharing_the_machine():
                load_system_libraries()
            load_cuda_libraries()
            yield
    except OSError as error:
        raise ImportError(_cannot_load(error), name='mxnet') from error


def _cannot_load(error):
    """The sentence for the OSError in which the system says why it did not load MXNet's library."""
    named = str(error).split(':')[0]
    if named in SYSTEM_LIBRARIES:
        package = SYSTEM_LIBRARIES[named]
        return (f"MXNet cannot load here ({error}): run pip install 'openatac[cpu]', which brings that "
                f"library, or install the system's own (Debian, Ubuntu: apt install {package})")
    if not has_cuda_wheel():
        return f'MXNet cannot load here ({error}): install the system library that it names'
    missing = [library for library, path in find_cuda_libraries().items() if path is None]
    if named in missing:
        mending = "pip install 'openatac[cu112]' brings " + ', '.join(missing)
    elif named == 'libcuda.so.1':
        mending = 'it comes with the NVIDIA driver, which must be installed'
    else:
        mending = "it needs the NVIDIA driver and the libraries of pip install 'openatac[cu112]'"
    return ("the CUDA build of MXNet cannot load here (%s): %s; for a machine without a GPU run "
            "pip uninstall mxnet-cu112 and then pip install 'openatac[cpu]'" % (error, mending))


# --------------------------------------------------------------------------------- threads

def set_threads():
    """One OpenMP thread per physical core, unless the user has chosen; before MXNet loads."""
    threads, chosen_by_user = thread_count()
    if not chosen_by_user:
        os.environ['OMP_NUM_THREADS'] = threads


def keep_threads_awake():
    """MXNet's settings under which a step's threads never sleep; the user's own win; before it loads.

    When more OpenMP threads exist than processors, libgomp's threads sleep at each of the thousands
    of barriers of a step instead of waiting awake (a third of the speed of 2 cores). MXNet's engine
    has its team of threads, and one more team is made for good when the program's own thread copies
    an array of over 200,000 numbers in parallel: to copy none so costs nothing beside that.

    Operator tuning times each elementwise operator for some microseconds at start, and on a busy
    machine decides by chance which ones run on a single thread.
    """
    os.environ.setdefault('MXNET_CPU_PARALLEL_SIZE', str(2 ** 31 - 1))
    os.environ.setdefault('MXNET_USE_OPERATOR_TUNING', '0')


@contextlib.contextmanager
def sharing_the_machine() -> Iterator[None]:
    """While open, libgomp loads set up for a machine that others use as well; the user's own settings win.

    Left to itself, a thread waits awake at a barrier for some milliseconds, longer than the scheduler lets
    it run at a time, and oneDNN's own barriers never sleep. Beside another busy process the scheduler
    moves all threads of a step onto one core, where each of the hundreds of barriers costs a time slice:
    two trainings on two cores ran at a tenth of their speed. Bound to one core each, the threads keep
    running at the same time, and with shorter waits what they do not use goes to others. The bits of the
    results stay.

    libgomp reads its variables when it loads, and binds the thread that loads it. Neither is left behind:
    child processes would inherit the variables, and every later thread the single core.
    """
    settings = {}
    if not _any_set('GOMP_SPINCOUNT', 'OMP_WAIT_POLICY'):
        settings['GOMP_SPINCOUNT'] = SPINS
    binds = _has_a_thread_for_each_core() and not _any_set('OMP_PROC_BIND', 'OMP_PLACES', 'GOMP_CPU_AFFINITY')
    if binds:
        settings.update(OMP_PROC_BIND='true', OMP_PLACES='cores')
    allowed = _allowed_processors()
    os.environ.update(settings)
    try:
        yield
    finally:
        for name in settings:
            del os.environ[name]
        if binds:
            os.sched_setaffinity(0, allowed)


def _has_a_thread_for_each_core() -> bool:
    """Whether threads may be bound: fewer than cores, of several processes, would crowd on the first ones.

    Nor with MXNet's CUDA build, whose trainings keep few processors busy, and would all choose the first.
    """
    cores = len(_cores())
    return (hasattr(os, 'sched_setaffinity') and not has_cuda_wheel()
            and 1 < cores == physical_cores() and thread_count()[0] == str(cores))


def _any_set(*variables: str) -> bool:
    return any(os.environ.get(variable) for variable in variables)


def keep_graphs_right():
    """Let MXNet's executors (the Module API's, simple_bind's) run a graph as it is; the user's own wins.

    On CPUs they fuse operators unasked, and MXNet 1.9.1 makes a mistake in that: where a convolution's
    output goes into a BatchNorm and also into a sum, as in a pre-activation ResNet, the sum gets the
    normalised one. What openatac.export.fuse makes is right, and not affected.
    """
    os.environ.setdefault(FUSING_BACKEND, 'NONE')
    os.environ.setdefault('MXNET_SUBGRAPH_VERBOSE', '0')  # or MXNet names the backend at each binding


@contextlib.contextmanager
def fusing_by(backend):
    """While open, executors are fused by ``backend``: 'NONE' fuses nothing, None is MXNet's own choice."""
    before = _fuse_by(backend)
    try:
        yield
    finally:
        _fuse_by(before)


def _fuse_by(backend):
    before = os.environ.pop(FUSING_BACKEND, None)
    if backend is not None:
        os.environ[FUSING_BACKEND] = backend
    return before


@contextlib.contextmanager
def silence():
    """While open, nothing that MXNet's library says of its own accord reaches standard error."""
    try:
        standard_error = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    with open(os.devnull, 'w') as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)


def keep_freed_memory():
    """Let glibc keep what MXNet frees, unless the user has set up malloc; before MXNet loads.

    MXNet allocates and frees some hundred arrays of megabytes in every step. By default glibc gives
    them back to the system at thresholds that depend on the history of the process, and each step
    may then fault in up to a hundred thousand pages anew, which costs up to a third of its time.
    """
    tunables = os.environ.get('GLIBC_TUNABLES', '')
    if 'glibc.malloc.' in tunables or any(name.startswith('MALLOC_') for name in os.environ):
        return
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-1, 2 ** 30)  # M_TRIM_THRESHOLD: give back the heap's top from 1 GiB on
        mallopt(-3, 2 ** 25)  # M_MMAP_THRESHOLD: map single arrays from 32 MiB on, its maximum


def thread_count():
    """The number of threads for MXNet, as text, and the variable by which the user set it or None.

    The user's own ``OMP_NUM_THREADS`` or ``MXNET_OMP_MAX_THREADS`` wins. Otherwise it is one per
    physical core, and no more than ``OMP_THREAD_LIMIT``, which OpenMP would not exceed anyway.

    Raises ImportError, in a sentence, if what the user set is not a number of threads.
    """
    environment.check_threads()
    for variable in ('OMP_NUM_THREADS', 'MXNET_OMP_MAX_THREADS'):
        if os.environ.get(variable):
            return os.environ[variable], variable
    limit = os.environ.get('OMP_THREAD_LIMIT', '')
    if limit.isdecimal() and 0 < int(limit) < physical_cores():
        return limit, None
    return str(physical_cores()), None


def physical_cores(root='/'):
    """Physical cores that this process may use: within its affinity and its cgroup's CPU quota.

    root: where sys/ and proc/ are.
    """
    cores, quota = _cores(root), _cgroup_quota(root)
    return max(1, min(len(cores), int(quota + 0.5)) if quota else len(cores))


def _cores(root='/'):
    """The physical cores within this process's affinity, whatever its quota."""
    topology = os.path.join(root, 'sys/devices/system/cpu/cpu%d/topology/thread_siblings_list')
    return {_read(topology % cpu) or cpu for cpu in _allowed_processors()}


def _allowed_processors():
    if hasattr(os, 'sched_getaffinity'):
        return os.sched_getaffinity(0)
    return range(os.cpu_count() or 1)


def _cgroup_quota(root):
    """The CPU quota in processors (cgroup v2 and v1, the tightest of all levels), or None."""
    limits = []
    for line in (_read(os.path.join(root, 'proc/self/cgroup')) or '').splitlines():
        _, controllers, group = line.split(':', 2)
        if controllers and 'cpu' not in controllers.split(','):  # v2 names no controllers
            continue
        folder = os.path.join(root, 'sys/fs/cgroup', controllers)
        limits.append(_quota_of(folder))
        for part in group.strip('/').split('/'):
            folder = os.path.join(folder, part)
            limits.append(_quota_of(folder))
    return min((limit for limit in limits if limit), default=None)


def _quota_of(folder):
    """The quota that one cgroup's folder sets, in processors, or None."""
    both = _read(os.path.join(folder, 'cpu.max'))  # v2: 'max 100000' or '150000 100000'
    if both is None:
        both = '%s %s' % (_read(os.path.join(folder, 'cpu.cfs_quota_us')),  # v1: -1 for no limit
                          _read(os.path.join(folder, 'cpu.cfs_period_us')))
    try:
        quota, period = map(int, both.split())
    except ValueError:  # 'max', or no such file
        return None
    return quota / period if quota > 0 and period > 0 else None


def _read(path):
    try:
        with open(path) as handle:
            return handle.read().strip()
    except OSError:
        return None


# ------------------------------------------------------------------------------------ CUDA

# What libmxnet.so of mxnet-cu112 links to, in an order in which each finds what it needs, and the folder
# in which its package has it. (PyTorch's packages have libraries of CUDA 12 and 13, some under such names.)
CUDA_LIBRARIES = {
    'libcudart.so.11.0': 'cuda_runtime', 'libnvrtc.so.11.2': 'cuda_nvrtc', 'libnvToolsExt.so.1': 'nvtx',
    'libcublasLt.so.11': 'cublas', 'libcublas.so.11': 'cublas', 'libcufft.so.10': 'cufft',
    'libcurand.so.10': 'curand', 'libcusolver.so.11': 'cusolver', 'libcudnn.so.8': 'cudnn',
    'libnccl.so.2': 'nccl',
}


def has_cuda_wheel():
    """Whether the installed MXNet is the CUDA 11.2 build."""
    from importlib.metadata import PackageNotFoundError, distribution
    try:
        distribution('mxnet-cu112')
    except PackageNotFoundError:
        return False
    return True


def find_cuda_libraries():
    """{library: path or None} for each of CUDA_LIBRARIES among the pip-installed nvidia packages."""
    found = {}
    for library, package in CUDA_LIBRARIES.items():
        paths = (os.path.join(entry, 'nvidia', package, 'lib', library) for entry in sys.path)
        found[library] = next((path for path in paths if os.path.isfile(path)), None)
    return found


def load_cuda_libraries():
    """Load the pip-installed CUDA 11 libraries, so that the CUDA wheel finds them by name."""
    if not has_cuda_wheel():
        return
    for path in find_cuda_libraries().values():
        if path:
            with contextlib.suppress(OSError):  # MXNet's own import then names what is missing
                ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)


# --------------------------------------------------------------------------------- devices

def nvidia_gpus():
    """[(name, major, minor)] of each GPU that the NVIDIA driver shows; [] without a driver."""
    try:
        driver = ctypes.CDLL('libcuda.so.1')
    except OSError:
        return []
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return []
    return [_describe_gpu(driver, index) for index in range(count.value)]


def _describe_gpu(driver, index):
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(100)
    driver.cuDeviceGet(ctypes.byref(device), index)
    driver.cuDeviceGetName(name, len(name), device)
    driver.cuDeviceGetAttribute(ctypes.byref(major), 75, device)  # ..COMPUTE_CAPABILITY_MAJOR
    driver.cuDeviceGetAttribute(ctypes.byref(minor), 76, device)  # ..COMPUTE_CAPABILITY_MINOR
    return name.value.decode(errors='replace'), major.value, minor.value


def check_capability(index, gpu):
    """Raise DeviceError if MXNet holds no code for GPU ``index``, one of `nvidia_gpus`."""
    name, major, minor = gpu
    if major not in CAPABILITIES:
        torch = "train with --engine torch (pip install 'openatac[torch]'), " if major >= 9 else ''
        raise DeviceError(
            'GPU %d (%s) has compute capability %d.%d, and MXNet 1.9.1 holds code for 5.0 to 8.9 only: '
            '%schoose another GPU by --gpus, or train on the CPU with --gpus ""'
            % (index, name, major, minor, torch))


def contexts(gpus='', fall_back=True):
    """The devices to train on, and one line that says so.

    Parameters
    ----------
    gpus : str
        Comma-separated indices, as in ``--gpus 0,1``; '' means the CPU.
    fall_back : bool
        Whether the CPU takes over (the line says so) where MXNet can see no GPU at all, as in the
        published CIFAR script; otherwise that is a DeviceError.

    Returns
    -------
    (list of mxnet.Context, str)

    Raises
    ------
    DeviceError
        For an index that does not exist, and a GPU that MXNet holds no code for.
    ValueError
        For a text that is not a list of indices.
    """
    import mxnet as mx
    has_cuda = mx.runtime.Features().is_enabled('CUDA')
    wanted, line = choose_gpus(gpus, fall_back, 'MXNet', lambda: mx.context.num_gpus() if has_cuda else 0,
                               'MXNet sees no GPU' if has_cuda else 'this MXNet is the CPU build')
    if not wanted:
        return [mx.cpu()], line
    shown = dict(enumerate(nvidia_gpus()))
    for index in wanted:
        if index in shown:
            check_capability(index, shown[index])
    names = ('%d (%s)' % (index, shown[index][0] if index in shown else 'unnamed') for index in wanted)
    return [mx.gpu(index) for index in wanted], 'running on GPU ' + ', '.join(names)


def choose_gpus(gpus, fall_back, library, count, none_seen):
    """([indices of GPUs], '') or ([], the line that says that the CPU computes); errors as of `contexts`.

    library, count : what computes, and a function that says how many GPUs it sees; none_seen : words for 0
    """
    wanted = parse_gpus(gpus)
    if not wanted:
        return [], cpu_line()
    present = count()
    if not present:
        problem = 'GPU %s was asked for, but %s' % (gpus, none_seen)
        if not fall_back:
            raise DeviceError(problem)
        return [], '%s (%s)' % (cpu_line(), problem)
    if max(wanted) >= present:
        raise DeviceError('GPU %d was asked for, but %s sees %d: choose from 0 to %d'
                          % (max(wanted), library, present, present - 1))
    return wanted, ''


def cpu_line():
    # Not thread_count(): nothing set a number if MXNet was there before openatac.
    threads = os.environ.get('OMP_NUM_THREADS') or os.environ.get('MXNET_OMP_MAX_THREADS')
    return 'running on the CPU with %s' % (
        '%s thread%s' % (threads, '' if threads == '1' else 's') if threads
        else "MXNet's own number of threads")


def parse_gpus(text):
    """[0, 1] from '0,1'; ValueError in one sentence for anything else."""
    fields = [field.strip() for field in text.split(',') if field.strip()]
    if not all(field.isdecimal() for field in fields) or len(set(fields)) != len(fields):
        raise ValueError('%r is not a list of GPU indices like 0,1' % text)
    return [int(field) for field in fields]


install()
