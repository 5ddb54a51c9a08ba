"""train_imagenet.py trains variants of the network, with teachers, and evaluates published parameters."""
import math
import re

import mxnet as mx
import numpy as np
import pytest

import openatac
import train_imagenet
from openatac import cli
from openatac.backends.mxnet.teacher import load_teacher
from openatac.backends.teacher import Teacher
from openatac.errors import OpenatacError
from openatac.training.networks.build import build_network
from tests.helpers.networks.imagenet_hosts import shallow_host, teacher_flags
from tests.helpers.networks.parameters import initialised, parameters_of
from tests.helpers.processes.imagenet_runs import SMALL, parameters, train
from tests.helpers.processes.scripts import config_of, metrics_of, run_in_process

pytestmark = pytest.mark.usefixtures('shallow_resnet')


# --------------------------------------------------------------------------- the variants

def test_mixup_teacher_and_group_norm_work_together(photos, tmp_path):
    folder = train(tmp_path / 'run', photos, '--mixup', '--mixup-off-epoch', 1, '--label-smoothing',
                   '--use-gn', *teacher_flags(tmp_path / 'teacher.params'),
                   '--num-epochs', 2, '--log-interval', 1, '--act-layers', 1)
    rows = metrics_of(folder)
    assert all(0 < row['train_rmse'] < 1 for row in rows) and 'train_accuracy' not in rows[0]
    with open(folder + '.log', encoding='utf-8') as handle:
        assert re.search(r'Batch \[0\]\tSpeed: [\d.]+ samples/sec\trmse=', handle.read())
    assert 'layer1.0.bn1.running_mean' not in parameters(folder)


def test_teacher_can_use_bundled_weights():
    name, images = 'cifar_resnet8_v2_atac', mx.nd.random.normal(shape=(2, 3, 32, 32))
    teacher = load_teacher(Teacher(name, None, 10), [mx.cpu()], (3, 32, 32), 'float32')
    expected = openatac.get_model(name, pretrained=True)(images).asnumpy()
    np.testing.assert_allclose(teacher(images).asnumpy(), expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(OpenatacError, match='10 classes.* 3'):
        load_teacher(Teacher(name, None, 3), [mx.cpu()], (3, 32, 32), 'float32')


@pytest.mark.usefixtures('small_network')
def test_gluoncv_teacher_can_use_local_parameters(photos, tmp_path):
    from gluoncv.model_zoo import get_model
    teacher = get_model('mobilenet0.25', classes=2)
    teacher.initialize()
    teacher(mx.nd.zeros((1, 3, 32, 32)))
    teacher.save_parameters(str(tmp_path / 'teacher.params'))
    folder = train(tmp_path / 'run', photos, '--teacher', 'mobilenet0.25', '--teacher-params',
                   tmp_path / 'teacher.params', '--num-epochs', 1, '--mode', 'imperative')
    assert math.isfinite(metrics_of(folder)[0]['train_loss'])


def test_sync_batch_norm_has_the_same_parameters():
    """Training needs two GPUs; only the network that is built for them is checked here."""
    net = build_network(config_of(train_imagenet, '--syncbn', '--num-gpus', 2, '--r', 2)).net
    plain = shallow_host().gluon()
    assert isinstance(net.layer1[0].bn1, mx.gluon.contrib.nn.SyncBatchNorm)
    assert [(k, p.shape) for k, p in parameters_of(net).items()] == [
        (k, p.shape) for k, p in parameters_of(plain).items()]


@pytest.mark.parametrize('flags, name, parameter, shape', [
    (['--self-attention', 'fa'], 'resnet50_v1b_fa', 'layer1.0.conv2.', None),
    (['--attention', 'se', '--reduction', '8'], 'resnet50_v1b_se', 'layer1.0.attention.excite.0.weight',
     (16, 128)),
    (['--attention', 'se', '--self-attention', 'aa'], 'resnet50_v1b_se_aa', 'layer2.0.conv2.', None),
])
def test_network_flags_build_the_expected_network(flags, name, parameter, shape):
    built = build_network(config_of(train_imagenet, '--act-type', 'relu', *flags))
    parameters = parameters_of(built.net)
    assert built.name == name
    if shape:
        assert parameters[parameter].shape == shape
    else:  # without the convolution
        assert parameter + 'weight' not in parameters and any(key.startswith(parameter) for key in parameters)


# --------------------------------------------------------------------------- only testing

@pytest.fixture(scope='module')
def official(tmp_path_factory):
    """A float16 file with the authors' keys, written by Gluon's own save_parameters."""
    net = initialised(shallow_host().gluon(classes=2), seed=5)
    net.cast('float16')
    path = str(tmp_path_factory.mktemp('official') / 'published.params')
    net.save_parameters(path)
    return path


def test_published_parameters_are_evaluated_by_script_and_command(official, photos, capsys):
    assert mx.nd.load(official)['layer4.0.relu1.module.0.weight'].dtype == np.float16
    these = ('--data-dir', photos, *SMALL[:6], '--batch-size', 4, '-j', 0)
    assert run_in_process('--evaluate', official, *these, script=train_imagenet) == 0
    first = re.search('err-top1=.*', capsys.readouterr().err)[0]
    for more in (these, (*these[:4], *these[6:])):  # without --num-classes, the images determine the number
        assert cli.main(['evaluate-imagenet', official, *map(str, more)]) == 0
        assert re.search('err-top1=.*', capsys.readouterr().err)[0] == first
    assert re.fullmatch(r'err-top1=0\.\d+ err-top5=0.000000 loss=[\d.]+ on 6 images', first)


def test_mismatched_parameter_names_are_listed(official, photos, tmp_path, capsys):
    arrays = mx.nd.load(official)
    arrays['layer1.9.conv1.weight'] = arrays.pop('layer1.0.conv1.weight')
    mx.nd.save(str(tmp_path / 'renamed.params'), arrays)
    assert cli.main(['evaluate-imagenet', str(tmp_path / 'renamed.params'), '--data-dir', photos,
                     '--num-classes', '2', '--input-size', '32', '-j', '0']) == 1
    error = capsys.readouterr().err
    assert 'layer1.0.conv1.weight' in error and 'layer1.9.conv1.weight' in error
