"""MXNet's CUDA build on a machine with an NVIDIA driver but no system CUDA.

The slow tests use mxnet-cu112 itself (`make test-cuda-wheel` installs it, 2 GB) with a stand-in for the
driver that reports no GPU: they go as far as possible without one. The others run with MXNet's CPU build,
and all of their libraries, including MXNet's own, are stand-ins.
"""
import ctypes

import pytest

from openatac.system.installed import has_cuda_wheel
from openatac.system.mxnet.cuda_libraries import CUDA_LIBRARIES
from tests.helpers.paths import ROOT
from tests.helpers.processes.fresh_python import output_of, run_python
from tests.helpers.processes.stub_driver import make_driver, make_library

# The links between NVIDIA's libraries, from their ELF headers.
LINKS = {'libcublas.so.11': ['libcublasLt.so.11'],
         'libcusolver.so.11': ['libcublas.so.11', 'libcublasLt.so.11']}
TELL = '#include <stdio.h>\n__attribute__((constructor)) static void tell() { puts("%s"); fflush(stdout); }\n'
MXNET = 'import ctypes, os\nctypes.CDLL(os.path.join(os.path.dirname(__file__), "libmxnet.so"))\n'
GPUS = 'from openatac.system.nvidia_driver import nvidia_gpus; print([tuple(gpu) for gpu in nvidia_gpus()])'


# ------------------------------------------------------------------- stand-ins for everything

@pytest.fixture
def machine(tmp_path):
    """A folder with site/ (mxnet-cu112, CUDA 11) and driver/, whose libraries print when they are loaded."""
    made = {}
    for library, package in CUDA_LIBRARIES.items():
        made[library] = make_library(tmp_path / 'site' / 'nvidia' / package / 'lib' / library, TELL % library,
                                     [made[needed] for needed in LINKS.get(library, ())])
    driver = make_driver(tmp_path / 'driver')
    make_library(tmp_path / 'site' / 'mxnet' / 'libmxnet.so', TELL % 'MXNet', [*made.values(), driver])
    (tmp_path / 'site' / 'mxnet' / '__init__.py').write_text(MXNET)
    metadata = tmp_path / 'site' / 'mxnet_cu112-1.9.1.dist-info' / 'METADATA'
    metadata.parent.mkdir()
    metadata.write_text('Name: mxnet-cu112\nVersion: 1.9.1\n')
    return tmp_path


def import_mxnet(machine, driver='driver'):
    """Import MXNet's stand-in in a process; return the finished process."""
    return run_python('-c', 'import openatac, mxnet', path=[machine / 'site'],
                      LD_LIBRARY_PATH=str(machine / driver))


def test_each_library_is_loaded_after_those_that_it_links_to(machine):
    result = import_mxnet(machine)
    assert result.returncode == 0, result.stderr
    loaded = result.stdout.split()
    assert loaded == [*CUDA_LIBRARIES, 'MXNet']
    assert all(loaded.index(needed) < loaded.index(library)
               for library, links in LINKS.items() for needed in links)


def test_stand_in_libraries_do_not_load_without_the_preloading(machine):
    """Otherwise the test above would show nothing."""
    result = run_python('-c', 'import mxnet', path=[machine / 'site'],
                        LD_LIBRARY_PATH=str(machine / 'driver'))
    assert 'libcudart.so.11.0' in result.stderr


def test_libraries_of_another_cuda_version_are_ignored(machine):
    """PyTorch's CUDA 13 packages contain a libcurand.so.10 and a libnccl.so.2 too."""
    make_library(machine / 'site' / 'nvidia' / 'cu13' / 'lib' / 'libcurand.so.10', TELL % 'CUDA 13')
    result = import_mxnet(machine)
    assert result.returncode == 0 and 'CUDA 13' not in result.stdout


def test_missing_driver_is_named(machine):
    if has_driver():
        pytest.skip('this machine has an NVIDIA driver')
    message = import_mxnet(machine, driver='nowhere').stderr.splitlines()[-1]
    assert message.startswith('ImportError: ') and 'libcuda.so.1' in message and 'driver' in message


@pytest.mark.parametrize('library', ['libcudnn.so.8', 'libcublasLt.so.11', 'libcudart.so.11.0'])
def test_missing_library_is_named(machine, library):
    if has_cuda_wheel():
        pytest.skip('the libraries that are installed would take its place')
    (machine / 'site' / 'nvidia' / CUDA_LIBRARIES[library] / 'lib' / library).unlink()
    message = import_mxnet(machine).stderr.splitlines()[-1]
    assert message.startswith('ImportError: ')
    assert library in message and "pip install 'openatac[cu112]'" in message


