"""Files of `openatac export` load everywhere and compute the same as the network."""
import os
import re
import shutil

import mxnet as mx
import numpy as np
import pytest

from openatac import get_model
from openatac.data.small import transforms
from openatac.errors import OpenatacError
from openatac.export.exported_symbol import load_block, read_exported_files
from openatac.export.forms.base import FORMS
from openatac.export.parity import REORDERED_TOLERANCE, SAME_TOLERANCE
from openatac.export.tracing import trace
from openatac.graph.fusion import count_operators, fuse
from openatac.graph.symbol_block import symbol_block
from openatac.models.weights import load_parameters, save_parameters
from openatac.trained.input_transform import InputTransform
from openatac.trained.manifest import read_manifest
from tests import oracle
from tests.helpers.exports.exporting import export
from tests.helpers.images.made_up_images import encoded, smooth
from tests.helpers.networks.trained_network import ATAC, describe, images, outputs, trained_network
from tests.helpers.processes.commands import call_export
from tests.helpers.processes.fresh_python import run_python
from tests.helpers.processes.scripts import json_of
from tests.oracle import filled, graph_of

# --------------------------------------------------------------------------------- written files


@pytest.mark.kernels
def test_gluon_loads_an_export(net, whole):
    for files in (whole, whole + '-fused'):
        loaded = mx.gluon.SymbolBlock.imports(files + '-symbol.json', ['data'], files + '-0000.params')
        for x in (images(), images(1)):
            assert np.allclose(outputs(loaded, x), outputs(net, x), atol=REORDERED_TOLERANCE)


@pytest.mark.parametrize('settings', ['{"tabSize": 4}', '[', '{"model": "atac", "blocks": 1}'])
def test_settings_of_something_else_beside_the_file_are_ignored(params, tmp_path, settings):
    file = shutil.copy(params, tmp_path)
    (tmp_path / 'settings.json').write_text(settings)
    assert call_export(ATAC, file, tmp_path / 'net') == 0
    assert read_manifest(str(tmp_path / 'net')).classes == 5


def by_module(path, x):
    symbol, arguments, auxiliary = mx.model.load_checkpoint(path, 0)
    module = mx.mod.Module(symbol, data_names=['data'], label_names=None)
    module.bind([('data', x.shape)], for_training=False)
    module.set_params(arguments, auxiliary)
    module.forward(mx.io.DataBatch([mx.nd.array(x)]), is_train=False)
    return module.get_outputs()[0].asnumpy()


@pytest.mark.kernels
def test_module_api_loads_an_export_as_its_manifest_says(net, whole, monkeypatch):
    note = read_manifest(whole).reports['symbol']['note']
    monkeypatch.setenv(*next(word for word in note.split() if '=' in word).rstrip(':').split('='))
    assert np.allclose(by_module(whole, images()), outputs(net, images()), atol=REORDERED_TOLERANCE)


@pytest.mark.kernels
def test_module_api_loads_the_fused_form_directly(net, whole, monkeypatch):
    monkeypatch.delenv('MXNET_SUBGRAPH_BACKEND', raising=False)  # as without openatac
    found = by_module(whole + '-fused', images())
    assert np.allclose(found, outputs(net, images()), atol=REORDERED_TOLERANCE)


LOAD = """
import sys, mxnet as mx, numpy as np
net = mx.gluon.SymbolBlock.imports(sys.argv[1] + '-symbol.json', ['data'], sys.argv[1] + '-0000.params')
np.save(sys.argv[2], net(mx.nd.array(np.load(sys.argv[2]))).asnumpy())
"""


@pytest.mark.slow  # test_int8_symbol.py loads the INT8 form, which is fused as well, in another process
def test_fused_form_computes_the_same_in_another_process(net, whole, tmp_path):
    path = str(tmp_path / 'x.npy')
    np.save(path, images())
    result = run_python('-c', 'import openatac' + LOAD, whole + '-fused', path, OMP_NUM_THREADS='1')
    assert result.returncode == 0, result.stderr
    assert np.allclose(np.load(path), outputs(net, images()), atol=REORDERED_TOLERANCE)


def test_load_checkpoint_finds_each_array_once(whole):
    for files in (whole, whole + '-fused'):
        symbol, arguments, auxiliary = mx.model.load_checkpoint(files, 0)
        assert sorted(arguments) == sorted(set(symbol.list_arguments()) - {'data'})
        assert sorted(auxiliary) == sorted(symbol.list_auxiliary_states())


