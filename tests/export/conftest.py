"""Fixtures for the tests of exports: a network with its files, and a run."""
import functools

import pytest

from openatac.models.weights import save_parameters
from tests.helpers.networks.trained_network import ATAC, trained_network
from tests.helpers.processes.commands import call_export, command_error
from tests.helpers.processes.scripts import run_in_process


@pytest.fixture
def refused(capsys):
    """A function refused(code, *words) that returns the error line of a failing `openatac export`."""
    return functools.partial(command_error, capsys, 'export')


@pytest.fixture(scope='module')
def net():
    return trained_network()


@pytest.fixture(scope='module')
def params(net, tmp_path_factory):
    path = str(tmp_path_factory.mktemp('params') / 'net.params')
    save_parameters(net, path)
    return path


@pytest.fixture(scope='module')
def whole(params, tmp_path_factory):
    """The PREFIX of an export made from a name and a file, with the fused form."""
    prefix = tmp_path_factory.mktemp('whole') / 'made' / 'net'
    assert call_export(ATAC.upper(), params, prefix, '--fuse', '--labels', 'a, b,c,d,e') == 0
    return str(prefix)


@pytest.fixture(scope='module')
def run(cifar10, tmp_path_factory):
    """The folder of a short run, exported at its end as ``run/export/best``."""
    folder = tmp_path_factory.mktemp('run')
    assert run_in_process('--data-dir', cifar10, '--blocks', 1, '--batch-size', 50, '--num-epochs', 1,
                          '--lr', 0.05, '--useGlobal', '--save-dir', folder,
                          '--export', folder / 'export' / 'best') == 0
    return folder
