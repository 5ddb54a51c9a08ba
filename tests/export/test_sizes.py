"""Networks for rectangular images, from training to prediction, and ONNX files for images of any size."""
import json
import re

import mxnet as mx
import numpy as np
import pytest

import openatac
import train_imagenet
from openatac.data.images.decoding import decode
from openatac.data.photos.transforms import (
    MEAN_0_TO_255,
    STD_0_TO_255,
    EvaluationTransform,
    TrainingTransform,
)
from openatac.errors import OpenatacError
from openatac.models.weights import save_parameters
from openatac.trained.input_transform import InputTransform
from openatac.trained.manifest import Manifest
from openatac.training.run_folder import RunFolder
from tests.helpers.exports.onnx_files import run_onnx
from tests.helpers.images.made_up_images import blocks, encoded, write_data_dir
from tests.helpers.networks.parameters import initialised
from tests.helpers.processes.commands import call_command, command_error
from tests.helpers.processes.scripts import config_of, json_of, run_in_process, script_error

pytestmark = pytest.mark.usefixtures('shallow_resnet')


@pytest.mark.parametrize('name, side', [('cifar_resnet8_v2_ge', 64), ('cifar_resnet8_v2_se', 64)])
def test_network_by_name_has_the_size_that_it_was_trained_with(name, side, tmp_path):
    net = initialised(openatac.get_model(name, classes=3), side=side)
    net.save_parameters(str(tmp_path / 'net.params'))
    assert call_command('export', name, tmp_path / 'net.params', tmp_path / 'out', '--input-size', side) == 0
    assert json_of(tmp_path, 'out.json')['image_shape'] == [3, side, side]


def test_network_whose_weights_have_another_size_is_refused(tmp_path, capsys):
    net = initialised(openatac.get_model('cifar_resnet8_v2_ge'), side=64)
    net.save_parameters(str(tmp_path / 'net.params'))
    assert call_command('export', 'cifar_resnet8_v2_ge', tmp_path / 'net.params', tmp_path / 'out') == 1
    assert '--input-size' in capsys.readouterr().err


# ------------------------------------------------------------------------------- rectangles


@pytest.mark.parametrize('height, width', [(100, 300), (300, 100), (90, 91), (20, 20)])
def test_evaluation_and_prediction_see_the_same_rectangle(height, width):
    image = decode(encoded(blocks(height, width), 'PNG'))
    out = np.empty((3, 40, 72), 'float32')
    EvaluationTransform('40x72', 0.875)(image, out)
    mean, std = (tuple(map(float, values.ravel())) for values in (MEAN_0_TO_255, STD_0_TO_255))
    predicted = InputTransform(Manifest('net', 2, (3, 40, 72), mean, std, 0.875))(image)
    np.testing.assert_array_equal(out, predicted)


def test_training_fills_the_rectangle():
    out = np.full((3, 40, 72), np.nan, 'float32')
    for index, (height, width) in enumerate([(100, 300), (30, 30), (2, 400)]):
        TrainingTransform('40x72', 0)(blocks(height, width), 0, index, out)
        assert np.isfinite(out).all()


@pytest.fixture(scope='module')
def rectangle_run(tmp_path_factory):
    """(folder of rectangular images, folder of a run on them)."""
    folder = tmp_path_factory.mktemp('rectangles')
    data = write_data_dir(folder / 'data')
    assert run_in_process('--data-dir', data, '--input-size', '32x64', '--act-layers', 1, '--num-epochs', 1,
                          '--batch-size', 4, '--lr', 0.001, '-j', 0, '--last-gamma', '--save-dir',
                          folder / 'run', '--logging-file', folder / 'log', script=train_imagenet) == 0
    return data, folder / 'run'


def test_run_on_rectangles_is_exported_and_predicts(tmp_path, rectangle_run, capsys):
    data, run = rectangle_run
    assert json_of(run, 'settings.json')['input_size'] == '32x64'
    assert call_command('export', run, tmp_path / 'out', '--onnx') == 0
    assert json_of(tmp_path, 'out.json')['image_shape'] == [3, 32, 64]
    capsys.readouterr()
    for engine in ('static', 'onnxruntime'):
        assert call_command('predict', tmp_path / 'out', f'{data}/val/class0', '--engine', engine,
                            '--json') == 0
    one, other = np.split(np.array([
        json.loads(line)['predictions'][0]['score'] for line in capsys.readouterr().out.splitlines()]), 2)
    np.testing.assert_allclose(one, other, atol=1e-4)
    assert call_command('costs', tmp_path / 'out-symbol.json') == 0
    assert '32 x 64' in capsys.readouterr().out


