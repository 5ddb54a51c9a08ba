"""openatac.runtime: the import hook, threads, CUDA libraries and devices.

Much of it is tried on small packages that stand for MXNet, in processes of their own, since in
this process MXNet is loaded already.
"""
import ctypes
import os
import re
import sys
import types

import numpy as np
import pytest

from openatac.errors import DeviceError
from openatac.runtime import cores, cuda_libraries, devices, system_libraries, threads
from tests.helpers.fresh_python import output_of, run_python
from tests.helpers.stub_driver import make_library

# ------------------------------------------------------------------- MXNet itself, as installed

NUMPY_IS_LEFT_ALONE = '''
import warnings
warnings.simplefilter('always')
import importlib, types, numpy
before = dict(vars(numpy))
with warnings.catch_warnings(record=True) as seen:
    import openatac, mxnet as mx
    for name in ('contrib.quantization', 'contrib.onnx', 'test_utils', 'gluon.contrib.estimator'):
        importlib.import_module('mxnet.' + name)
    importlib.reload(mx.metric)
print([name for name, value in vars(numpy).items()
       if before.get(name) is not value and not isinstance(value, types.ModuleType)])
print([str(w.message) for w in seen if 'np.' in str(w.message) or 'numpy' in str(w.message)
       or issubclass(w.category, FutureWarning)])
print(mx.metric.Accuracy().get()[0], mx.runtime.__loader__.__class__.__name__)
'''


def test_numpy_is_left_alone_by_imports_late_imports_and_reloads():
    assert output_of(NUMPY_IS_LEFT_ALONE).splitlines() == ['[]', '[]', 'accuracy SourceFileLoader']


def test_mxnet_has_its_old_numpy_names_at_run_time():
    import mxnet as mx
    x = mx.np.array([1., 2., 3.])
    assert x[x > 1].asnumpy().tolist() == [2, 3]
    x[x > 2] = 0
    assert x.asnumpy().tolist() == [1, 2, 0]
    assert mx.np.ones((2, 3))[[True, False]].shape == (1, 3)
    assert mx.np.array([True, False]).asnumpy().tolist() == [True, False]
    assert mx.np.pad(mx.np.ones((1, 1)), ((1, 1), (1, 1)), mode='constant').shape == (3, 3)
    assert float(mx.np.trapz(mx.np.ones(3))) == 2
    assert mx.test_utils.default_rtols()[np.dtype(bool)] == 0


@pytest.mark.parametrize('number', [np.int64, np.int32, int])
def test_numbers_of_numpy_reach_operators_as_text_that_mxnet_reads(number):
    import mxnet as mx
    two = number(2)
    x = mx.nd.arange(9).reshape((number(3), number(3)))
    assert mx.nd.slice(x, begin=(number(0), None), end=(two, two)).shape == (2, 2)
    assert mx.nd.zeros((two, number(3))).shape == (2, 3)
    assert mx.nd.tile(x, reps=[two, number(1)]).shape == (6, 3)
    variable = mx.sym.Variable('x', shape=(two, number(3)))
    symbol = mx.sym.reshape(variable, shape=(number(3), two))
    assert symbol.infer_shape()[1] == [(3, 2)]
    assert 'np.' not in symbol.tojson()
    convolution = mx.gluon.nn.Conv2D(2, kernel_size=(two, two), strides=(number(1), two))
    convolution.initialize()
    convolution.hybridize()
    assert convolution(mx.nd.zeros((1, 1, 4, 4))).shape == (1, 2, 3, 2)
    pixels = mx.nd.zeros((6, 6, 3), dtype='uint8')
    crop = mx.gluon.data.vision.transforms.RandomResizedCrop((two, number(3)))
    assert crop(pixels).shape == (3, 2, 3)
    with pytest.raises(mx.MXNetError, match='no_such_file'):
        mx.io.ImageRecordIter(path_imgrec='no_such_file', data_shape=(number(3), two, two), batch_size=two)


# ------------------------------------------------------------------------------- import hook

