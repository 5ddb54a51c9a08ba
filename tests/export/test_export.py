"""`openatac export`: what is written loads everywhere, computes the same, and is whole or not there."""
import fcntl
import functools
import json
import os
import re
import resource
import shutil
import signal

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd

from openatac import get_model
from openatac.data.digits import load_digits
from openatac.data.small import cifar_transforms
from openatac.errors import OpenatacError
from openatac.export.exporter import export
from openatac.export.forms import symbol_files
from openatac.export.forms.base import FORMS
from openatac.export.forms.symbol_files import load_block, read_symbol, trace
from openatac.export.images.inputs import InputTransform
from openatac.export.manifest import Manifest, read_manifest
from openatac.export.parity import REORDERED_TOLERANCE, SAME_TOLERANCE, ParityCheck, ParityError
from openatac.graph import fusion
from openatac.graph.fusion import count_operators, fuse
from openatac.graph.symbol import symbol_block
from openatac.models.weights import load_parameters, save_parameters
from openatac.runtime.processor import instruction_set
from tests import oracle
from tests.helpers.commands import call_command, command_refusal
from tests.helpers.digits_network import KNOWS
from tests.helpers.fresh_python import run_python
from tests.helpers.made_up_images import encoded, plain, smooth
from tests.helpers.scripts import call_script, json_of, metrics_of, refusal
from tests.oracle import filled, graph_of

ATAC = 'cifar_resnet8_v2_atac'
FEW = KNOWS - 0.2  # of some dozen images
NAIVE = '--int8', '--calibration', 'naive'  # the quicker one


def call(*words):
    """`openatac export`; its exit code."""
    return call_command('export', *words)


@pytest.fixture
def refused(capsys):
    """refused(code, *words): the sentence with which it ends with that code."""
    return functools.partial(command_refusal, capsys, 'export')


def trained(name=ATAC, side=32, **settings):
    """A network whose running statistics are away from their initial values, as its parameters are."""
    mx.random.seed(3)
    net = get_model(name, **{'classes': 5, **settings})
    net.initialize(mx.init.MSRAPrelu())
    trainer = mx.gluon.Trainer(net.collect_params(), 'sgd', {'learning_rate': 0.01})
    for _ in range(3):
        with autograd.record():
            loss = net(mx.nd.random.normal(0.5, 2, (8, 3, side, side))).square().sum()
        loss.backward()
        trainer.step(8)
    mx.nd.waitall()
    return net


def images(count=3, side=32):
    return np.random.RandomState(5).normal(0.2, 1.5, (count, 3, side, side)).astype('float32')


def outputs(net, x):
    return net(mx.nd.array(x)).asnumpy()


def describe(name=ATAC, side=32, **more):
    return Manifest(name, 5, (3, side, side), (0, 0, 0), (1, 1, 1), **more)


