"""`openatac export --int8` and --onnx: how accurate the forms are, and on which images that is measured."""
import os
import re
import shutil

import mxnet as mx
import numpy as np
import pytest

from openatac.data.small.digits import load_digits
from openatac.export.exporter import export
from openatac.export.forms.symbol_files import load_block, read_symbol
from openatac.export.manifest import read_manifest
from openatac.export.parity import REORDERED_TOLERANCE
from openatac.graph.fusion import count_operators
from openatac.models.weights import save_parameters
from openatac.runtime.processor import instruction_set
from tests.helpers.digits_network import KNOWS
from tests.helpers.made_up_images import encoded, plain
from tests.helpers.scripts import json_of, metrics_of
from tests.helpers.trained_export import ATAC, call, describe, images, outputs

FEW = KNOWS - 0.2  # of some dozen images
NAIVE = '--int8', '--calibration', 'naive'  # the quicker one


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