@pytest.fixture
def package(tmp_path):
    """Writes files {name: source} of a package that stands for MXNet; returns its folder."""
    def write(init, **modules):
        (tmp_path / 'mxnet').mkdir()
        for name, source in dict(modules, __init__=init).items():
            (tmp_path / 'mxnet' / (name + '.py')).write_text(source)
        return [tmp_path]
    return write


REMOVED = ('int', 'NaN', 'npv', 'PZERO', 'in1d')
OLD_NUMPY = f"""
import openatac, mxnet, numpy, pickle
pinf, linalg, irr = mxnet.late.late()
print(mxnet.Inf, pinf, linalg is numpy.linalg)
print(mxnet.np.float32 is numpy.float32, pickle.loads(pickle.dumps(mxnet.float_)) is numpy.float64)
print([hasattr(mxnet.np, name) == hasattr(numpy, name) for name in ('isdtype', 'nonsense')])
print([name for name in {REMOVED!r} if name in vars(numpy)])
try:
    irr()
except (NotImplementedError, RuntimeError) as error:  # the latter NumPy's own, while it had one
    print('no irr')
"""


def test_every_module_and_function_of_mxnet_gets_the_old_numpy(package):
    path = package('import numpy as np\n'
                   'from numpy import Inf, float_, cumproduct\n'
                   'from . import late\n'
                   'assert np.bool in (bool, np.bool_) and np.int is int and np.alltrue(np.ones(2))\n',
                   late='def late():\n'
                        '    import numpy.linalg\n'
                        '    return numpy.PINF, numpy.linalg, numpy.irr\n')
    present = [name for name in REMOVED if name in vars(np)]
    assert output_of(OLD_NUMPY, path=path).splitlines() == [
        'inf inf True', 'True True', '[True, True]', str(present), 'no irr']


def test_an_import_that_failed_can_be_tried_again(package):
    path = package('import numpy, os\n'
                   'if not os.path.exists(__file__ + ".tried"):\n'
                   '    open(__file__ + ".tried", "w").close()\n'
                   '    raise RuntimeError("once")\n'
                   'value = numpy.PZERO\n')
    code = ('import openatac\n'
            'try: import mxnet\n'
            'except RuntimeError as error: print(error)\n'
            'import mxnet; print(mxnet.value)')
    assert output_of(code, path=path) == 'once\n0.0'


def test_mxnet_loaded_before_openatac_stays_as_it_is(package):
    path = package('import numpy\nnumber = 1\n')
    code = ('import mxnet, numpy, openatac\n'
            'import mxnet, os; print(mxnet.number, mxnet.numpy is numpy, "OMP_NUM_THREADS" in os.environ)')
    assert output_of(code, path=path) == '1 True False'


def test_the_hook_is_there_once_after_reloads(package):
    path = package('import numpy\nvalue = numpy.NINF\n')
    code = ('import importlib, sys, openatac\n'
            'importlib.reload(openatac.runtime)\n'
            'importlib.reload(openatac.runtime.import_hook)\n'
            'for name in list(sys.modules):\n'
            '    if name.startswith("openatac"): del sys.modules[name]\n'
            'import openatac, mxnet\n'
            'print(mxnet.value, sum("openatac" in type(finder).__module__ for finder in sys.meta_path))')
    assert output_of(code, path=path) == '-inf 1'


def test_an_mxnet_found_by_another_finder_works_too(package):
    path = package('import numpy\nvalue = numpy.NINF\n')
    code = ('import importlib.machinery, sys\n'
            'class Editable:\n'
            '    def find_spec(self, name, path=None, target=None):\n'
            f'        return importlib.machinery.PathFinder.find_spec(name, path or [{str(path[0])!r}])\n'
            'class Legacy: find_module = staticmethod(lambda *_: None)\n'
            'sys.meta_path[:0] = [Legacy(), Editable()]\n'
            'import openatac, mxnet; print(mxnet.value)')
    assert output_of(code) == '-inf'


# ----------------------------------------------------------------------------------- threads