def contents(folder):
    """{name: bytes} of its files."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(scope='module')
def net():
    return trained()


@pytest.fixture(scope='module')
def params(net, tmp_path_factory):
    path = str(tmp_path_factory.mktemp('params') / 'net.params')
    save_parameters(net, path)
    return path


@pytest.fixture(scope='module')
def whole(params, tmp_path_factory):
    """PREFIX of an export by name and file, with the fused form."""
    prefix = tmp_path_factory.mktemp('whole') / 'made' / 'net'
    assert call(ATAC.upper(), params, prefix, '--fuse', '--labels', 'a, b,c,d,e') == 0
    return str(prefix)


@pytest.fixture(scope='module')
def run(cifar10, tmp_path_factory):
    """The folder of a short run, exported at its end as ``run/export/best``."""
    folder = tmp_path_factory.mktemp('run')
    assert call_script('--data-dir', cifar10, '--blocks', 1, '--batch-size', 50, '--num-epochs', 1,
                       '--lr', 0.05, '--useGlobal', '--save-dir', folder,
                       '--export', folder / 'export' / 'best') == 0
    return folder


# ------------------------------------------------------------------------------- what is written

@pytest.mark.kernels
def test_gluon_loads_it(net, whole):
    for files in (whole, whole + '-fused'):
        loaded = mx.gluon.SymbolBlock.imports(files + '-symbol.json', ['data'], files + '-0000.params')
        for x in (images(), images(1)):
            assert np.allclose(outputs(loaded, x), outputs(net, x), atol=REORDERED_TOLERANCE)


def by_module(path, x):
    symbol, arguments, auxiliary = mx.model.load_checkpoint(path, 0)
    module = mx.mod.Module(symbol, data_names=['data'], label_names=None)
    module.bind([('data', x.shape)], for_training=False)
    module.set_params(arguments, auxiliary)
    module.forward(mx.io.DataBatch([mx.nd.array(x)]), is_train=False)
    return module.get_outputs()[0].asnumpy()


@pytest.mark.kernels
def test_the_module_api_loads_it_as_the_description_says(net, whole, monkeypatch):
    note = read_manifest(whole).reports['symbol']['note']
    monkeypatch.setenv(*next(word for word in note.split() if '=' in word).rstrip(':').split('='))
    assert np.allclose(by_module(whole, images()), outputs(net, images()), atol=REORDERED_TOLERANCE)


@pytest.mark.kernels
def test_the_module_api_loads_the_fused_form_as_it_is(net, whole, monkeypatch):
    monkeypatch.delenv('MXNET_SUBGRAPH_BACKEND', raising=False)  # as where openatac is not imported
    found = by_module(whole + '-fused', images())
    assert np.allclose(found, outputs(net, images()), atol=REORDERED_TOLERANCE)


LOAD = """
import sys, mxnet as mx, numpy as np
net = mx.gluon.SymbolBlock.imports(sys.argv[1] + '-symbol.json', ['data'], sys.argv[1] + '-0000.params')
np.save(sys.argv[2], net(mx.nd.array(np.load(sys.argv[2]))).asnumpy())
"""


@pytest.mark.slow  # test_int8_symbol.py loads the INT8 form, which is fused as well, in another process
def test_the_fused_form_in_another_process(net, whole, tmp_path):
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


def test_the_description_tells_all(whole, capsys):
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


def test_mean_and_deviation_are_those_of_the_training(whole):
    pixels = np.random.RandomState(0).randint(0, 256, (32, 32, 3)).astype('uint8')
    trained_on = cifar_transforms.normalise(pixels.transpose(2, 0, 1)[None])[0]
    assert np.allclose(InputTransform(read_manifest(whole))(pixels), trained_on, atol=1e-5)


def test_what_is_printed(net, params, tmp_path, capsys):
    folder = tmp_path / 'pictures'
    folder.mkdir()
    for index in range(3):
        (folder / f'{index}.png').write_bytes(encoded(smooth(40, 30, seed=index), 'PNG'))
    assert call(ATAC, params, tmp_path / 'net', '--images', folder, '--fuse') == 0
    text = capsys.readouterr().out
    report = read_manifest(str(tmp_path / 'net')).reports['fused']
    assert report['real_images'] == 3 and '16 random and 3 real images' in text
    assert all(str(count) in text for count in report['operators'])
    assert 'MXNET_SUBGRAPH_BACKEND=NONE' in text
    assert call(ATAC, params, tmp_path / 'net') == 0
    assert '16 random and 0 real images' in capsys.readouterr().out


# ------------------------------------------------------------------------------------- a run

def test_a_run_knows_its_network_labels_and_images(run, tmp_path):
    assert call(run, tmp_path / 'net') == 0
    found = read_manifest(str(tmp_path / 'net'))
    assert found.model == ATAC + '_global'
    assert found.labels[:2] == ['airplane', 'automobile'] and len(found.labels) == 10
    assert found.arguments['useGlobal'] is True and found.reports['symbol']['real_images'] == 20
    net = get_model(ATAC, useGlobal=True, useReLU=False)
    load_parameters(net, str(run / 'best.params'))
    found = outputs(load_block(str(tmp_path / 'net')), images())
    assert np.allclose(found, outputs(net, images()), atol=SAME_TOLERANCE)


def test_the_script_exports_the_same(run, tmp_path):
    assert call(run, run / 'last.params', tmp_path / 'net') == 0  # of one epoch, which is the best one
    ours, theirs = str(tmp_path / 'net'), str(run / 'export' / 'best')
    first, second = (read_manifest(path)._replace(reports={}, sha256={}) for path in (ours, theirs))
    assert first == second  # but for names of arrays, which Gluon counts
    found = outputs(load_block(ours), images())
    assert np.allclose(found, outputs(load_block(theirs), images()), atol=SAME_TOLERANCE)


def test_a_run_whose_images_are_gone(run, tmp_path, capsys):
    assert call(run, tmp_path / 'net', '--data-dir', tmp_path / 'nowhere') == 0
    assert 'cifar10' in capsys.readouterr().out


def test_coarse_labels_fill_a_hundred_outputs(params, tmp_path):
    net = trained(classes=100)
    save_parameters(net, str(tmp_path / 'net.params'))
    assert call(ATAC, tmp_path / 'net.params', tmp_path / 'net', '--dataset', 'cifar100-coarse',
                '--data-dir', tmp_path) == 0
    labels = read_manifest(str(tmp_path / 'net')).labels
    assert labels[0] == 'aquatic_mammals' and labels[19] == 'vehicles_2' and len(set(labels)) == 100


# ------------------------------------------------------------------------------------ graphs

@pytest.mark.kernels
@pytest.mark.parametrize('name', ['cifar10_b1_atac', 'imagenet_1111_atac2'])
def test_graphs_of_the_oracles_networks(name, tmp_path):
    net, description, arrays = filled(name, 'hybridized')
    side = description['input_shape'][-1]
    manifest = describe(name, side)._replace(classes=arrays['eval_output'].shape[1])
    export(net, str(tmp_path / 'net'), manifest, ('symbol', 'fused'))
    symbol, _ = read_symbol(str(tmp_path / 'net'))
    assert graph_of(symbol) == description['graph']
    x = oracle.fill.images(name, description['input_shape'])
    for form, tolerance in (('net', SAME_TOLERANCE), ('net-fused', REORDERED_TOLERANCE)):
        assert np.allclose(outputs(load_block(str(tmp_path / form)), x), arrays['eval_output'],
                           atol=tolerance * np.abs(arrays['eval_output']).max())


@pytest.mark.kernels
@pytest.mark.parametrize('name', [ATAC, 'cifar_resnet8_v2_relu', 'cifar_resnet8_v2_se'])
def test_fused_and_really_so(name, tmp_path):
    """The pre-activation hosts are those for which MXNet's fusion alone gives other outputs."""
    net = trained(name)
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
def test_mxnet_still_fuses_wrongly(net):
    """If this fails, the identities that `fuse` puts in are no longer needed."""
    symbol, arrays = trace(net)
    x = images()
    wrong = symbol_block(symbol.get_backend_symbol('MKLDNN'), arrays)
    assert np.abs(outputs(wrong, x) - outputs(net, x)).max() > 0.01


