"""Parameter files can be exchanged between Gluon and PyTorch networks, without MXNet."""
import logging

import mxnet as mx
import numpy as np
import pytest

import openatac
from openatac.errors import OpenatacError, ParameterFileError
from tests.helpers.networks.parameter_files import (
    IMAGES,
    KINDS,
    MODEL,
    network_with_statistics,
    values_of,
    write_parameters,
)
from tests.helpers.processes.fresh_python import output_of, run_python

torch = pytest.importorskip('torch')
pytestmark = pytest.mark.usefixtures('one_torch_thread')

from openatac import pytorch  # noqa: E402  (needs torch)

# With other scopes and counters in Gluon's own names.
NAMES = ['cifar_resnet14_v2_atac', 'cifar_resnet18_v1_cbam', 'resnet50_v1b_ge', 'resnet50_v1b_aa',
         'resnet50_v1b_fa', 'cifar_resnet8_v2_prelu_ge_theta']


def settings_of(name):
    return {'layers': (2, 1, 1, 2), 'classes': 10} if name.startswith('resnet50') else {}


def outputs(module):
    with torch.no_grad():
        return module.eval()(torch.tensor(IMAGES)).numpy()


@pytest.mark.parametrize('kind', KINDS)
def test_file_of_every_kind_gives_the_same_network(tmp_path, kind):
    net = network_with_statistics()
    module = pytorch.get_model(MODEL, pretrained=write_parameters(kind, net, tmp_path))
    for key, value in values_of(net).items():
        found = module.state_dict()[key]
        assert found.dtype == torch.float32
        np.testing.assert_array_equal(found, value.astype('float16') if kind == 'float16' else value)


@pytest.mark.parametrize('kind', ['prefixed', 'gluon export'])
@pytest.mark.parametrize('name', NAMES)
def test_parameters_keep_gluons_names(tmp_path, name, kind):
    mx.random.seed(0)
    net = openatac.get_model(name, **settings_of(name))
    net.initialize(mx.init.MSRAPrelu())
    net(mx.nd.array(IMAGES))
    expected = net(mx.nd.array(IMAGES)).asnumpy()
    module = pytorch.get_model(name, pretrained=write_parameters(kind, net, tmp_path), **settings_of(name))
    assert np.abs(outputs(module) - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize('name', NAMES)
def test_saved_parameters_load_in_gluon(tmp_path, name):
    module, path = pytorch.get_model(name, **settings_of(name)), str(tmp_path / 'net.params')
    expected = outputs(module)
    pytorch.save_parameters(module, path)
    net = openatac.get_model(name, pretrained=path, **settings_of(name))
    assert np.abs(net(mx.nd.array(IMAGES)).asnumpy() - expected).max() <= 1e-4 * np.abs(expected).max()
    again = pytorch.get_model(name, **settings_of(name))
    pytorch.load_parameters(again, path)
    assert np.array_equal(outputs(again), expected)


def test_block_with_pytorchs_own_layers_can_be_saved_and_loaded(tmp_path):
    """PyTorch's BatchNorm counts batches in an array without dimensions, which MXNet's format lacks."""
    def block():
        return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), pytorch.ATAC(8, r=2))

    saved, loaded, path = block(), block(), str(tmp_path / 'block.params')
    saved(torch.tensor(IMAGES))
    pytorch.save_parameters(saved, path)
    pytorch.load_parameters(loaded, path)
    assert saved.state_dict()['1.num_batches_tracked'] == 1
    for name, value in saved.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_network_with_other_classes_starts_from_a_file(tmp_path, caplog):
    path = write_parameters('structural', network_with_statistics(), tmp_path)
    torch.manual_seed(3)
    fresh = pytorch.get_model(MODEL, classes=5)
    torch.manual_seed(3)
    start = pytorch.get_model(MODEL, classes=5, pretrained=path)
    assert torch.equal(start.output.weight, fresh.output.weight)
    assert not torch.equal(start.features[1].weight, fresh.features[1].weight)
    line, = [record.getMessage() for record in caplog.records]
    assert all(word in line for word in (path, '111', 'output.weight', 'output.bias', '(10, 64)', '(5, 64)'))
    with pytest.raises(ParameterFileError, match=r'output.weight.*\(10, 64\)'):
        pytorch.load_parameters(fresh, path)


