"""An export form and a runtime, each registered by one call, work like the package's own."""
import json
import os

import numpy as np
import pytest

import openatac
from openatac import cli
from openatac.backends.registered_backends import BACKENDS
from openatac.errors import OpenatacError
from openatac.export import exporter
from openatac.export.accuracy import measure_quantized
from openatac.export.forms.base import FORMS, ExportSettings, form_of, prefix_of
from openatac.export.parity import REORDERED_TOLERANCE
from openatac.export.runtimes.base import RUNTIMES, open_runtime, runtimes_of
from openatac.export.runtimes.choice import runtime_for
from openatac.files.checksums import file_sha256
from openatac.models.weights import save_parameters
from openatac.trained.input_images import from_class_folders
from openatac.trained.manifest import Manifest, read_manifest
from openatac.trained.trained_network import TrainedNetwork
from tests.helpers.images.made_up_images import encoded, smooth, write_photos
from tests.helpers.networks.toys import InNumpy, Reordered, Weights, small_toy
from tests.helpers.processes.commands import call_command, rows_of

pytestmark = pytest.mark.usefixtures('toys')


def export(folder, *flags):
    """Run `openatac export` for Tiny with ReLU; return (exit code, PREFIX)."""
    save_parameters(small_toy('tiny_v1_relu'), str(folder / 'net.params'))
    prefix = str(folder / 'export' / 'net')
    return call_command('export', 'tiny_v1_relu', folder / 'net.params', prefix, *flags), prefix


@pytest.fixture
def toy(tmp_path):
    """The PREFIX of an export with the registered form."""
    code, prefix = export(tmp_path, '--npz')
    assert code == 0
    return prefix


def test_registered_form_is_exported_and_listed_in_the_manifest(toy):
    manifest = read_manifest(toy)
    assert list(manifest.reports) == ['symbol', 'npz']
    report = manifest.reports['npz']
    assert report['max_difference'] <= REORDERED_TOLERANCE and report['top1_agreement'] == 1
    assert report['bytes'] == os.path.getsize(toy + '.npz')
    assert manifest.sha256 == {suffix: file_sha256(toy + suffix)
                               for suffix in ('-symbol.json', '-0000.params', '.npz')}
    assert form_of(toy + '.npz').name == 'npz' and prefix_of(toy + '.npz') == toy


def test_later_export_removes_files_of_a_registered_form(toy, tmp_path):
    assert export(tmp_path) == (0, toy)
    assert sorted(os.listdir(tmp_path / 'export')) == ['net-0000.params', 'net-symbol.json', 'net.json']


def test_form_with_other_outputs_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Weights, 'write', lambda self, network, prefix: np.savez(
        prefix + '.npz', *(1.01 * array.asnumpy() for array in network.arrays.values())))
    code, prefix = export(tmp_path, '--npz')
    error, = capsys.readouterr().err.splitlines()
    assert code == 1
    assert 'npz' in error
    assert not os.listdir(os.path.dirname(prefix))


def test_flag_of_an_unregistered_form_is_unknown(tmp_path):
    FORMS.unregister('npz')
    assert export(tmp_path, '--npz')[0] == 2


def test_accuracy_of_a_quantized_form_is_measured_for_pytorch_too(tmp_path, monkeypatch):
    torch = pytest.importorskip('torch')
    monkeypatch.setattr(Weights, 'is_quantized', True)
    monkeypatch.setattr(Weights, 'write', lambda self, network, prefix: np.savez(
        *self.files(prefix), *(value.numpy() for value in network.net.state_dict().values())))
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
                              torch.nn.Flatten(), torch.nn.Linear(8, 2))
    trained = TrainedNetwork(net, Manifest('tiny', 2, (3, 32, 32), (0, 0, 0), (255, 255, 255)), None)
    labelled = from_class_folders(write_photos(tmp_path / 'photos'), trained.manifest)
    prefix = str(tmp_path / 'net')
    exporter.export(net, prefix, trained.manifest, ExportSettings([FORMS.find('npz')]))
    measure_quantized(trained, prefix, labelled, count=100)
    accuracy = read_manifest(prefix).reports['npz']['accuracy']
    assert accuracy['images'] == 12 and accuracy['int8'] == accuracy['float32']


def test_registered_runtime_predicts(toy, tmp_path, capsys):
    assert runtime_for(toy + '.npz') == 'numpy-loop' and 'numpy-loop' in runtimes_of(toy)
    (tmp_path / 'a.png').write_bytes(encoded(smooth(), 'PNG'))

    def scores(*words):
        capsys.readouterr()
        assert cli.main(['predict', *words, str(tmp_path / 'a.png'), '--json']) == 0
        return {each['class']: each['score']
                for each in json.loads(capsys.readouterr().out)['predictions']}

    expected = pytest.approx(scores(toy, '--engine', 'static'), abs=1e-5)
    assert scores(toy, '--engine', 'numpy-loop') == expected and scores(toy + '.npz') == expected


def test_files_of_a_registered_form_are_checked_before_loading(toy):
    open_runtime(toy, 'numpy-loop')
    with open(toy + '.npz', 'r+b') as handle:
        handle.seek(200)
        handle.write(b'!')
    with pytest.raises(OpenatacError, match=r'net\.npz'):
        open_runtime(toy, 'numpy-loop')
    os.unlink(toy + '.npz')
    with pytest.raises(OpenatacError, match=r'net\.npz'):
        open_runtime(toy, 'numpy-loop')


def test_registered_runtime_is_benchmarked_in_its_own_process(toy, tmp_path):
    out = str(tmp_path / 'speed')
    assert cli.main(['bench', toy, '--engines', 'static,numpy-loop', '--rounds', '1',
                     '--seconds', '0.01', '--batch-sizes', '2', '--out', out]) == 0
    rows = rows_of(out + '.csv')
    assert [row['engine'] for row in rows] == ['static', 'numpy-loop']
    assert all(float(row['difference']) < 1e-4 for row in rows)


class OnnxToo(Weights):
    name = 'onnx2'
    suffixes = ('.onnx',)


@pytest.mark.parametrize('register, value', [
    (lambda: openatac.register_form(Weights()), 'npz'),
    (lambda: openatac.register_form(OnnxToo()), 'onnx'),
    (lambda: openatac.register_runtime(InNumpy), 'numpy-loop'),
    (lambda: openatac.register_backend('mxnet', Reordered), 'mxnet'),
])
def test_names_in_use_are_refused(register, value):
    before = list(FORMS), list(RUNTIMES), list(BACKENDS)
    with pytest.raises(ValueError, match=value):
        register()
    assert (list(FORMS), list(RUNTIMES), list(BACKENDS)) == before