def test_threads_are_set_before_mxnets_own_code_runs(package):
    path = package('import os\nthreads = os.environ["OMP_NUM_THREADS"]\n')
    code = 'import openatac, os; print(os.environ.get("OMP_NUM_THREADS")); import mxnet; print(mxnet.threads)'
    assert output_of(code, path=path) == f'None\n{cores.physical_cores()}'
    assert output_of(code, path=path, OMP_NUM_THREADS='7') == '7\n7'


@pytest.mark.parametrize('variables, expected', [
    ({}, (4, None)),
    ({'OMP_NUM_THREADS': ''}, (4, None)),
    ({'OMP_NUM_THREADS': '3'}, (3, 'OMP_NUM_THREADS')),
    ({'MXNET_OMP_MAX_THREADS': '9'}, (9, 'MXNET_OMP_MAX_THREADS')),
    ({'OMP_THREAD_LIMIT': '2'}, (2, None)),
    ({'OMP_THREAD_LIMIT': '8'}, (4, None)),
    ({'OMP_THREAD_LIMIT': '2', 'OMP_NUM_THREADS': '3'}, (3, 'OMP_NUM_THREADS')),
])
def test_the_users_own_number_of_threads_wins(monkeypatch, variables, expected):
    for name in ('OMP_NUM_THREADS', 'MXNET_OMP_MAX_THREADS', 'OMP_THREAD_LIMIT'):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(cores, 'physical_cores', lambda: 4)
    assert threads.thread_count() == expected
    threads.set_threads()
    assert os.environ[expected[1] or 'OMP_NUM_THREADS'] == str(expected[0])


def test_the_users_own_settings_of_mxnet_win(package):
    path = package('from os import environ\n')
    code = ('import openatac; from mxnet import environ; '
            'print(environ["MXNET_CPU_PARALLEL_SIZE"], environ["MXNET_USE_OPERATOR_TUNING"])')
    assert output_of(code, path=path, MXNET_USE_OPERATOR_TUNING='1') == '2147483647 1'
    assert output_of(code, path=path, MXNET_CPU_PARALLEL_SIZE='7') == '7 0'


OPENMP = '''
import ctypes, os
before = os.sched_getaffinity(0)
import openatac, mxnet
openmp = ctypes.CDLL('libgomp.so.1')
print(openmp.omp_get_proc_bind(), openmp.omp_get_num_places())
print(os.sched_getaffinity(0) == before, sorted(set(os.environ) & set(%r)))
'''
OPENMP_VARIABLES = ('OMP_PROC_BIND', 'OMP_PLACES', 'GOMP_CPU_AFFINITY', 'GOMP_SPINCOUNT', 'OMP_WAIT_POLICY')


@pytest.mark.skipif(not 1 < len(cores.allowed_cores()) == cores.physical_cores(),
                    reason='binds a thread to each of several cores, none of which a quota takes away')
def test_threads_are_bound_to_a_core_each_and_nothing_else_is():
    unset = dict.fromkeys(OPENMP_VARIABLES)
    lines = output_of(OPENMP % (OPENMP_VARIABLES,), **unset).splitlines()
    assert lines == [f'1 {cores.physical_cores()}', 'True []']