def test_bundled_weights_load():
    net, module = (library.get_model(MODEL, pretrained=True) for library in (openatac, pytorch))
    expected = net(mx.nd.array(IMAGES)).asnumpy()
    assert np.abs(outputs(module) - expected).max() <= 1e-4 * np.abs(expected).max()


def test_intact_file_gives_no_warning(tmp_path, caplog):
    path = write_parameters('structural', network_with_statistics(), tmp_path)
    with caplog.at_level(logging.INFO):
        pytorch.get_model(MODEL, pretrained=path)
    assert [record.levelname for record in caplog.records] == ['INFO']


def test_files_of_other_networks_are_refused(tmp_path):
    path = write_parameters('structural', network_with_statistics(), tmp_path)
    for name in ('cifar_resnet14_v2_atac', 'cifar_resnet8_v2_relu'):
        with pytest.raises(ParameterFileError, match='features'):
            pytorch.get_model(name, pretrained=path)
    with pytest.raises(ParameterFileError, match=r'features.*weight'):
        pytorch.get_model(MODEL, pretrained=path, channels=(8, 8, 16, 32))
    with pytest.raises(ParameterFileError, match='absent'):
        pytorch.get_model(MODEL, pretrained=str(tmp_path / 'absent.params'))
    with pytest.raises(OpenatacError, match='folder/net.params'):
        pytorch.save_parameters(torch.nn.Linear(2, 2), str(tmp_path / 'folder' / 'net.params'))


def test_weights_load_in_every_precision(tmp_path):
    path = str(tmp_path / 'net.params')
    module = pytorch.get_model(MODEL).to(torch.bfloat16)
    pytorch.save_parameters(module, path)
    assert openatac.get_model(MODEL, pretrained=path).output.weight.data().dtype == np.float32
    again = pytorch.get_model(MODEL).double()
    pytorch.load_parameters(again, path)
    assert again.output.weight.dtype == torch.float64
    assert torch.equal(again.output.weight.float(), module.output.weight.float())


WITHOUT_MXNET = '''
import sys, torch
from openatac.pytorch import ATAC, get_model, get_model_list, save_parameters
import openatac
assert 'resnet50_v1b_aa' in get_model_list()
for name in ('cifar_resnet8_v2_ge', 'cifar_resnet8_v2_xunit_cbam', 'cifar_resnet18_v1_frelu'):
    assert get_model(name, classes=3)(torch.zeros(2, 3, 16, 16)).shape == (2, 3)
assert ATAC(8)(torch.zeros(2, 8, 4, 4)).shape == (2, 8, 4, 4)
net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
assert openatac.replace_activations(net, 'atac', image_shape=(3, 8, 8)) == ['1']
module = get_model('cifar_resnet8_v2_atac', pretrained=sys.argv[1])
save_parameters(module, sys.argv[2])
assert not [name for name in sys.modules if name.split('.')[0] in ('mxnet', 'gluoncv', 'cv2', 'matplotlib')]
'''


@pytest.mark.parametrize('kind', ['structural', 'gluon export', 'pt'])
def test_weights_load_without_mxnet(kind, tmp_path, no_mxnet):
    net, path = network_with_statistics(), str(tmp_path / 'again.params')
    result = run_python('-c', WITHOUT_MXNET, write_parameters(kind, net, tmp_path), path, path=no_mxnet,
                        OMP_NUM_THREADS='1')
    assert result.returncode == 0, result.stderr
    again = openatac.get_model(MODEL, pretrained=path)
    for key, value in values_of(net).items():
        np.testing.assert_array_equal(values_of(again)[key], value)


def test_installed_mxnet_is_not_loaded():
    assert output_of('import sys, openatac.pytorch as p; p.get_model("cifar_resnet8_v2_atac"); '
                     'print("mxnet" in sys.modules)', OMP_NUM_THREADS='1') == 'False'


def test_missing_pytorch_is_reported(no_torch):
    result = run_python('-c', 'import openatac.pytorch', path=no_torch)
    assert "pip install 'openatac[torch]'" in result.stderr.splitlines()[-1]
