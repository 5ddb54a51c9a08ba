"""Parameter files of every kind load into a network, and start one with other classes."""
import json
import logging
import os
import pickle
import struct

import mxnet as mx
import numpy as np
import pytest

from openatac import get_model
from openatac.errors import OpenatacError, ParameterFileError
from openatac.files.mxnet_arrays import read_params, write_params
from openatac.models.weights import load_parameters
from tests.helpers.exports.exporting import export
from tests.helpers.exports.small_export import MANIFEST
from tests.helpers.networks.parameter_files import (
    IMAGES,
    KINDS,
    MODEL,
    network_with_statistics,
    values_of,
    write_parameters,
)
from tests.helpers.networks.safetensors import write_safetensors

MANIFEST = MANIFEST._replace(classes=10, labels=[])


def outputs(net):
    return net(mx.nd.array(IMAGES)).asnumpy()


@pytest.mark.usefixtures('shallow_resnet')
@pytest.mark.parametrize('name, kind', [
    *((MODEL, kind) for kind in KINDS), ('resnet50_v1b_aa', 'prefixed'), ('resnet50_v1b_aa', 'gluon export')])
def test_file_of_every_kind_gives_the_same_network(tmp_path, name, kind):
    """In ResNet-50 with attention, names are numbered over the whole process."""
    net = network_with_statistics(name)
    path = write_parameters(kind, net, tmp_path)
    again = values_of(get_model(name, pretrained=path))
    for key, value in values_of(net).items():
        assert again[key].dtype == np.float32
        np.testing.assert_array_equal(again[key], value.astype('float16') if kind == 'float16' else value)


@pytest.mark.parametrize('kind', KINDS)
def test_network_with_other_classes_starts_from_a_file(tmp_path, kind, caplog):
    net = network_with_statistics()
    path = write_parameters(kind, net, tmp_path)
    start = get_model(MODEL, classes=5, pretrained=path)
    assert outputs(start).shape == (2, 5)
    theirs, ours = values_of(net), values_of(start)
    for name, value in ours.items():
        if not name.startswith('output.'):
            np.testing.assert_array_equal(value, theirs[name].astype('float16' if kind == 'float16' else
                                                                     'float32'))
    assert ours['output.weight'].any() and not ours['output.bias'].any()
    line, = [record.getMessage() for record in caplog.records]
    assert all(word in line for word in (path, '111', 'output.weight', 'output.bias', '(10, 64)', '(5, 64)'))


def test_head_of_the_same_size_is_loaded(tmp_path, caplog):
    net = network_with_statistics()
    path = write_parameters('structural', net, tmp_path)
    with caplog.at_level(logging.INFO):
        again = get_model(MODEL, classes=10, pretrained=path)
    assert (outputs(again) == outputs(net)).all()
    assert path in caplog.text and '113' in caplog.text


def test_new_head_depends_on_the_seed_alone(tmp_path):
    path, heads = write_parameters('structural', network_with_statistics(), tmp_path), []
    for seed in (3, 3, 4):
        mx.random.seed(seed)
        heads.append(values_of(get_model(MODEL, classes=5, pretrained=path))['output.weight'])
    assert (heads[0] == heads[1]).all() and (heads[0] != heads[2]).any()


# ---------------------------------------------------------------------------------- refused

def refused(path, *named, error=ParameterFileError, **settings):
    """Assert that loading the file fails with an error that names the file and these words."""
    with pytest.raises(error) as found:
        get_model(MODEL, pretrained=path, **settings)
    assert all(word in str(found.value) for word in (path, *named)), found.value


@pytest.mark.parametrize('classes', [10, 5])
def test_other_mismatches_are_refused(tmp_path, classes):
    path, arrays = str(tmp_path / 'net.params'), values_of(network_with_statistics())
    for change, named in (({'features.1.weight': np.zeros((8, 3, 3, 3), 'float32')}, ['features.1.weight']),
                          ({'output.weight': np.zeros((10, 32), 'float32')}, ['output.weight', '(10, 32)']),
                          ({'more': np.zeros(1, 'float32')}, ['more'])):
        write_params(path, {**arrays, **change})
        refused(path, *named, classes=classes)
    del arrays['features.5.gamma']
    write_params(path, arrays)
    refused(path, 'features.5.gamma', classes=classes)
    another = network_with_statistics('cifar_resnet8_v2_relu')
    refused(write_parameters('prefixed', another, tmp_path), 'features.2.0.msAA1')