@pytest.mark.parametrize('variables, added', [
    ({}, {'GOMP_SPINCOUNT', 'OMP_PROC_BIND', 'OMP_PLACES'}),
    ({'OMP_NUM_THREADS': '4'}, {'GOMP_SPINCOUNT', 'OMP_PROC_BIND', 'OMP_PLACES'}),
    ({'OMP_NUM_THREADS': '3'}, {'GOMP_SPINCOUNT'}),
    ({'OMP_THREAD_LIMIT': '2'}, {'GOMP_SPINCOUNT'}),
    ({'OMP_PROC_BIND': 'false'}, {'GOMP_SPINCOUNT'}),
    ({'OMP_PLACES': 'sockets'}, {'GOMP_SPINCOUNT'}),
    ({'GOMP_CPU_AFFINITY': '0-3'}, {'GOMP_SPINCOUNT'}),
    ({'GOMP_SPINCOUNT': '5'}, {'OMP_PROC_BIND', 'OMP_PLACES'}),
    ({'OMP_WAIT_POLICY': 'active'}, {'OMP_PROC_BIND', 'OMP_PLACES'}),
])
def test_the_users_own_settings_of_openmp_win(monkeypatch, variables, added):
    for name in (*OPENMP_VARIABLES, 'OMP_NUM_THREADS', 'MXNET_OMP_MAX_THREADS', 'OMP_THREAD_LIMIT'):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(cores, 'allowed_cores', lambda root='/': set(range(4)))
    monkeypatch.setattr(cores, 'cgroup_quota', lambda root='/': None)
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: {0, 1, 2, 3}, raising=False)
    restored = []
    monkeypatch.setattr(os, 'sched_setaffinity', lambda pid, mask: restored.append(mask), raising=False)
    before = dict(os.environ)
    with threads.openmp_for_shared_machine():
        assert set(os.environ) - set(before) == added
        assert all(os.environ[name] == value for name, value in before.items())
    assert dict(os.environ) == before
    assert restored == ([{0, 1, 2, 3}] if 'OMP_PROC_BIND' in added else [])


def test_a_quota_below_the_cores_leaves_threads_unbound(monkeypatch):
    monkeypatch.setattr(cores, 'allowed_cores', lambda root='/': set(range(4)))
    monkeypatch.setattr(cores, 'cgroup_quota', lambda root='/': 2)
    monkeypatch.setenv('OMP_NUM_THREADS', '2')
    with threads.openmp_for_shared_machine():
        assert 'OMP_PROC_BIND' not in os.environ


@pytest.mark.parametrize('before', ['', 'import torch; '])
def test_gluoncv_loads_beside_pytorch_2_and_does_not_let_pillow_pass_damaged_images(tmp_path, before):
    """GluonCV raises beside one; that of the test says that it is version 2."""
    (tmp_path / 'torch.py').write_text('__version__ = "2.13.0"\nclass Tensor: pass\n')
    code = before + ('import openatac, gluoncv.data.mhp, torch; from PIL import ImageFile; '
                     'print(torch.__version__, ImageFile.LOAD_TRUNCATED_IMAGES)')
    assert output_of(code, path=[tmp_path]).splitlines()[-1] == '2.13.0 False'


@pytest.mark.parametrize('variables, kept', [
    ({}, True),
    ({'GLIBC_TUNABLES': 'glibc.malloc.mmap_threshold=131072'}, False),
    ({'MALLOC_MMAP_THRESHOLD_': '131072'}, False),
])
def test_freed_memory_is_kept_unless_the_user_has_set_up_malloc(package, variables, kept):
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


def machine(root, processors, siblings=str, files=()):
    """A root folder with the topology of that many processors, and (path, text) files; returns it."""
    topology = [(f'sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list', siblings(cpu))
                for cpu in range(processors)]
    for name, text in [*topology, *files]:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + '\n')
    return root


def v2(group, **limits):
    """Cgroup v2: this process's group, and cpu.max of each group by its name (root for the root)."""
    return [('proc/self/cgroup', '0::' + group)] + [
        (f"sys/fs/cgroup/{name.replace('root', '.').replace('_', '/')}/cpu.max", text)
        for name, text in limits.items()]


def v1(folder, quota):
    """Cgroup v1, with a quota of a period of 100000 in one folder."""
    return [('proc/self/cgroup', '7:memory:/m\n4:cpu,cpuacct:/docker/x\n0::/'),
            (f'sys/fs/cgroup/{folder}/cpu.cfs_quota_us', quota),
            (f'sys/fs/cgroup/{folder}/cpu.cfs_period_us', '100000')]