def test_a_network_without_anything_to_fold(tmp_path):
    net = mx.gluon.nn.HybridSequential()
    net.add(mx.gluon.nn.Flatten(), mx.gluon.nn.Dense(5))
    net.initialize()
    with pytest.raises(OpenatacError, match='BatchNorm'):
        export(net, str(tmp_path / 'net'), describe(), ('symbol', 'fused'))
    assert not os.listdir(tmp_path)


@pytest.mark.kernels
def test_onnx(net, tmp_path):
    pytest.importorskip('onnx')
    onnxruntime = pytest.importorskip('onnxruntime')
    manifest = export(net, str(tmp_path / 'net'), describe(labels=list('abcde')), ('symbol', 'onnx'))
    assert manifest.reports['onnx']['max_difference'] <= REORDERED_TOLERANCE
    session = onnxruntime.InferenceSession(str(tmp_path / 'net.onnx'), providers=['CPUExecutionProvider'])
    found = session.run(None, {session.get_inputs()[0].name: images()})[0]
    assert np.allclose(found, outputs(net, images()), atol=REORDERED_TOLERANCE)


@pytest.mark.kernels
def test_int8(run, tmp_path):
    """Calibrated on the run's own training images, measured on its test images."""
    assert call(run, tmp_path / 'net', *NAIVE) == 0
    report = read_manifest(str(tmp_path / 'net')).reports['int8']
    assert report['top1_agreement'] >= 0.5
    assert report['accuracy']['float32'] == pytest.approx(max(row['val_accuracy'] for row in metrics_of(run)))
    assert report['accuracy']['images'] == 20 and 0 <= report['accuracy']['int8'] <= 1
    symbol, _ = read_symbol(str(tmp_path / 'net-int8'))
    assert count_operators(symbol)['_contrib_quantize_v2'] > 0
    assert load_block(str(tmp_path / 'net-int8'))(mx.nd.array(images())).shape == (3, 10)


