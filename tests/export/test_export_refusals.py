"""`openatac export` refuses wrong command lines, damaged files and networks that it cannot reproduce."""
import json
import os

import mxnet as mx
import numpy as np
import pytest

from openatac.errors import OpenatacError
from openatac.export.exported_symbol import load_block
from tests.helpers.exports.exporting import export
from tests.helpers.folder_contents import contents
from tests.helpers.networks.trained_network import ATAC, describe, trained_network
from tests.helpers.processes.scripts import json_of, script_error


def test_wrong_command_lines_are_refused(refused, params, run, tmp_path):
    out = tmp_path / 'net'
    assert 'cifar_resnet20_v2_atac' in refused(2, 'cifar_resnet_20_v2_atac', params, out)
    assert ATAC in refused(2, ATAC, out)
    assert 'MODEL PARAMS OUT' in refused(2, ATAC)
    assert str(tmp_path) in refused(2, ATAC, params, tmp_path)
    assert '--r' in refused(2, run, out, '--r', 2)
    assert 'float16' in refused(2, ATAC, params, out, '--precision', 'float16', '--fuse')
    assert '--useGlobal' in refused(2, 'resnet50_v1b_atac', params, out, '--useGlobal')
    assert '2 names' in refused(2, ATAC, params, out, '--labels', 'a,b')
    assert '10 names' in refused(2, ATAC, params, out, '--dataset', 'cifar10')
    assert '--calibrate' in refused(2, ATAC, params, out, '--int8')
    assert '0.5' in refused(2, ATAC, params, out, '--input-size', '0.5')
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize('name', ['net-int8', 'net-fused', 'net-symbol', 'net-int8-fused'])
def test_name_of_another_exports_files_is_refused(refused, params, tmp_path, capsys, name):
    assert name in refused(2, ATAC, params, tmp_path / name)
    assert name in script_error(capsys, 2, '--dry-run', 1, '--export', tmp_path / name)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize('forms', [['onxx'], []])
def test_unknown_forms_change_nothing(net, tmp_path, forms):
    prefix = str(tmp_path / 'net')
    export(net, prefix, describe())
    before = contents(tmp_path)
    with pytest.raises(ValueError, match='form'):
        export(net, prefix, describe(), forms=forms)
    assert contents(tmp_path) == before


def test_unsuitable_files_are_refused(refused, params, run, tmp_path):
    out = tmp_path / 'made' / 'net'
    cut = tmp_path / 'cut.params'
    with open(params, 'rb') as handle:
        cut.write_bytes(handle.read()[:-1000])
    (tmp_path / 'text.params').write_text('no parameters')
    assert 'none.params' in refused(1, ATAC, tmp_path / 'none.params', out)
    assert 'cut.params' in refused(1, ATAC, cut, out)
    assert 'text.params' in refused(1, ATAC, tmp_path / 'text.params', out)
    assert params in refused(1, 'cifar_resnet8_v2_relu', params, out)
    assert params in refused(1, 'cifar_resnet14_v2_atac', params, out)
    assert 'shape' in refused(1, ATAC, params, out, '--r', 4)
    assert 'shape (5' in refused(1, ATAC, params, out, '--classes', 7)
    assert str(tmp_path) in refused(1, tmp_path, out)
    assert params in refused(1, run, params, out)
    assert str(run / 'checkpoints') in refused(1, ATAC, params, out, '--images', run / 'checkpoints')
    assert sorted(os.listdir(tmp_path)) == ['cut.params', 'text.params']


def test_damaged_settings_are_refused(refused, run, tmp_path):
    settings = json_of(run, 'settings.json')
    for key, value in (('act_type', 'tanh'), ('r', 'x'), ('model', 3)):
        (tmp_path / 'settings.json').write_text(json.dumps({**settings, key: value}))
        assert 'settings.json' in refused(1, tmp_path, tmp_path / 'net')


def test_unwritable_output_is_refused(refused, params, tmp_path):
    (tmp_path / 'file').write_text('in the way')
    assert str(tmp_path / 'file') in refused(1, ATAC, params, tmp_path / 'file' / 'net')


def test_mismatched_input_size_is_refused(tmp_path):
    net = mx.gluon.nn.Dense(5, in_units=3 * 32 * 32)
    net.initialize()
    with pytest.raises(OpenatacError, match=r'\b16\b'):
        export(net, str(tmp_path / 'net'), describe(side=16))
    assert not os.listdir(tmp_path)


def test_network_with_non_finite_values_is_refused(net, refused, params, tmp_path):
    arrays = mx.nd.load(params)
    arrays['output.bias'][:] = np.nan
    mx.nd.save(str(tmp_path / 'nan.params'), arrays)
    assert 'infinite' in refused(1, ATAC, tmp_path / 'nan.params', tmp_path / 'net')
    assert os.listdir(tmp_path) == ['nan.params']


@pytest.mark.parametrize('ending, content, named', [
    ('-symbol.json', None, 'net-symbol.json'),
    ('-symbol.json', '', 'net-symbol.json'),
    ('-symbol.json', '{}', 'net-symbol.json'),
    ('-symbol.json', '{"nodes": [{"op": "null", "name": "x", "inputs": []}], "arg_nodes": [0], '
     '"heads": [[0, 0, 0]]}', "'data'"),
    ('-symbol.json', 1000, 'net-symbol.json'),
    ('-0000.params', None, 'net-0000.params'),
    ('-0000.params', 1000, 'net-0000.params'),
], ids=lambda value: str(value)[:12])
def test_damaged_symbol_files_are_refused(whole, tmp_path, ending, content, named):
    for file in ('-symbol.json', '-0000.params'):
        with open(whole + file, 'rb') as handle:
            data = handle.read()
        if file == ending:
            data = content if content is None else data[:content] if content == 1000 else content.encode()
        if data is not None:
            (tmp_path / ('net' + file)).write_bytes(data)
    with pytest.raises(OpenatacError, match=named):
        load_block(str(tmp_path / 'net'))


def test_symbol_and_parameters_of_different_networks_are_refused(net, whole, tmp_path):
    export(trained_network('cifar_resnet8_v2_relu'), str(tmp_path / 'net'), describe('cifar_resnet8_v2_relu'))
    with open(whole + '-0000.params', 'rb') as handle:
        (tmp_path / 'net-0000.params').write_bytes(handle.read())
    os.unlink(tmp_path / 'net.json')  # it notices by their checksums
    with pytest.raises(OpenatacError, match=str(tmp_path / 'net')):
        load_block(str(tmp_path / 'net'))
