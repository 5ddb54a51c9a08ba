"""The pretrained networks in the package: each matches its model card."""
import json
import os

import mxnet as mx
import numpy as np
import pytest
from PIL import Image

import train_cifar
from openatac import cli, get_model, load
from openatac.errors import OpenatacError, ParameterFileError
from openatac.files.checksums import file_sha256
from openatac.zoo.weights.pretrained import bundled_file, model_card, pretrained_names, resolve_parameter_file
from tests.helpers.images.cifar_slice import write_slice
from tests.helpers.networks.parameters import parameters_of
from tests.helpers.processes.commands import command_error
from tests.helpers.processes.scripts import run_in_process, script_error

ATAC = 'cifar_resnet8_v2_atac'
NAMES = pytest.mark.parametrize('name', pretrained_names())


@pytest.fixture(scope='module')
def test_images(shared_data, tmp_path_factory):
    """The folder of all test images, with few training images."""
    return write_slice(shared_data, tmp_path_factory.mktemp('data') / 'cifar-10-batches-bin', 100, test=5000)


@NAMES
def test_accuracy_equals_the_model_card(name, test_images, tmp_path):
    card = model_card(name)
    assert run_in_process('--evaluate', name, '--data-dir', test_images, '--report', tmp_path / 'report') == 0
    report = json.loads((tmp_path / 'report' / 'report.json').read_text())
    assert report['images'] == card.test_images == 5000
    assert report['accuracy'] == pytest.approx(card.accuracy, abs=0.0005)


@NAMES
def test_model_card_describes_these_weights(name):
    card = model_card(name)
    assert card.network == name and card.sha256 == file_sha256(bundled_file(name))
    assert card.accuracy == pytest.approx(card.accuracies[0], abs=0.002)  # in float32; seeds are in order


def test_pretrained_files_are_small():
    assert sum(os.path.getsize(bundled_file(name)) for name in pretrained_names()) < 4e6


@NAMES
def test_pretrained_true_loads_the_weights(name):
    net = get_model(name, pretrained=True)
    stored = mx.nd.load(bundled_file(name))
    for key, parameter in parameters_of(net).items():
        assert np.array_equal(parameter.data().asnumpy(), stored[key].asnumpy().astype('float32')), key


def test_other_classes_keep_the_trunk():
    net = get_model(ATAC, classes=3, pretrained=True)
    assert net(mx.nd.zeros((1, 3, 32, 32))).shape == (1, 3)
    assert np.array_equal(parameters_of(net)['features.1.weight'].data().asnumpy(),
                          mx.nd.load(bundled_file(ATAC))['features.1.weight'].asnumpy().astype('float32'))


@pytest.mark.parametrize('name', ['cifar_resnet20_v2_atac', 'resnet50_v1b_se'])
def test_networks_without_weights_name_those_that_have_them(name):
    with pytest.raises(ValueError, match=f'(?s){name}.*{ATAC}'):
        get_model(name, pretrained=True)


def test_script_starts_from_pretrained_weights(tmp_path, capsys):
    assert run_in_process('--dataset', 'digits', '--pretrained', ATAC, '--num-epochs', 1, '--batch-size', 64,
                          '--save-dir', tmp_path / 'run', '--blocks', 1, '--useReLU') == 0
    assert json.loads((tmp_path / 'run' / 'settings.json').read_text())['pretrained'] == ATAC
    wrong = script_error(capsys, 2, '--pretrained', 'cifar_resnet20_v2_atac', script=train_cifar)
    assert 'cifar_resnet20_v2_atac' in wrong and ATAC in wrong


def test_file_or_folder_of_that_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ATAC).mkdir()
    assert resolve_parameter_file(ATAC) == ATAC
    with pytest.raises(OpenatacError):  # not the folder of a run
        load(ATAC)


def test_unknown_names_are_taken_as_paths(tmp_path):
    assert resolve_parameter_file(str(tmp_path / 'x.params')) == str(tmp_path / 'x.params')
    assert resolve_parameter_file('x.params') == 'x.params'
    with pytest.raises(ParameterFileError, match=f'nothing.*{ATAC}'):
        resolve_parameter_file('nothing')


def test_predict_classifies_by_name(test_images, tmp_path, capsys):
    """Classify the first test image; its top label is its class."""
    record = np.fromfile(test_images / 'test_batch.bin', 'uint8', 3073)
    path = tmp_path / 'image.png'
    Image.fromarray(record[1:].reshape(3, 32, 32).transpose(1, 2, 0)).save(path)
    assert cli.main(['predict', '--model', ATAC, str(path), '--json', '--top', '1']) == 0
    best, = json.loads(capsys.readouterr().out)['predictions']
    assert (best['class'], best['label']) == (record[0], model_card(ATAC).classes[record[0]])
    assert load(ATAC)(path, top=1)[0].label == best['label']
    assert cli.main(['predict', str(path), '--model', ATAC, str(path), '--json']) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize('arguments, named', [
    (['x.png'], '--model'), (['--model', ATAC, 'x.png', '--engine', 'fused'], '--engine'),
    (['--model', ATAC, 'x.png', '--gates', 'x.png'], '--gates')])
def test_predict_refuses(capsys, arguments, named):
    assert named in command_error(capsys, 'predict', 2, *arguments)