@pytest.fixture(scope='module')
def digits(digits_network, tmp_path_factory):
    """The command line's words for the network that knows the handwritten digits."""
    path = str(tmp_path_factory.mktemp('digits') / 'net.params')
    save_parameters(digits_network.net, path)
    return ATAC, path, '--input-size', '8'


def accuracy_of(told):
    """(images, accuracy in float32, accuracy in INT8) by the last line of what the export prints."""
    found = re.fullmatch(r'accuracy on (\d+) labelled images: (\S+) in float32, (\S+) in int8',
                         told.splitlines()[-1])
    return int(found[1]), float(found[2]), float(found[3])


@pytest.mark.kernels
@pytest.mark.parametrize('mode', [pytest.param('naive', marks=pytest.mark.slow), 'entropy'])
def test_the_accuracy_before_and_after_int8(digits, tmp_path, capsys, mode):
    assert call(*digits, tmp_path / 'net', '--dataset', 'digits', '--int8', '--calibration', mode) == 0
    count, before, after = accuracy_of(capsys.readouterr().out)
    assert count == 360 and before > KNOWS and after > KNOWS
    assert json_of(tmp_path / 'net.json')['reports']['int8']['accuracy'] == {
        'float32': pytest.approx(before, abs=1e-4), 'int8': pytest.approx(after, abs=1e-4), 'images': 360}


@pytest.mark.kernels
def test_int8_as_onnx(digits, tmp_path, capfd):
    """Measured like MXNet's form; nothing of what ONNX Runtime says while it quantizes gets through."""
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    assert call(*digits, tmp_path / 'net', '--dataset', 'digits', '--int8', '--onnx') == 0
    out, err = capfd.readouterr()
    assert not err and (instruction_set() or 'not known') in out and 'onnx-int8' in out
    reports = read_manifest(str(tmp_path / 'net')).reports
    assert list(reports) == ['symbol', 'int8', 'onnx', 'onnx-int8']
    report = reports['onnx-int8']
    assert report['top1_agreement'] > KNOWS and report['bytes'] == os.path.getsize(tmp_path / 'net-int8.onnx')
    assert report['accuracy']['images'] == 360 and report['accuracy']['int8'] > KNOWS
    assert report['accuracy']['float32'] == reports['int8']['accuracy']['float32']


def write_classes(folder, names, each=4):
    """Test digits as PNG files, in a folder per class called by ``names``; the folder."""
    test = load_digits(train=False)
    for label, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for index in (test.labels == label).nonzero()[0][:each]:
            pixels = test.images[index].transpose(1, 2, 0)
            (folder / name / f'{index}.png').write_bytes(encoded(pixels, 'PNG'))
    return folder


def test_accuracy_on_a_folder_whose_subfolders_are_called_as_the_classes(digits, tmp_path, capsys):
    """Sorted by their names they would be other classes; and not all classes are there."""
    names = ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine']
    folder = write_classes(tmp_path / 'test', names[:8])
    (folder / 'one' / 'bad.png').write_text('no picture')
    (folder / 'one' / 'mere line.png').write_bytes(encoded(plain(0, 400, 2), 'PNG'))
    assert call(*digits, tmp_path / 'net', *NAIVE, '--images', folder, '--calibrate', folder,
                '--measure', folder, '--labels', ','.join(names)) == 0
    count, before, _ = accuracy_of(capsys.readouterr().out)
    assert count == 32 and before > FEW