def test_export_can_be_made_at_another_size(tmp_path, rectangle_run):
    assert call_command('export', rectangle_run[1], tmp_path / 'out', '--input-size', '64x32') == 0
    assert json_of(tmp_path, 'out.json')['image_shape'] == [3, 64, 32]


def test_square_sizes_stay_single_numbers():
    assert config_of(train_imagenet, '--input-size', '96x96').data.input_size == 96
    assert config_of(train_imagenet, '--input-size', '96X128').data.input_size == '96x128'


@pytest.mark.parametrize('size', ['31', '32x31', '0x64', '32x64x3', 'axb', '-32', '32x', '99999', '1e3'])
def test_wrong_sizes_are_refused(capsys, size):
    error = script_error(capsys, 2, f'--input-size={size}', script=train_imagenet)
    assert '--input-size' in error and size in error and '160x320' in error


@pytest.mark.parametrize('size', ['1x9999999', 'x', '', 31, [32, 64]])
def test_damaged_size_in_run_settings_is_refused(tmp_path, rectangle_run, size):
    settings = json_of(rectangle_run[1], 'settings.json')
    (tmp_path / 'settings.json').write_text(json.dumps({**settings, 'input_size': size}))
    with pytest.raises(OpenatacError, match='input_size'):
        RunFolder(str(tmp_path)).config()


def test_self_attention_error_names_the_supported_sides(capsys):
    error = script_error(capsys, 2, '--self-attention', 'fa', '--input-size', '64x66', '--summary',
                         script=train_imagenet)
    assert '64x66' in error and re.search(r'\b4\b', error)


# -------------------------------------------------------- ONNX files for images of any size

def export(folder, unit, *flags):
    """Export a newly initialised network; return it and the prefix of its files."""
    net = initialised(openatac.get_model(f'cifar_resnet8_v2_{unit}'), seed=0)
    save_parameters(net, str(folder / 'net.params'))
    code = call_command('export', f'cifar_resnet8_v2_{unit}', folder / 'net.params', folder / 'out', '--onnx',
                        *flags)
    return net, code


@pytest.mark.parametrize('unit', ['atac', 'atac_global', 'se', 'frelu', 'swish'])
def test_dynamic_file_takes_any_size(tmp_path, unit):
    net, code = export(tmp_path, unit, '--dynamic-size')
    assert code == 0
    for shape in ((1, 3, 32, 32), (3, 3, 45, 70), (2, 3, 128, 16)):
        images = np.random.RandomState(0).randn(*shape).astype('float32')
        expected = net(mx.nd.array(images)).asnumpy()
        np.testing.assert_allclose(run_onnx(tmp_path / 'out.onnx', images), expected, rtol=1e-4, atol=1e-4)
    assert json_of(tmp_path, 'out.json')['reports']['onnx']['other_size'] == [64, 96]


def test_file_takes_one_size_without_the_flag(tmp_path):
    assert export(tmp_path, 'atac')[1] == 0
    with pytest.raises(Exception, match='40'):
        run_onnx(tmp_path / 'out.onnx', np.zeros((1, 3, 40, 40), 'float32'))
    assert 'other_size' not in json_of(tmp_path, 'out.json')['reports']['onnx']


@pytest.mark.parametrize('unit', ['ge_theta', 'cbam'])
def test_dynamic_export_of_a_fixed_size_network_is_refused(tmp_path, unit, capsys):
    assert export(tmp_path, unit, '--dynamic-size')[1] == 1
    assert '--dynamic-size' in capsys.readouterr().err
    assert not (tmp_path / 'out.json').exists()


def test_dynamic_flag_needs_onnx(tmp_path, rectangle_run, capsys):
    _, run = rectangle_run
    assert '--onnx' in command_error(capsys, 'export', 2, run, tmp_path / 'out', '--dynamic-size')