@pytest.mark.parametrize('files, count', [
    ([], 8),
    (v2('/a/b'), 8),
    (v2('/a/b', a='max 100000'), 8),
    (v2('/a/b', a_b='300000 100000'), 3),
    (v2('/a/b', a_b='300000 100000', a='100000 50000'), 2),
    (v2('/a/b', root='150000 100000'), 2),
    (v2('/a/b', root='20000 100000'), 1),
    (v2('/a/b', root='6400000 100000'), 8),
    (v2('/a/b', root='nonsense'), 8),
    (v2('/', root='400000 100000'), 4),
    (v2('/a', c='100000 100000'), 8),
    (v1('cpu,cpuacct', '-1'), 8),
    (v1('cpu,cpuacct', '500000'), 5),
    (v1('cpu,cpuacct/docker/x', '200000'), 2),
    (v1('memory/m', '200000'), 8),
])
def test_the_cgroups_quota_limits_the_cores(monkeypatch, tmp_path, files, count):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: set(range(8)), raising=False)
    assert cores.physical_cores(machine(tmp_path, 8, files=files)) == count


@pytest.mark.parametrize('allowed, count', [
    (range(8), 4), ([0], 1), ([0, 4], 1), ([0, 1], 2), ([1, 2, 5, 6, 7], 3)])
def test_hyper_threads_of_a_core_count_once_and_only_where_allowed(monkeypatch, tmp_path, allowed, count):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: set(allowed), raising=False)
    pairs = machine(tmp_path, 8, siblings=lambda cpu: f'{cpu % 4},{cpu % 4 + 4}')
    assert cores.physical_cores(pairs) == count


def test_without_topology_or_affinity_each_processor_is_a_core(monkeypatch, tmp_path):
    monkeypatch.delattr(os, 'sched_getaffinity', raising=False)
    monkeypatch.setattr(os, 'cpu_count', lambda: 6)
    assert cores.physical_cores(tmp_path) == 6


# -------------------------------------------------------------------------------------- CUDA

def cuda_wheel(folder):
    """Let the metadata say that the CUDA build of MXNet is installed."""
    (folder / 'mxnet_cu112-1.9.1.dist-info').mkdir()
    (folder / 'mxnet_cu112-1.9.1.dist-info' / 'METADATA').write_text('Name: mxnet-cu112\nVersion: 1.9.1\n')


def test_cuda_libraries_are_loaded_in_order_from_where_pip_puts_them(monkeypatch, tmp_path):
    for name in ('cudnn/lib/libcudnn.so.8', 'cuda_runtime/lib/libcudart.so.11.0', 'nccl/lib/libnccl.so.2',
                 'cuda_runtime/lib/libcudart.so.12'):
        path = tmp_path / 'nvidia' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.setattr(sys, 'path', [str(tmp_path), *sys.path])
    loaded = []

    def load(path, mode):
        loaded.append((os.path.basename(path), mode == ctypes.RTLD_GLOBAL))
        raise OSError('not a library')  # is MXNet's to complain about

    monkeypatch.setattr(ctypes, 'CDLL', load)
    cuda_libraries.load_cuda_libraries()
    assert loaded == []  # for the CPU build, there is nothing to load
    cuda_wheel(tmp_path)
    cuda_libraries.load_cuda_libraries()
    assert loaded == [('libcudart.so.11.0', True), ('libcudnn.so.8', True), ('libnccl.so.2', True)]
    assert cuda_libraries.find_cuda_libraries()['libcufft.so.10'] is None


def test_a_library_that_cannot_load_is_named_with_the_remedy(package, tmp_path):
    path = package('raise OSError("libcuda.so.1: cannot open shared object file")')
    message = run_python('-c', 'import openatac, mxnet', path=path).stderr.splitlines()[-1]
    assert message.startswith('ImportError: ') and 'libcuda.so.1' in message
    cuda_wheel(tmp_path)
    message = run_python('-c', 'import openatac, mxnet', path=path).stderr.splitlines()[-1]
    assert message.startswith('ImportError: ') and 'libcuda.so.1' in message
    assert 'NVIDIA driver' in message and "pip install 'openatac[cpu]'" in message