def test_accuracy_on_a_folder_of_as_many_classes(digits, refused, tmp_path, capsys):
    folder = write_classes(tmp_path / 'test', [f'class-{label}' for label in range(10)])
    words = *digits, tmp_path / 'net', *NAIVE, '--calibrate', folder, '--measure', folder
    assert call(*words, '--measure-images', 20) == 0
    count, before, _ = accuracy_of(capsys.readouterr().out)
    assert count == 20 and before > FEW
    shutil.rmtree(folder / 'class-3')
    assert all(str(count) in refused(1, *words) for count in (folder, 9, 10))


def test_where_the_accuracy_cannot_be_measured(digits, refused, tmp_path, capsys):
    words = *digits, tmp_path / 'net'
    folder = write_classes(tmp_path / 'test', list('0123456789'))
    assert call(*words, *NAIVE, '--calibrate', folder) == 0
    assert '--measure' in capsys.readouterr().out
    assert 'accuracy' not in read_manifest(str(tmp_path / 'net')).reports['int8']
    assert '--int8' in refused(2, *words, '--measure', folder)
    assert 'nowhere' in refused(
        1, *words, '--int8', '--calibrate', folder, '--measure', tmp_path / 'nowhere')


# ----------------------------------------------------------------------------------- float16

def test_float16(net, params, tmp_path, capsys):
    assert call(ATAC, params, tmp_path / 'half', '--precision', 'float16') == 0
    symbol, arrays = read_symbol(str(tmp_path / 'half'))
    for name, array in arrays.items():
        norm = any(word in name for word in ('gamma', 'beta', 'running'))
        assert array.dtype == (np.float32 if norm else np.float16), name
    types = symbol.infer_type(data='float16')
    assert types[1] == [np.float16]
    assert read_manifest(str(tmp_path / 'half')).precision == 'float16'
    loaded = load_block(str(tmp_path / 'half'))
    loaded.cast('float32')
    assert np.abs(outputs(loaded, images()) - outputs(net, images())).max() < 0.02


def test_float16_leaves_the_network_as_it_was(tmp_path):
    net = trained()
    before = {name: array.asnumpy() for name, array in trace(net)[1].items()}
    export(net, str(tmp_path / 'half'), describe(precision='float16'))
    after = {name: array.asnumpy() for name, array in trace(net)[1].items()}
    assert all(after[name].dtype == np.float32 and (after[name] == before[name]).all() for name in before)


# ----------------------------------------------------------------- whole, or as it was before

def test_older_forms_do_not_stay_beside_another_network(net, tmp_path):
    prefix = str(tmp_path / 'net')
    export(net, prefix, describe(), ('symbol', 'fused'))
    (tmp_path / 'net-notes.txt').write_text('mine')
    export(trained('cifar_resnet8_v2_relu'), prefix, describe('cifar_resnet8_v2_relu'))
    assert sorted(contents(tmp_path)) == ['net-0000.params', 'net-notes.txt', 'net-symbol.json', 'net.json']


def test_a_disagreement_changes_nothing(net, tmp_path, monkeypatch):
    prefix = str(tmp_path / 'net')
    export(net, prefix, describe())
    before = contents(tmp_path)
    monkeypatch.setattr(fusion, 'fuse', lambda symbol: symbol.get_backend_symbol('MKLDNN'))  # MXNet's own
    with pytest.raises(OpenatacError, match='fused'):
        export(net, prefix, describe(), ('symbol', 'fused'))
    assert contents(tmp_path) == before