def test_manifest_describes_the_export(whole, capsys):
    found = read_manifest(whole)
    assert found[:3] == (ATAC, 5, (3, 32, 32)) and found.labels == list('abcde')
    assert found.precision == 'float32' and found.crop_ratio == 0
    assert sorted(found.reports) == ['fused', 'symbol']
    for form, report in found.reports.items():
        assert report['max_difference'] <= REORDERED_TOLERANCE and report['top1_agreement'] == 1
        assert report['bytes'] == sum(map(os.path.getsize, FORMS.find(form).files(whole)))
        assert set(report['milliseconds']) == {'1', '16'} and min(report['milliseconds'].values()) > 0
    assert sorted(os.listdir(os.path.dirname(whole))) == sorted(
        ['net.json', *(name for form in found.reports for name in FORMS.find(form).files('net'))])


def test_mean_and_deviation_equal_those_of_training(whole):
    pixels = np.random.RandomState(0).randint(0, 256, (32, 32, 3)).astype('uint8')
    trained_on = transforms.normalise(pixels.transpose(2, 0, 1)[None])[0]
    assert np.allclose(InputTransform(read_manifest(whole))(pixels), trained_on, atol=1e-5)


def test_printed_output_reports_the_export(net, params, tmp_path, capsys):
    folder = tmp_path / 'images'
    folder.mkdir()
    for index in range(3):
        (folder / f'{index}.png').write_bytes(encoded(smooth(40, 30, seed=index), 'PNG'))
    assert call_export(ATAC, params, tmp_path / 'net', '--images', folder, '--fuse') == 0
    text = capsys.readouterr().out
    report = read_manifest(str(tmp_path / 'net')).reports['fused']
    assert report['real_images'] == 3 and re.search('16 random .*3 real', text)
    assert all(str(count) in text for count in report['operators'])
    assert 'MXNET_SUBGRAPH_BACKEND=NONE' in text
    assert call_export(ATAC, params, tmp_path / 'net') == 0
    assert re.search('16 random .*0 real', capsys.readouterr().out)


def test_label_file_from_windows_is_read(params, tmp_path):
    (tmp_path / 'labels.txt').write_bytes('\ufeffa \r\nb\r\n\r\nc\r\nd\r\né\r\n'.encode())
    assert call_export(ATAC, params, str(tmp_path / 'out'), '--labels', str(tmp_path / 'labels.txt')) == 0
    assert json_of(tmp_path, 'out.json')['labels'] == ['a', 'b', 'c', 'd', 'é']


def test_another_input_size_is_accepted(params, tmp_path):
    assert call_export(ATAC, params, tmp_path / 'large', '--input-size', 48) == 0
    assert read_manifest(str(tmp_path / 'large')).image_shape == (3, 48, 48)


# --------------------------------------------------------------------------- export of a run

def test_run_export_finds_its_network_labels_and_images(run, tmp_path):
    assert call_export(run, tmp_path / 'net') == 0
    found = read_manifest(str(tmp_path / 'net'))
    assert found.model == ATAC + '_global'
    assert found.labels[:2] == ['airplane', 'automobile'] and len(found.labels) == 10
    assert found.arguments['useGlobal'] is True and found.reports['symbol']['real_images'] == 20
    net = get_model(ATAC, useGlobal=True, useReLU=False)
    load_parameters(net, str(run / 'best.params'))
    found = outputs(load_block(str(tmp_path / 'net')), images())
    assert np.allclose(found, outputs(net, images()), atol=SAME_TOLERANCE)


def test_training_script_writes_the_same_export(run, tmp_path):
    assert call_export(run, run / 'last.params', tmp_path / 'net') == 0  # the only epoch, and so the best one
    ours, theirs = str(tmp_path / 'net'), str(run / 'export' / 'best')
    first, second = (read_manifest(path)._replace(reports={}, sha256={}) for path in (ours, theirs))
    assert first == second  # except for the array names, which Gluon numbers
    found = outputs(load_block(ours), images())
    assert np.allclose(found, outputs(load_block(theirs), images()), atol=SAME_TOLERANCE)


def test_run_whose_images_are_gone_is_exported(run, tmp_path, capsys):
    assert call_export(run, tmp_path / 'net', '--data-dir', tmp_path / 'nowhere') == 0
    assert 'cifar10' in capsys.readouterr().out


