"""A backend, registered by one call, works like the package's own."""
import shutil

import pytest

import openatac
from tests.helpers.networks.toys import Reordered
from tests.helpers.processes.fresh_python import output_of
from tests.helpers.processes.scripts import json_of, run_in_process, script_error

pytestmark = pytest.mark.usefixtures('toys')


def test_registered_backend_trains_and_resumes_to_the_same_bits(cifar10, tmp_path):
    def train():
        assert run_in_process('--engine', 'reordered', '--model', 'tiny_v1_gate', '--data-dir', cifar10,
                              '--batch-size', 50, '--num-epochs', 3, '--lr', 0.05, '--seed', 3,
                              '--resume', 'auto', '--save-dir', folder) == 0
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob('*.params')}

    folder = tmp_path / 'run'
    whole = train()
    assert json_of(folder, 'settings.json')['engine'] == 'reordered' and 3 in Reordered.orders
    shutil.rmtree(sorted((folder / 'checkpoints').iterdir())[-1])  # as if killed in its last epoch
    (folder / 'last.params').unlink()
    assert train() == whole


def test_backend_for_pytorch_gets_a_module(cifar10, tmp_path):
    torch = pytest.importorskip('torch')
    from openatac.backends.torch.backend import TorchBackend

    def open_it(net, *settings):
        nets.append(net)
        return TorchBackend(net, *settings)

    nets = []
    openatac.register_backend('mine', open_it, library='torch')
    assert run_in_process('--engine', 'mine', '--blocks', 1, '--data-dir', cifar10, '--batch-size', 50,
                          '--num-epochs', 1, '--save-dir', tmp_path / 'run') == 0
    net, = nets
    assert isinstance(net, torch.nn.Module)


def test_backend_for_pytorch_needs_no_mxnet(cifar10, tmp_path, no_mxnet):
    pytest.importorskip('torch')
    output_of(f'''
import openatac
from openatac import cli
openatac.register_backend('mine', 'openatac.backends.torch.backend:TorchBackend', library='torch')
assert not cli.main(['train-cifar', '--engine', 'mine', '--blocks', '1', '--data-dir', {str(cifar10)!r},
                     '--batch-size', '50', '--num-epochs', '1', '--save-dir', {str(tmp_path / 'run')!r}])
''', path=no_mxnet)


def test_backend_for_an_unknown_library_is_refused():
    with pytest.raises(ValueError, match='jax'):
        openatac.register_backend('mine', Reordered, library='jax')


def test_backend_refuses_options_that_it_lacks(cifar10, tmp_path, capsys):
    error = script_error(capsys, 2, '--engine', 'reordered', '--dtype', 'float16', '--data-dir', cifar10,
                         '--save-dir', tmp_path / 'run')
    assert '--dtype: float16' in error
    assert not (tmp_path / 'run').exists()