def test_a_file_that_cannot_be_put_in_place_changes_nothing(net, tmp_path):
    prefix = str(tmp_path / 'net')
    export(net, prefix, describe())
    before = contents(tmp_path)
    (tmp_path / 'net-fused-symbol.json').mkdir()
    with pytest.raises(OpenatacError, match=prefix):
        export(net, prefix, describe(), ('symbol', 'fused'))
    (tmp_path / 'net-fused-symbol.json').rmdir()
    assert contents(tmp_path) == before


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_stopped_in_the_middle(net, refused, params, tmp_path, monkeypatch, number):
    export(net, str(tmp_path / 'net'), describe())
    before, handler = contents(tmp_path), signal.getsignal(number)

    def stop(path, **rest):
        assert os.path.exists(path + '-symbol.json')
        os.kill(os.getpid(), number)

    monkeypatch.setattr(symbol_files, 'load_block', stop)
    assert number.name in refused(
        128 + number, ATAC, params, tmp_path / 'net')
    assert contents(tmp_path) == before and signal.getsignal(number) is handler


def test_stopped_while_the_files_take_their_place(net, tmp_path, monkeypatch):
    """Then it is done first."""
    export(net, str(tmp_path / 'net'), describe())
    rename = os.rename

    def stop(*paths):
        os.kill(os.getpid(), signal.SIGTERM)
        rename(*paths)

    monkeypatch.setattr(os, 'rename', stop)
    export(net, str(tmp_path / 'net'), describe(labels=list('abcde')))
    assert sorted(contents(tmp_path)) == ['net-0000.params', 'net-symbol.json', 'net.json']
    assert read_manifest(str(tmp_path / 'net')).labels == list('abcde')


KILL = """
import os, sys
from openatac import cli
from openatac.export.forms import symbol_files
symbol_files.load_block = lambda path, **rest: os.kill(os.getpid(), 9)
cli.main(['export', *sys.argv[1:]])
"""


def test_killed_in_the_middle(net, params, tmp_path):
    """It could not clean up; the next export does."""
    export(net, str(tmp_path / 'net'), describe())
    before = contents(tmp_path)
    assert run_python('-c', KILL, ATAC, params, tmp_path / 'net', OMP_NUM_THREADS='1').returncode == -9
    assert (tmp_path / '.net.part' / 'new' / 'net-symbol.json').exists()
    assert contents(tmp_path) == before
    export(net, str(tmp_path / 'net'), describe())
    assert sorted(os.listdir(tmp_path)) == sorted(before)


def test_a_full_disk(net, refused, params, tmp_path):
    export(net, str(tmp_path / 'net'), describe())
    before, limits = contents(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200000, limits[1]))
    try:
        assert str(tmp_path / 'net') in refused(1, ATAC, params, tmp_path / 'net')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert contents(tmp_path) == before


def test_two_at_once(refused, params, tmp_path):
    aside = tmp_path / '.net.part'
    aside.mkdir()
    with open(aside / 'lock', 'w') as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert str(tmp_path / 'net') in refused(1, ATAC, params, tmp_path / 'net')
        assert aside.exists()


# --------------------------------------------------------------------------------- bad input

def test_wrong_command_lines(refused, params, run, tmp_path):
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
def test_the_name_of_another_exports_files_is_refused(refused, params, tmp_path, capsys, name):
    assert name in refused(2, ATAC, params, tmp_path / name)
    assert name in refusal(capsys, 2, '--dry-run', 1, '--export', tmp_path / name)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize('forms', [['onxx'], []])
def test_forms_that_there_are_not_change_nothing(net, tmp_path, forms):
    prefix = str(tmp_path / 'net')
    export(net, prefix, describe())
    before = contents(tmp_path)
    with pytest.raises(ValueError, match='form'):
        export(net, prefix, describe(), forms=forms)
    assert contents(tmp_path) == before


def test_files_of_something_else(refused, params, run, tmp_path):
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


def test_damaged_settings(refused, run, tmp_path):
    settings = json_of(run, 'settings.json')
    for key, value in (('act_type', 'tanh'), ('r', 'x'), ('model', 3)):
        (tmp_path / 'settings.json').write_text(json.dumps({**settings, key: value}))
        assert 'settings.json' in refused(1, tmp_path, tmp_path / 'net')