def test_coarse_labels_fill_a_hundred_outputs(params, tmp_path):
    net = trained_network(classes=100)
    save_parameters(net, str(tmp_path / 'net.params'))
    assert call_export(ATAC, tmp_path / 'net.params', tmp_path / 'net', '--dataset', 'cifar100-coarse',
                '--data-dir', tmp_path) == 0
    labels = read_manifest(str(tmp_path / 'net')).labels
    assert labels[0] == 'aquatic_mammals' and labels[19] == 'vehicles_2' and len(set(labels)) == 100


# ------------------------------------------------------------------------------------ graphs

@pytest.mark.kernels
@pytest.mark.parametrize('name', ['cifar10_b1_atac', 'imagenet_1111_atac2'])
def test_exported_graphs_equal_the_oracles(name, tmp_path):
    net, description, arrays = filled(name, 'hybridized')
    side = description['input_shape'][-1]
    manifest = describe(name, side)._replace(classes=arrays['eval_output'].shape[1])
    export(net, str(tmp_path / 'net'), manifest, ('symbol', 'fused'))
    symbol, _ = read_exported_files(str(tmp_path / 'net'))
    assert graph_of(symbol) == description['graph']
    x = oracle.fill.images(name, description['input_shape'])
    for form, tolerance in (('net', SAME_TOLERANCE), ('net-fused', REORDERED_TOLERANCE)):
        assert np.allclose(outputs(load_block(str(tmp_path / form)), x), arrays['eval_output'],
                           atol=tolerance * np.abs(arrays['eval_output']).max())


@pytest.mark.kernels
@pytest.mark.parametrize('name', [ATAC, 'cifar_resnet8_v2_relu', 'cifar_resnet8_v2_se'])
def test_fused_form_consists_of_fused_operators(name, tmp_path):
    """MXNet's fusion alone gives other outputs for the pre-activation hosts."""
    net = trained_network(name)
    symbol, _ = trace(net)
    before, after = count_operators(symbol), count_operators(fuse(symbol))
    assert after['BatchNorm'] < before['BatchNorm'] and after['_sg_mkldnn_conv'] == before['Convolution']
    assert after['Convolution'] == 0 and after['elemwise_add'] < before['elemwise_add']
    export(net, str(tmp_path / 'net'), describe(name), ('fused',))
    x = images(4)
    expected = outputs(net, x)
    loaded = load_block(str(tmp_path / 'net-fused'))
    assert np.abs(outputs(loaded, x) - expected).max() <= REORDERED_TOLERANCE * max(1, np.abs(expected).max())


@pytest.mark.kernels
def test_mxnets_own_fusion_is_still_wrong(net):
    """If this fails, the identities that `fuse` inserts are no longer needed."""
    symbol, arrays = trace(net)
    x = images()
    wrong = symbol_block(symbol.get_backend_symbol('MKLDNN'), arrays)
    assert np.abs(outputs(wrong, x) - outputs(net, x)).max() > 0.01


def test_fused_form_without_anything_to_fold_is_refused(tmp_path):
    net = mx.gluon.nn.HybridSequential()
    net.add(mx.gluon.nn.Flatten(), mx.gluon.nn.Dense(5))
    net.initialize()
    with pytest.raises(OpenatacError, match='BatchNorm'):
        export(net, str(tmp_path / 'net'), describe(), ('symbol', 'fused'))
    assert not os.listdir(tmp_path)


# ----------------------------------------------------------------------------------- float16

def test_float16_export_is_close_to_the_network(net, params, tmp_path, capsys):
    assert call_export(ATAC, params, tmp_path / 'half', '--precision', 'float16') == 0
    symbol, arrays = read_exported_files(str(tmp_path / 'half'))
    for name, array in arrays.items():
        norm = any(word in name for word in ('gamma', 'beta', 'running'))
        assert array.dtype == (np.float32 if norm else np.float16), name
    types = symbol.infer_type(data='float16')
    assert types[1] == [np.float16]
    assert read_manifest(str(tmp_path / 'half')).precision == 'float16'
    loaded = load_block(str(tmp_path / 'half'))
    loaded.cast('float32')
    assert np.abs(outputs(loaded, images()) - outputs(net, images())).max() < 0.02


def test_float16_export_does_not_change_the_network(tmp_path):
    net = trained_network()
    before = {name: array.asnumpy() for name, array in trace(net)[1].items()}
    export(net, str(tmp_path / 'half'), describe(precision='float16'))
    after = {name: array.asnumpy() for name, array in trace(net)[1].items()}
    assert all(after[name].dtype == np.float32 and (after[name] == before[name]).all() for name in before)
