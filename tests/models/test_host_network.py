"""`load_parameters` of the Gluon networks reads files of every kind."""
import mxnet as mx
import numpy as np
import pytest

import openatac
from openatac.errors import ParameterFileError
from openatac.zoo.weights.pretrained import bundled_file
from tests.helpers.processes.commands import call_export
from tests.helpers.processes.scripts import json_of

NAME = 'cifar_resnet8_v2_atac'
IMAGES = mx.nd.random.normal(shape=(2, 3, 32, 32))


@pytest.fixture(scope='module')
def expected():
    return openatac.get_model(NAME, pretrained=True)(IMAGES).asnumpy()


def test_float16_file_is_loaded_in_float32(expected):
    net = openatac.get_model(NAME)
    net.load_parameters(bundled_file(NAME))
    np.testing.assert_allclose(net(IMAGES).asnumpy(), expected, rtol=1e-4, atol=1e-4)


def test_parameters_of_an_export_are_loaded(expected, tmp_path):
    assert call_export(NAME, NAME, tmp_path / 'net') == 0
    assert json_of(tmp_path, 'net.json')['labels'][3] == 'cat'  # from the settings beside the weights
    net = openatac.get_model(NAME)
    net.load_parameters(str(tmp_path / 'net-0000.params'), ctx=mx.cpu())
    np.testing.assert_allclose(net(IMAGES).asnumpy(), expected, rtol=1e-4, atol=1e-4)


def test_other_classes_name_the_argument():
    with pytest.raises(ParameterFileError, match='pretrained='):
        openatac.get_model(NAME, classes=5).load_parameters(bundled_file(NAME))


def test_gluons_options_are_gluons(tmp_path):
    path = str(tmp_path / 'net.params')
    openatac.get_model(NAME, pretrained=True).save_parameters(path)
    net = openatac.get_model('cifar_resnet8_v2_relu')
    net.initialize()
    net.load_parameters(path, ignore_extra=True)
    net(IMAGES).wait_to_read()
