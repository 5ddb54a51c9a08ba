"""CUDA's and the system's libraries are found in pip packages, or the missing one is named."""
import ctypes
import os
import sys

import pytest

from openatac.system.mxnet import cuda_libraries, system_libraries
from tests.helpers.processes.fresh_python import run_python
from tests.helpers.processes.stub_driver import make_library


def cuda_wheel(folder):
    """Make the metadata say that MXNet's CUDA build is installed."""
    (folder / 'mxnet_cu112-1.9.1.dist-info').mkdir()
    (folder / 'mxnet_cu112-1.9.1.dist-info' / 'METADATA').write_text('Name: mxnet-cu112\nVersion: 1.9.1\n')


def test_cuda_libraries_of_pip_packages_are_loaded_in_order(monkeypatch, tmp_path):
    for name in ('cudnn/lib/libcudnn.so.8', 'cuda_runtime/lib/libcudart.so.11.0', 'nccl/lib/libnccl.so.2',
                 'cuda_runtime/lib/libcudart.so.12'):
        path = tmp_path / 'nvidia' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.setattr(sys, 'path', [str(tmp_path), *sys.path])
    loaded = []

    def load(path, mode):
        loaded.append((os.path.basename(path), mode == ctypes.RTLD_GLOBAL))
        raise OSError('not a library')  # MXNet itself reports it

    monkeypatch.setattr(ctypes, 'CDLL', load)
    cuda_libraries.load_cuda_libraries()
    assert loaded == []  # the CPU build needs no CUDA libraries
    cuda_wheel(tmp_path)
    cuda_libraries.load_cuda_libraries()
    assert loaded == [('libcudart.so.11.0', True), ('libcudnn.so.8', True), ('libnccl.so.2', True)]
    assert cuda_libraries.find_cuda_libraries()['libcufft.so.10'] is None


def test_unloadable_library_is_named_with_the_remedy(package, tmp_path):
    path = package('raise OSError("libcuda.so.1: cannot open shared object file")')
    message = run_python('-c', 'import openatac, mxnet', path=path).stderr.splitlines()[-1]
    assert message.startswith('ImportError: ') and 'libcuda.so.1' in message
    cuda_wheel(tmp_path)
    message = run_python('-c', 'import openatac, mxnet', path=path).stderr.splitlines()[-1]
    assert message.startswith('ImportError: ') and 'libcuda.so.1' in message
    assert 'NVIDIA driver' in message and "pip install 'openatac[cpu]'" in message


NEEDS_TWO_LIBRARIES = '''
import ctypes, sys
from openatac.system.mxnet import system_libraries as libraries
libraries.SYSTEM_LIBRARIES = {'libneeded1.so.1': 'needed1', 'libneeded2.so.1': 'needed2'}
if sys.argv[1] == 'found':
    libraries.load_system_libraries()
print(ctypes.CDLL(sys.argv[2]).answer())
'''


def test_system_libraries_with_hashed_names_are_found_in_wheels(tmp_path):
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
def test_missing_system_library_is_named_with_its_package(package, library, debian):
    path = package(f'raise OSError("{library}: cannot open shared object file")')
    message = run_python('-c', 'import openatac, mxnet', path=path).stderr.splitlines()[-1]
    assert library in message and 'apt install ' + debian in message and "'openatac[cpu]'" in message