def test_forms_for_inference_are_refused(tmp_path):
    out = str(tmp_path / 'net')
    export(network_with_statistics(), out, MANIFEST, ['symbol', 'fused', 'int8'], calibration_images=[IMAGES])
    for form in ('fused', 'int8'):
        refused(f'{out}-{form}-0000.params', 'PREFIX-0000.params')
    get_model(MODEL, pretrained=out + '-0000.params')


def test_modified_export_is_refused(tmp_path):
    out = str(tmp_path / 'net')
    export(network_with_statistics(), out, MANIFEST)
    arrays = read_params(out + '-0000.params')
    write_params(out + '-0000.params', {name: array + 1 for name, array in arrays.items()})
    refused(out + '-0000.params', out + '.json', error=OpenatacError)


HEADER = {'a': {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 8]}}


def framed(header, data=b'12345678', length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack('<Q', len(text) if length is None else length) + text + data


@pytest.mark.parametrize('content', [
    b'', b'1234', framed(HEADER, length=2 ** 63), framed(HEADER, length=10 ** 6), framed(b'{'), framed(b'[]'),
    framed(b'\xff\xfe'), framed(HEADER, b'1234'), framed(b'[' * 10 ** 5),
    *[framed({'a': {**HEADER['a'], **change}}) for change in (
        {'shape': [3]}, {'shape': [-2]}, {'shape': [2.0]}, {'shape': 2}, {'shape': [2 ** 40] * 60},
        {'dtype': 'F8'}, {'dtype': 'F64'}, {'data_offsets': [8, 0]}, {'data_offsets': [-8, 0]},
        {'data_offsets': [0, 8, 8]}, {'data_offsets': [2 ** 70, 2 ** 70 + 8]})],
], ids=repr)
def test_damaged_safetensors_file_is_refused(tmp_path, content):
    path = tmp_path / 'net.safetensors'
    path.write_bytes(content)
    refused(str(path))


def test_safetensors_in_bfloat16_and_float16_with_metadata(tmp_path):
    path, arrays = str(tmp_path / 'net.safetensors'), values_of(network_with_statistics())
    for kind, (bits, expected) in {
            'BF16': (lambda array: (array.view('<u4') >> 16).astype('<u2'),
                     lambda array: (array.view('<u4') & 0xFFFF0000).view('<f4')),
            'F16': (lambda array: array.astype('<f2'), lambda array: array.astype('<f2'))}.items():
        write_safetensors(path, {name: bits(array) for name, array in arrays.items()}, kind,
                          __metadata__={'format': 'pt'})
        found = values_of(get_model(MODEL, pretrained=path))
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], expected(array))


@pytest.mark.parametrize('suffix', ['.params', '.safetensors', '.pt'])
@pytest.mark.parametrize('kind', ['missing', 'folder', 'FIFO', 'noise'])
def test_other_files_give_a_clear_error(tmp_path, suffix, kind):
    if suffix == '.pt':
        pytest.importorskip('torch')
    path = str(tmp_path / ('net' + suffix))
    if kind == 'folder':
        os.mkdir(path)
    elif kind == 'FIFO':
        os.mkfifo(path)
    elif kind == 'noise':
        (tmp_path / ('net' + suffix)).write_bytes(np.random.RandomState(0).bytes(1000))
    refused(path)


class Attack:
    """An object that creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, 'w')


def test_pickles_are_not_executed(tmp_path):
    torch = pytest.importorskip('torch')
    path, harmed = str(tmp_path / 'net.pt'), tmp_path / 'harmed'
    for save in (torch.save, lambda content, path: (tmp_path / 'net.pt').write_bytes(pickle.dumps(content))):
        for content in (Attack(str(harmed)), {'output.weight': Attack(str(harmed))}):
            save(content, path)
            refused(path)
    for content in ([torch.zeros(1)], {'state_dict': {}}, {3: torch.zeros(1)}, torch.zeros(1),
                    {'a': torch.zeros(1, device='meta')}, {'a': torch.eye(2).to_sparse()}):
        torch.save(content, path)
        refused(path, 'state_dict')
    assert not harmed.exists()


def test_changed_settings_are_distinguished_from_changed_classes(tmp_path):
    """Each error names the remedy, and no shape that the network has yet to infer."""
    path = write_parameters('structural', network_with_statistics(), tmp_path)
    for settings, named in ({'r': 4}, 'such as r'), ({'classes': 5}, '--pretrained'):
        with pytest.raises(ParameterFileError) as error:
            load_parameters(get_model(MODEL, **settings), path)
        assert named in str(error.value) and '(0' not in str(error.value) and ' 0,' not in str(error.value)
    with pytest.raises(ParameterFileError, match='unexpected .*msAA1'):
        load_parameters(get_model('cifar_resnet8_v2_relu'), path)
