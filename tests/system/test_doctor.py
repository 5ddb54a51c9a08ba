"""`openatac doctor` reports what is installed, what is missing and the remedy."""
import re

import pytest

import openatac
from openatac import cli
from openatac.commands import doctor
from openatac.system import nvidia_driver
from openatac.system.installed import has_torch, mxnet_missing
from openatac.system.mxnet import cuda_libraries
from openatac.system.processor import instruction_set
from tests.helpers.processes.fresh_python import run_python


def test_doctor_reports_a_missing_mxnet(no_mxnet):
    result = run_python('-m', 'openatac', 'doctor', path=no_mxnet)
    assert result.returncode == int(not has_torch()), result.stderr  # PyTorch trains too
    assert ('--engine torch' in result.stdout.splitlines()[-1]) == has_torch()
    lines = dict(line.split(None, 1) for line in result.stdout.splitlines())
    assert lines['MXNet'] == mxnet_missing()
    assert lines['openatac'].startswith(openatac.__version__)


@pytest.mark.parametrize('source, cause, remedy', [
    ('import os; os.abort()', '-6', 'pip install --force-reinstall --no-deps mxnet==1.9.1'),
    ('raise RuntimeError("bad file")', 'RuntimeError: bad file',
     'pip install --force-reinstall --no-deps mxnet==1.9.1'),
    ('import distutils_that_is_gone.version', 'ModuleNotFoundError', 'pip install distutils_that_is_gone'),
    ('raise ModuleNotFoundError("No module named \'distutils.version\'")', 'ModuleNotFoundError',
     'pip install setuptools'),
])
def test_doctor_survives_a_broken_mxnet(tmp_path, source, cause, remedy):
    (tmp_path / 'mxnet.py').write_text(source)
    result = run_python('-m', 'openatac', 'doctor', path=[tmp_path])
    assert result.returncode == 1, result.stderr
    line, = (line for line in result.stdout.splitlines() if line.startswith('MXNet '))
    assert cause in line and line.endswith(remedy)


def test_doctor_finds_the_real_mxnet():
    mxnet, problem = doctor.ask_mxnet()
    assert problem is None
    assert mxnet['version'] == '1.9.1'


@pytest.fixture
def healthy(monkeypatch, tmp_path):
    """A machine with a working MXNet but no GPU or data; returns Gluon's data folder."""
    monkeypatch.setattr(doctor, 'ask_mxnet', lambda: (
        {'version': '1.9.1', 'path': '/there', 'cuda': True, 'gpus': 1}, None))
    monkeypatch.setattr(nvidia_driver, 'nvidia_gpus', list)
    monkeypatch.setenv('MXNET_HOME', str(tmp_path))
    return tmp_path


def doctors_lines(capsys):
    """Return the doctor's {subject: finding} on a machine where training works."""
    assert cli.main(['doctor']) == 0
    lines = capsys.readouterr().out.splitlines()
    return {line[:13].strip(): line[14:] for line in lines[:-1]}


def test_doctor_reports_the_int8_instructions(healthy, capsys, monkeypatch):
    monkeypatch.setenv('DNNL_MAX_CPU_ISA', 'SSE41')
    assert (instruction_set() or 'unknown') in doctors_lines(capsys)['INT8']


def test_doctor_reports_the_import_order(healthy, capsys):
    assert re.search('openatac.* gluoncv', doctors_lines(capsys)['GluonCV'])


def test_doctor_finds_data(healthy, capsys):
    lines = doctors_lines(capsys)
    assert lines['cifar10'].startswith('not') and str(healthy / 'datasets' / 'cifar10') in lines['cifar10']
    assert lines['cifar10'].endswith('openatac train-cifar --dataset cifar10')
    (healthy / 'datasets' / 'cifar10' / 'cifar-10-batches-py').mkdir(parents=True)
    (healthy / 'datasets' / 'cifar10' / 'cifar-10-batches-py' / 'test_batch').touch()
    (healthy / 'datasets' / 'cifar100').mkdir()
    (healthy / 'datasets' / 'cifar100' / 'cifar-100-binary.tar.gz').touch()
    lines = doctors_lines(capsys)
    assert lines['cifar10'].startswith('found') and lines['cifar100'].startswith('found')


def test_doctor_reports_the_source_of_the_thread_count(healthy, capsys, monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '3')
    line = doctors_lines(capsys)['threads']
    assert line.startswith('3') and 'OMP_NUM_THREADS' in line


def test_doctor_reports_usable_gpus(healthy, capsys, monkeypatch):
    monkeypatch.setattr(nvidia_driver, 'nvidia_gpus', lambda: [
        nvidia_driver.Gpu('A100', 8, 0), nvidia_driver.Gpu('H100', 9, 0), nvidia_driver.Gpu('T4', 7, 5)])
    lines = doctors_lines(capsys)
    assert all(text in lines['GPU 0'] for text in ('A100', '8.0', ': usable'))
    assert all(text in lines['GPU 1'] for text in (
        'H100', '9.0', '5.0 to 8.9', '--engine torch', "pip install 'openatac[torch]'"))
    assert 'T4' in lines['GPU 2'] and 'driver' in lines['GPU 2'] and 'usable' not in lines['GPU 2']


def test_doctor_names_missing_cuda_libraries_and_packages(healthy, capsys, monkeypatch):
    monkeypatch.setattr(doctor, 'has_cuda_wheel', lambda: True)
    monkeypatch.setattr(cuda_libraries, 'find_cuda_libraries', lambda: {'liba.so': None, 'libb.so': '/b'})
    monkeypatch.setattr(doctor, 'installed_version', lambda package: None)
    lines = doctors_lines(capsys)
    assert 'liba.so' in lines['CUDA 11'] and 'libb.so' not in lines['CUDA 11']
    assert lines['CUDA 11'].endswith("pip install 'openatac[cu112]'")
    assert lines['wandb'].endswith("pip install 'openatac[wandb]'")
    assert lines['GluonCV'].endswith('pip install gluoncv==0.10.5.post0')
