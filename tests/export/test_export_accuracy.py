"""The accuracy of INT8 and ONNX exports, and the images on which it is measured."""
import os
import re
import shutil

import mxnet as mx
import numpy as np
import pytest

from openatac.data.small.digits import load_digits
from openatac.errors import OpenatacError
from openatac.export.accuracy import accuracies
from openatac.export.exported_symbol import load_block, read_exported_files
from openatac.export.parity import REORDERED_TOLERANCE
from openatac.graph.fusion import count_operators
from openatac.models.weights import save_parameters
from openatac.system.processor import instruction_set
from openatac.trained.manifest import read_manifest
from tests.helpers.exports.exporting import export
from tests.helpers.exports.onnx_files import run_onnx
from tests.helpers.images.made_up_images import encoded, plain
from tests.helpers.networks.digits_network import KNOWS
from tests.helpers.networks.trained_network import ATAC, describe, images, outputs
from tests.helpers.processes.commands import call_export
from tests.helpers.processes.scripts import json_of, metrics_of

FEW = KNOWS - 0.2  # on a few dozen images
NAIVE = '--int8', '--calibration', 'naive'  # the quicker one


@pytest.mark.kernels
def test_onnx_form_computes_the_same_as_the_network(net, tmp_path):
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    manifest = export(net, str(tmp_path / 'net'), describe(labels=list('abcde')), ('symbol', 'onnx'))
    assert manifest.reports['onnx']['max_difference'] <= REORDERED_TOLERANCE
    found = run_onnx(tmp_path / 'net.onnx', images())
    assert np.allclose(found, outputs(net, images()), atol=REORDERED_TOLERANCE)


@pytest.mark.kernels
def test_accuracy_of_the_int8_form_is_reported(run, tmp_path):
    """Calibrate on the run's own training images and measure on its test images."""
    assert call_export(run, tmp_path / 'net', *NAIVE) == 0
    report = read_manifest(str(tmp_path / 'net')).reports['int8']
    assert report['top1_agreement'] >= 0.5
    assert report['accuracy']['float32'] == pytest.approx(max(row['val_accuracy'] for row in metrics_of(run)))
    assert report['accuracy']['images'] == 20 and 0 <= report['accuracy']['int8'] <= 1
    symbol, _ = read_exported_files(str(tmp_path / 'net-int8'))
    assert count_operators(symbol)['_contrib_quantize_v2'] > 0
    assert load_block(str(tmp_path / 'net-int8'))(mx.nd.array(images())).shape == (3, 10)


@pytest.fixture(scope='module')
def digits(digits_network, tmp_path_factory):
    """The command-line words for the network that was trained on the handwritten digits."""
    path = str(tmp_path_factory.mktemp('digits') / 'net.params')
    save_parameters(digits_network.net, path)
    return ATAC, path, '--input-size', '8'


def accuracy_of(told):
    """Return (images, accuracy in float32, accuracy in INT8) from the last line of an export's output."""
    found = re.fullmatch(r'accuracy on (\d+) labelled images: (\S+) in float32, (\S+) in int8',
                         told.splitlines()[-1])
    return int(found[1]), float(found[2]), float(found[3])


@pytest.mark.kernels
@pytest.mark.parametrize('mode', [pytest.param('naive', marks=pytest.mark.slow), 'entropy'])
def test_accuracy_before_and_after_int8(digits, tmp_path, capsys, mode):
    assert call_export(*digits, tmp_path / 'net', '--dataset', 'digits', '--int8', '--calibration', mode) == 0
    count, before, after = accuracy_of(capsys.readouterr().out)
    assert count == 360
    assert before > KNOWS and after > KNOWS
    assert json_of(tmp_path / 'net.json')['reports']['int8']['accuracy'] == {
        'float32': pytest.approx(before, abs=1e-4), 'int8': pytest.approx(after, abs=1e-4), 'images': 360}


@pytest.mark.kernels
def test_accuracy_of_the_int8_onnx_form_is_reported(digits, tmp_path, capfd):
    """It is measured like MXNet's form, and ONNX Runtime's messages are suppressed."""
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    assert call_export(*digits, tmp_path / 'net', '--dataset', 'digits', '--int8', '--onnx') == 0
    out, err = capfd.readouterr()
    assert not err
    assert (instruction_set() or 'known') in out and 'onnx-int8' in out
    reports = read_manifest(str(tmp_path / 'net')).reports
    assert list(reports) == ['symbol', 'int8', 'onnx', 'onnx-int8']
    report = reports['onnx-int8']
    assert report['top1_agreement'] > KNOWS and report['bytes'] == os.path.getsize(tmp_path / 'net-int8.onnx')
    assert report['accuracy']['images'] == 360 and report['accuracy']['int8'] > KNOWS
    assert report['accuracy']['float32'] == reports['int8']['accuracy']['float32']


def write_classes(folder, names, each=4):
    """Write test digits as PNG files into a folder per class, named by ``names``; return the folder."""
    test = load_digits(train=False)
    for label, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for index in (test.labels == label).nonzero()[0][:each]:
            pixels = test.images[index].transpose(1, 2, 0)
            (folder / name / f'{index}.png').write_bytes(encoded(pixels, 'PNG'))
    return folder


def test_accuracy_on_a_folder_with_subfolders_named_as_the_classes(digits, tmp_path, capsys):
    """Sorted by name, the folders would be other classes; some classes are missing too."""
    names = ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine']
    folder = write_classes(tmp_path / 'test', names[:8])
    (folder / 'one' / 'bad.png').write_text('no image')
    (folder / 'one' / 'mere line.png').write_bytes(encoded(plain(0, 400, 2), 'PNG'))
    assert call_export(*digits, tmp_path / 'net', *NAIVE, '--images', folder, '--calibrate', folder,
                '--measure', folder, '--labels', ','.join(names)) == 0
    count, before, _ = accuracy_of(capsys.readouterr().out)
    assert count == 32 and before > FEW


def test_accuracy_on_a_folder_with_the_same_number_of_classes(digits, refused, tmp_path, capsys):
    folder = write_classes(tmp_path / 'test', [f'class-{label}' for label in range(10)])
    words = *digits, tmp_path / 'net', *NAIVE, '--calibrate', folder, '--measure', folder
    assert call_export(*words, '--measure-images', 20) == 0
    count, before, _ = accuracy_of(capsys.readouterr().out)
    assert count == 20 and before > FEW
    shutil.rmtree(folder / 'class-3')
    assert all(str(count) in refused(1, *words) for count in (folder, 9, 10))


def test_unmeasurable_accuracy_is_explained(digits, refused, tmp_path, capsys):
    words = *digits, tmp_path / 'net'
    folder = write_classes(tmp_path / 'test', list('0123456789'))
    assert call_export(*words, *NAIVE, '--calibrate', folder) == 0
    assert '--measure' in capsys.readouterr().out
    assert 'accuracy' not in read_manifest(str(tmp_path / 'net')).reports['int8']
    assert '--int8' in refused(2, *words, '--measure', folder)
    assert 'nowhere' in refused(
        1, *words, '--int8', '--calibrate', folder, '--measure', tmp_path / 'nowhere')


def test_accuracies_are_shares_of_all_images():
    images = np.eye(3, dtype=np.float32)
    batches = [(images, np.array([0, 1, 0])), (images[:1], np.array([0]))]
    assert accuracies([lambda images: images, lambda images: -images], batches) == ([0.75, 0.25], 4)
    with pytest.raises(OpenatacError):
        accuracies([lambda images: images], [])