NEEDS_TWO_LIBRARIES = '''
import ctypes, sys
from openatac.runtime import system_libraries as libraries
libraries.SYSTEM_LIBRARIES = {'libneeded1.so.1': 'needed1', 'libneeded2.so.1': 'needed2'}
if sys.argv[1] == 'found':
    libraries.load_system_libraries()
print(ctypes.CDLL(sys.argv[2]).answer())
'''


def test_system_libraries_are_found_among_wheels_under_their_hashed_names(tmp_path):
    hashed, named = [], []
    for k in (1, 2):
        hashed.append(make_library(tmp_path / 'site' / 'some.libs' / f'libneeded{k}-0123abcd.so.1.0.0',
                                   f'int needed{k}() {{ return 10 * {k}; }}'))
        named.append(make_library(tmp_path / 'named' / f'libneeded{k}.so.1',
                                  f'int needed{k}() {{ return {k}; }}'))
    user = make_library(tmp_path / 'libuser.so', 'int needed1(), needed2();'
                        'int answer() { return needed1() + needed2(); }', named)
    arguments = ['-c', NEEDS_TWO_LIBRARIES]
    assert 'libneeded1.so.1' in run_python(*arguments, 'missing', user, path=[tmp_path / 'site']).stderr
    found = run_python(*arguments, 'found', user, path=[tmp_path / 'site'])
    assert found.stdout.strip() == '30', found.stderr
    assert sorted(hashed[0].parent.iterdir()) == hashed  # and nothing else
    system = run_python(*arguments, 'found', user, path=[tmp_path / 'site'],
                        LD_LIBRARY_PATH=str(named[0].parent))
    assert system.stdout.strip() == '3', system.stderr


@pytest.mark.parametrize('library, debian', system_libraries.SYSTEM_LIBRARIES.items())
def test_a_missing_system_library_is_named_with_its_package(package, library, debian):
    path = package(f'raise OSError("{library}: cannot open shared object file")')
    message = run_python('-c', 'import openatac, mxnet', path=path).stderr.splitlines()[-1]
    assert library in message and 'apt install ' + debian in message and "'openatac[cpu]'" in message


# ----------------------------------------------------------------------------------- devices

def _integer(reference):
    """What ``ctypes.byref`` of an integer refers to."""
    return ctypes.cast(reference, ctypes.POINTER(ctypes.c_int))


class Driver:
    """Stands for libcuda.so.1, showing [(name, major, minor)]; ``code`` is what cuInit returns."""

    def __init__(self, gpus, code=0):
        self._gpus, self._code = gpus, code

    def cuInit(self, flags):
        return self._code

    def cuDeviceGetCount(self, count):
        _integer(count)[0] = len(self._gpus)
        return 0

    def cuDeviceGet(self, device, index):
        _integer(device)[0] = index
        return 0

    def cuDeviceGetName(self, name, size, device):
        name.value = self._gpus[device.value][0].encode()[:size]
        return 0

    def cuDeviceGetAttribute(self, value, attribute, device):
        _integer(value)[0] = self._gpus[device.value][{75: 1, 76: 2}[attribute]]
        return 0


A100, RTX_4090, H100, K80 = ('A100', 8, 0), ('RTX 4090', 8, 9), ('H100', 9, 0), ('K80', 3, 7)


@pytest.fixture
def gpus(monkeypatch):
    """Puts GPUs into the machine, and an MXNet (CUDA build or not) that sees ``seen`` of them."""
    def put(shown, cuda=True, seen=None):
        class Features:
            def is_enabled(self, feature):
                return cuda and feature == 'CUDA'
        mxnet = types.SimpleNamespace(
            cpu=lambda: 'cpu', gpu=lambda index: f'gpu{index}',
            context=types.SimpleNamespace(num_gpus=lambda: len(shown) if seen is None else seen),
            runtime=types.SimpleNamespace(Features=Features))
        monkeypatch.setitem(sys.modules, 'mxnet', mxnet)
        monkeypatch.setattr(ctypes, 'CDLL', lambda name: Driver(shown))
        monkeypatch.setenv('OMP_NUM_THREADS', '4')
    return put