def test_an_out_that_cannot_be_written(refused, params, tmp_path):
    (tmp_path / 'file').write_text('in the way')
    assert str(tmp_path / 'file') in refused(1, ATAC, params, tmp_path / 'file' / 'net')


def test_a_file_of_labels_as_windows_saves_it(params, tmp_path):
    (tmp_path / 'labels.txt').write_bytes('\ufeffa \r\nb\r\n\r\nc\r\nd\r\né\r\n'.encode())
    assert call(ATAC, params, str(tmp_path / 'out'), '--labels', str(tmp_path / 'labels.txt')) == 0
    assert json_of(tmp_path, 'out.json')['labels'] == ['a', 'b', 'c', 'd', 'é']


def test_another_input_size(params, tmp_path):
    assert call(ATAC, params, tmp_path / 'large', '--input-size', 48) == 0
    assert read_manifest(str(tmp_path / 'large')).image_shape == (3, 48, 48)


def test_an_input_size_that_does_not_fit(tmp_path):
    net = mx.gluon.nn.Dense(5, in_units=3 * 32 * 32)
    net.initialize()
    with pytest.raises(OpenatacError, match=r'\b16\b'):
        export(net, str(tmp_path / 'net'), describe(side=16))
    assert not os.listdir(tmp_path)


def test_a_network_that_is_no_longer_finite(net, refused, params, tmp_path):
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
def test_damaged_symbol_files(whole, tmp_path, ending, content, named):
    for file in ('-symbol.json', '-0000.params'):
        with open(whole + file, 'rb') as handle:
            data = handle.read()
        if file == ending:
            data = content if content is None else data[:content] if content == 1000 else content.encode()
        if data is not None:
            (tmp_path / ('net' + file)).write_bytes(data)
    with pytest.raises(OpenatacError, match=named):
        load_block(str(tmp_path / 'net'))


def test_symbol_and_parameters_of_two_networks(net, whole, tmp_path):
    export(trained('cifar_resnet8_v2_relu'), str(tmp_path / 'net'), describe('cifar_resnet8_v2_relu'))
    with open(whole + '-0000.params', 'rb') as handle:
        (tmp_path / 'net-0000.params').write_bytes(handle.read())
    os.unlink(tmp_path / 'net.json')  # which knows by their checksums
    with pytest.raises(OpenatacError, match=str(tmp_path / 'net')):
        load_block(str(tmp_path / 'net'))


def test_rounding_that_the_network_amplifies_is_tolerated():
    """As of one that was hardly trained: here each output moves by 1e-3 with the last bit of the image."""
    def network(images):
        return np.sin(1e4 * images.reshape(len(images), -1)[:, :5].astype('float64')).astype('float32')

    check = ParityCheck(network, (3, 8, 8))
    assert 1e-4 < check.rounding < 1e-2
    report = check.report(lambda images: network(images) + 2 * check.rounding, SAME_TOLERANCE)
    assert report['max_difference'] > 10 * SAME_TOLERANCE
    assert f'{check.rounding:g}' in report['warning'] and 'train' in report['warning']
    with pytest.raises(ParityError, match=f'{check.rounding:g}.*train'):  # why, and what to do
        check.report(lambda images: network(images) + 20 * check.rounding, SAME_TOLERANCE)


def test_a_disagreement_of_a_network_with_huge_outputs_is_put_down_to_its_training():
    def network(images):
        return 1e9 * images.reshape(len(images), -1)[:, :5]

    with pytest.raises(ParityError, match='train'):
        ParityCheck(network, (3, 8, 8)).report(lambda images: 1.02 * network(images), SAME_TOLERANCE)


def test_a_disagreement_of_a_network_that_keeps_rounding_small_is_not_put_down_to_its_training():
    def network(images):
        return images.reshape(len(images), -1)[:, :5]

    with pytest.raises(ParityError) as error:
        ParityCheck(network, (3, 8, 8)).report(lambda images: network(images) + 0.1, SAME_TOLERANCE)
    assert '0.1' in str(error.value) and 'train' not in str(error.value)
