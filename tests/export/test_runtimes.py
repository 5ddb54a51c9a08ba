"""The runtimes of an export compute the same, and exports that they cannot use are refused."""
import importlib.util
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from openatac.errors import OpenatacError
from openatac.export.forms.base import FORMS
from openatac.export.runtimes.base import RUNTIMES, open_runtime, runtimes_of
from openatac.export.runtimes.choice import runtime_for
from tests.helpers.exports.animal_export import ANIMALS, animal_network
from tests.helpers.exports.exporting import export
from tests.helpers.images.made_up_images import smooth, write_image
from tests.helpers.processes.commands import predict_error, predict_images

pytest.importorskip('onnxruntime')  # the export in these tests has all forms
pytest.importorskip('onnx')


def copied(folder, tmp_path):
    for path in folder.iterdir():
        shutil.copy(path, tmp_path)
    return str(tmp_path / 'atac')


# --------------------------------------------------------------------------- the runtimes

def test_runtimes_compute_the_same(atac):
    images = np.random.RandomState(0).randn(3, 3, 32, 32).astype('float32')
    wanted = open_runtime(atac, 'imperative')(images)
    names = [name for name in runtimes_of(atac) if name not in ('torch-compiled', 'torch-frozen')]
    assert names[:6] == ['imperative', 'static', 'fused', 'int8', 'onnxruntime', 'onnxruntime-int8']
    for name in names:
        difference = abs(open_runtime(atac, name)(images) - wanted)
        if RUNTIMES.find(name).form.is_quantized:  # for a barely trained network
            assert difference.mean() < wanted.std(), name
        else:
            assert difference.max() < 1e-4 * abs(wanted).max(), name


def test_loading_an_int8_form_reports_the_processors_instructions(atac, tmp_path, capsys, monkeypatch):
    image = write_image(tmp_path / 'a.png', smooth())
    monkeypatch.setenv('DNNL_MAX_CPU_ISA', 'SSE41')
    for file in ('-int8-symbol.json', '-int8.onnx'):
        code, out, err = predict_images(capsys, atac + file, image, '--json')
        assert code == 0
        assert json.loads(out)['image']
        assert len(err.splitlines()) == 1 and 'SSE4' in err
    assert not predict_images(capsys, atac + '.onnx', image, '--json')[2]


def test_missing_openvino_is_named_with_its_extra(atac, monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(OpenatacError, match=r"'openatac\[openvino\]'"):
        open_runtime(atac, 'openvino')


def test_missing_fused_form_is_made_from_the_symbol_form(animals, tmp_path):
    images = np.random.RandomState(0).randn(2, 3, 32, 32).astype('float32')
    prefix = copied(animals, tmp_path)
    wanted = open_runtime(prefix, 'static')(images)
    for path in FORMS.find('fused').files(prefix):
        os.unlink(path)
    assert np.allclose(open_runtime(prefix, 'fused')(images), wanted, atol=1e-4 * abs(wanted).max())


def test_runtime_is_chosen_by_the_file(animals, tmp_path):
    prefix = copied(animals, tmp_path)
    assert runtime_for(prefix) == runtime_for(prefix + '-symbol.json') == 'static'
    assert runtime_for(prefix + '-int8-0000.params') == 'int8'
    assert runtime_for(prefix + '.onnx') == 'onnxruntime'
    assert runtime_for(prefix + '-int8.onnx') == 'onnxruntime-int8'
    for path in FORMS.find('symbol').files(prefix):
        os.unlink(path)
    assert runtime_for(prefix) == 'fused' and 'static' not in runtimes_of(prefix)


def test_float16_export_runs_in_float32(tmp_path, capsys):
    export(animal_network(), str(tmp_path / 'half'), ANIMALS._replace(precision='float16'))
    image = write_image(tmp_path / 'a.png', smooth())
    code, out, _ = predict_images(capsys, tmp_path / 'half', image, '--json')
    assert code == 0
    export(animal_network(), str(tmp_path / 'whole'), ANIMALS)
    whole = json.loads(predict_images(capsys, tmp_path / 'whole', image, '--json')[1])
    scores = [{each['class']: each['score'] for each in line['predictions']}
              for line in (json.loads(out), whole)]
    assert scores[0] == pytest.approx(scores[1], abs=0.02)


# ------------------------------------------------------------- exports that cannot be used

@pytest.mark.parametrize('form', list(FORMS))
@pytest.mark.parametrize('size', [0, 20000])
def test_truncated_files_are_named(animals, tmp_path, form, size):
    prefix = copied(animals, tmp_path)
    for path in FORMS.find(form).files(prefix):
        whole = Path(path).read_bytes()
        Path(path).write_bytes(whole[:size])
        assert path in predict_error(path)
        Path(path).write_bytes(whole)


def test_foreign_and_missing_files_are_named(animals, tmp_path):
    prefix = copied(animals, tmp_path)
    other = animal_network('cifar_resnet8_v2_relu')
    export(other, str(tmp_path / 'relu'), ANIMALS._replace(model='cifar_resnet8_v2_relu'))
    shutil.copy(str(tmp_path / 'relu-0000.params'), prefix + '-0000.params')
    assert 'atac-0000.params' in predict_error(prefix)
    shutil.copy(str(tmp_path / 'atac.params'), prefix + '-0000.params')  # structural names
    assert 'atac-0000.params' in predict_error(prefix)
    os.unlink(prefix + '-symbol.json')
    assert 'atac-symbol.json' in predict_error(prefix, '--engine', 'static')
    os.unlink(prefix + '.json')
    assert prefix in predict_error(prefix)
    assert 'nowhere' in predict_error(str(tmp_path / 'nowhere'))


def test_manifest_of_another_network_is_refused(animals, tmp_path):
    prefix, image = copied(animals, tmp_path), write_image(tmp_path / 'a.png', smooth())
    manifest = json.loads((tmp_path / 'atac.json').read_text())
    for key, value, words in (('classes', 7, '7'), ('image_shape', [1, 32, 32], '1'),
                              ('crop_ratio', 2, 'crop_ratio')):
        (tmp_path / 'atac.json').write_text(json.dumps({**manifest, key: value, 'labels': []}))
        assert words in predict_error(prefix, image=image)


def test_images_of_another_size_are_refused(atac):
    runtime = open_runtime(atac, 'static')
    with pytest.raises(OpenatacError, match=r'\(3, 32, 32\).*\(3, 31, 32\)'):
        runtime(np.zeros((2, 3, 31, 32), 'float32'))
