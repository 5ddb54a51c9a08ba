"""Errors about a teacher's parameters are the same in both backends."""
import pytest

import openatac
from openatac.backends.compute import Compute
from openatac.backends.teacher import Teacher
from openatac.errors import OpenatacError

torch = pytest.importorskip('torch')

from openatac import pytorch  # noqa: E402  (it needs torch)

NAME = 'cifar_resnet8_v2_atac'  # has bundled weights for 10 classes


@pytest.fixture(params=['mxnet', 'torch', 'torch without mxnet'])
def load(request, monkeypatch):
    """A function that loads a teacher in a backend."""
    if request.param == 'mxnet':
        import mxnet as mx

        from openatac.backends.mxnet.teacher import load_teacher
        return lambda teacher: load_teacher(teacher, [mx.cpu()], (3, 32, 32), 'float32')
    from openatac.backends.torch import backend
    if request.param == 'torch without mxnet':
        monkeypatch.setattr(backend, 'has_mxnet', lambda: False)
    module = pytorch.get_model(NAME, classes=3)
    return backend.TorchBackend(module, Compute(engine='torch'), (3, 32, 32), 0, '', True).load_teacher


def test_other_classes_are_named_with_the_teacher(load):
    with pytest.raises(OpenatacError) as error:
        load(Teacher(NAME, None, 3))
    assert all(word in str(error.value) for word in (NAME, '10', '3')) and '--' not in str(error.value)


def test_parameters_of_another_network_are_named_with_the_teacher(load, tmp_path):
    path = str(tmp_path / 'other.params')
    pytorch.save_parameters(pytorch.get_model('cifar_resnet8_v2_relu', classes=10), path)
    with pytest.raises(OpenatacError) as error:
        load(Teacher(NAME, path, 10))
    assert all(word in str(error.value) for word in ('teacher', NAME, path))


def test_missing_weights_name_the_flag(load):
    with pytest.raises(OpenatacError, match='--teacher-params'):
        load(Teacher('cifar_resnet26_v2_atac', None, 10))
    assert 'cifar_resnet26_v2_atac' in openatac.get_model_list()
