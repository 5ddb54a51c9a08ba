"""The choice of training devices, with a stand-in for the NVIDIA driver."""
import ctypes
import re
import sys
import types

import pytest

from openatac.backends.devices import Devices, parse_gpus
from openatac.backends.mxnet.contexts import choose_contexts
from openatac.errors import DeviceError
from openatac.system import nvidia_driver


def _integer(reference):
    """Return the integer that a ``ctypes.byref`` refers to."""
    return ctypes.cast(reference, ctypes.POINTER(ctypes.c_int))


class Driver:
    """A stand-in for libcuda.so.1 with GPUs [(name, major, minor)]; ``code`` is the result of cuInit."""

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
    """A function that simulates GPUs and an MXNet (CUDA build or not) that sees ``seen`` of them."""
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


def test_driver_reports_names_and_capabilities(monkeypatch):
    monkeypatch.setattr(ctypes, 'CDLL', lambda name: Driver([A100, H100]))
    assert nvidia_driver.nvidia_gpus() == [A100, H100]
    monkeypatch.setattr(ctypes, 'CDLL', lambda name: Driver([A100], code=100))  # no device
    assert nvidia_driver.nvidia_gpus() == []


def test_no_gpu_is_found_without_a_driver(monkeypatch):
    def missing(name):
        raise OSError(f'{name}: cannot open shared object file')
    monkeypatch.setattr(ctypes, 'CDLL', missing)
    assert nvidia_driver.nvidia_gpus() == []


def test_cpu_is_the_default(gpus):
    gpus([A100])
    contexts, line = choose_contexts()
    assert contexts == ['cpu']
    assert 'CPU' in line and ' 4 ' in line


@pytest.mark.parametrize('variables, number', [
    ({'OMP_NUM_THREADS': '1'}, '1'), ({'MXNET_OMP_MAX_THREADS': '3'}, '3'),
    ({}, 'default')])  # MXNet was loaded before openatac, and chose a number itself
def test_device_line_has_the_number_of_threads(gpus, monkeypatch, variables, number):
    gpus([])
    monkeypatch.delenv('OMP_NUM_THREADS')
    monkeypatch.delenv('MXNET_OMP_MAX_THREADS', raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert number in choose_contexts()[1]


@pytest.mark.parametrize('cuda, cause', [(False, 'CPU build'), (True, 'no GPU')])
def test_missing_gpu_falls_back_to_cpu_or_is_explained(gpus, cuda, cause):
    gpus([], cuda=cuda)
    contexts, line = choose_contexts('0,1')
    assert contexts == ['cpu']
    assert '0,1' in line and cause in line
    with pytest.raises(DeviceError, match=f'0,1.*{cause}'):
        choose_contexts('0,1', fall_back=False)


def test_device_line_names_the_gpus(gpus):
    gpus([A100, RTX_4090])
    contexts, line = choose_contexts('1, 0')
    assert contexts == ['gpu1', 'gpu0'] and '1 (RTX 4090), 0 (A100)' in line


def test_gpus_known_only_to_mxnet_have_no_name(gpus):
    gpus([], seen=1)
    contexts, line = choose_contexts('0')
    assert contexts == ['gpu0'] and 'GPU 0' in line


def test_index_that_does_not_exist_is_refused(gpus):
    gpus([A100, A100])
    with pytest.raises(DeviceError, match='GPU 2 .* 0 to 1'):
        choose_contexts('0,2')


@pytest.mark.parametrize('gpu, capability, torch', [
    (H100, '9.0', True), (('B200', 10, 0), '10.0', True), (K80, '3.7', False)])
def test_gpu_unsupported_by_mxnet_is_refused_before_use(gpus, gpu, capability, torch):
    gpus([A100, gpu])
    assert choose_contexts('0')[0] == ['gpu0']
    with pytest.raises(DeviceError) as error:
        choose_contexts('0,1')
    assert f'GPU 1 ({gpu[0]})' in str(error.value) and capability in str(error.value)
    assert ('--engine torch' in str(error.value)) == torch


@pytest.mark.parametrize('text, indices', [('', []), ('0', [0]), ('0,1', [0, 1]), (' 3 , 1,', [3, 1])])
def test_gpu_lists_are_parsed(text, indices):
    assert parse_gpus(text) == indices


@pytest.mark.parametrize('text', ['one', '-1', '0,0', '0,00', '1.5', '0;1', '²', '0x1'])
def test_text_that_is_not_a_list_of_gpus_is_refused(text):
    with pytest.raises(ValueError, match=re.escape(text) + '.*0,1'):
        parse_gpus(text)


@pytest.mark.parametrize('devices, text, total', [
    (Devices('cpu'), '1 x cpu', 1),
    (Devices('gpu', 2), '2 x gpu', 2),
    (Devices('cpu', 2, 3), '3 x 2 x cpu', 6)])
def test_devices_of_a_run_are_read_back_from_its_files(devices, text, total):
    assert str(devices) == text
    assert Devices.parse(text) == devices
    assert devices.total == total
    assert devices.are_gpus == text.endswith('gpu')


@pytest.mark.parametrize('text', ['', 'cpu', '2 x tpu', 'x x gpu', '1 x 2 x 3 x gpu'])
def test_words_that_do_not_name_devices_are_refused(text):
    with pytest.raises(ValueError):
        Devices.parse(text)