def test_the_driver_reports_names_and_capabilities(monkeypatch):
    monkeypatch.setattr(ctypes, 'CDLL', lambda name: Driver([A100, H100]))
    assert devices.nvidia_gpus() == [A100, H100]
    monkeypatch.setattr(ctypes, 'CDLL', lambda name: Driver([A100], code=100))  # no device
    assert devices.nvidia_gpus() == []


def test_without_a_driver_there_is_no_gpu(monkeypatch):
    def missing(name):
        raise OSError(f'{name}: cannot open shared object file')
    monkeypatch.setattr(ctypes, 'CDLL', missing)
    assert devices.nvidia_gpus() == []


def test_the_cpu_is_the_default(gpus):
    gpus([A100])
    contexts, line = devices.choose_contexts()
    assert contexts == ['cpu'] and 'CPU' in line and ' 4 ' in line


@pytest.mark.parametrize('variables, number', [
    ({'OMP_NUM_THREADS': '1'}, '1'), ({'MXNET_OMP_MAX_THREADS': '3'}, '3'),
    ({}, 'MXNet')])  # which was loaded before openatac, and chose a number itself
def test_the_line_has_the_number_of_threads(gpus, monkeypatch, variables, number):
    gpus([])
    monkeypatch.delenv('OMP_NUM_THREADS')
    monkeypatch.delenv('MXNET_OMP_MAX_THREADS', raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert number in devices.choose_contexts()[1]


@pytest.mark.parametrize('cuda, cause', [(False, 'CPU build'), (True, 'no GPU')])
def test_without_a_gpu_the_cpu_takes_over_or_a_sentence_says_why(gpus, cuda, cause):
    gpus([], cuda=cuda)
    contexts, line = devices.choose_contexts('0,1')
    assert contexts == ['cpu'] and '0,1' in line and cause in line
    with pytest.raises(DeviceError, match=f'0,1.*{cause}'):
        devices.choose_contexts('0,1', fall_back=False)


def test_gpus_are_named_in_the_line(gpus):
    gpus([A100, RTX_4090])
    contexts, line = devices.choose_contexts('1, 0')
    assert contexts == ['gpu1', 'gpu0'] and '1 (RTX 4090), 0 (A100)' in line


def test_gpus_that_only_mxnet_shows_have_no_name(gpus):
    gpus([], seen=1)
    contexts, line = devices.choose_contexts('0')
    assert contexts == ['gpu0'] and 'GPU 0' in line


def test_an_index_that_does_not_exist_is_refused(gpus):
    gpus([A100, A100])
    with pytest.raises(DeviceError, match='GPU 2 .* 0 to 1'):
        devices.choose_contexts('0,2')


@pytest.mark.parametrize('gpu, capability, torch', [
    (H100, '9.0', True), (('B200', 10, 0), '10.0', True), (K80, '3.7', False)])
def test_a_gpu_without_code_in_mxnet_is_refused_before_it_is_used(gpus, gpu, capability, torch):
    gpus([A100, gpu])
    assert devices.choose_contexts('0')[0] == ['gpu0']
    with pytest.raises(DeviceError) as error:
        devices.choose_contexts('0,1')
    assert f'GPU 1 ({gpu[0]})' in str(error.value) and capability in str(error.value)
    assert ("--engine torch (pip install 'openatac[torch]')" in str(error.value)) == torch


@pytest.mark.parametrize('text, indices', [('', []), ('0', [0]), ('0,1', [0, 1]), (' 3 , 1,', [3, 1])])
def test_gpu_lists(text, indices):
    assert devices.parse_gpus(text) == indices


@pytest.mark.parametrize('text', ['one', '-1', '0,0', '1.5', '0;1', '²', '0x1'])
def test_a_text_that_is_not_a_list_of_gpus_is_refused(text):
    with pytest.raises(ValueError, match=re.escape(text) + '.*0,1'):
        devices.parse_gpus(text)