def test_gpus_of_the_driver_are_listed(tmp_path):
    make_driver(tmp_path, gpus=2, name='NVIDIA H100 80GB HBM3', capability=(9, 0))
    told = output_of(GPUS,
                     LD_LIBRARY_PATH=str(tmp_path))
    assert told == str([('NVIDIA H100 80GB HBM3', 9, 0)] * 2)
    make_driver(tmp_path)
    assert output_of(GPUS,
                     LD_LIBRARY_PATH=str(tmp_path)) == '[]'


# -------------------------------------------------------------------- MXNet's CUDA build itself

@pytest.fixture
def driver(tmp_path):
    """The folder of a driver that reports no GPU; skips unless mxnet-cu112 is installed."""
    if not has_cuda_wheel():
        pytest.skip('mxnet-cu112 is not installed: run make test-cuda-wheel')
    return str(make_driver(tmp_path / 'driver').parent)


def has_driver():
    try:
        return bool(ctypes.CDLL('libcuda.so.1'))
    except OSError:
        return False


ON_THE_CPU = '''
import openatac, mxnet as mx
with mx.autograd.record():
    x = mx.nd.array([[1., 2., 3.]])
    x.attach_grad()
    y = (x * x).sum()
y.backward()
print(mx.runtime.Features().is_enabled('CUDA'), mx.context.num_gpus(), x.grad.asnumpy().tolist())
'''


@pytest.mark.slow
def test_wheel_imports_with_every_symbol_bound_and_computes_on_the_cpu(driver):
    assert output_of(ON_THE_CPU, LD_LIBRARY_PATH=driver,
                     LD_BIND_NOW='1').splitlines()[-1] == 'True 0 [[2.0, 4.0, 6.0]]'


NEEDED_ON_A_GPU = '''
import ctypes, openatac, mxnet
cudnn, nvrtc = ctypes.CDLL('libcudnn.so.8'), ctypes.CDLL('libnvrtc.so.11.2')
print([getattr(cudnn, 'cudnn%sVersionCheck' % part)() for part in ('OpsTrain', 'CnnTrain', 'AdvTrain')])
program = ctypes.c_void_p()
code = b'extern "C" __global__ void plus_one(float *x) { x[threadIdx.x] += 1; }'
nvrtc.nvrtcCreateProgram(ctypes.byref(program), code, b'plus_one.cu', 0, None, None)
print(nvrtc.nvrtcCompileProgram(program, 1, (ctypes.c_char_p * 1)(b'--gpu-architecture=sm_80')))
'''


@pytest.mark.slow
def test_libraries_that_load_only_on_a_gpu_are_found(driver):
    """Parts of cuDNN load at their first use, and NVRTC's builtins when MXNet fuses operators."""
    assert output_of(NEEDED_ON_A_GPU, LD_LIBRARY_PATH=driver).splitlines() == ['[0, 0, 0]', '0']


@pytest.mark.slow
def test_run_that_asks_for_a_gpu_trains_on_the_cpu(driver, tmp_path):
    pytest.importorskip('sklearn', reason='the handwritten digits need scikit-learn')
    result = run_python(ROOT / 'train_cifar.py', '--dataset', 'digits', '--blocks', '1', '--num-epochs', '1',
                        '--gpus', '0', '--save-dir', tmp_path / 'run', LD_LIBRARY_PATH=driver)
    assert result.returncode == 0, result.stderr
    told = result.stdout + result.stderr
    assert 'GPU 0' in told and 'accuracy' in told


@pytest.mark.slow
def test_doctor_reports_a_working_wheel(driver):
    result = run_python('-m', 'openatac', 'doctor', LD_LIBRARY_PATH=driver)
    assert result.returncode == 0, result.stderr
    lines = dict(line.split(None, 1) for line in result.stdout.splitlines())
    assert lines['MXNet'].startswith('1.9.1, CUDA build') and lines['GPU'].startswith('none')


@pytest.mark.slow
def test_doctor_reports_a_missing_driver(driver):
    if has_driver():
        pytest.skip('this machine has an NVIDIA driver')
    result = run_python('-m', 'openatac', 'doctor')
    assert result.returncode == 1
    assert 'libcuda.so.1' in result.stdout


HIDE = '''
from openatac.system.mxnet import cuda_libraries
find = cuda_libraries.find_cuda_libraries
cuda_libraries.find_cuda_libraries = lambda: {**find(), **dict.fromkeys(%r)}
import mxnet
'''


@pytest.mark.slow
@pytest.mark.parametrize('library', ['libcudnn.so.8', 'libnccl.so.2'])
def test_missing_cuda_package_is_named(driver, library):
    message = run_python('-c', HIDE % [library], LD_LIBRARY_PATH=driver).stderr.splitlines()[-1]
    assert message.startswith('ImportError: ') and library in message
    assert "pip install 'openatac[cu112]'" in message
