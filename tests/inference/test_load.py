"""openatac.load makes predictors of exports, runs and parameter files, with few packages."""
import importlib.util
import json
import os
import shutil

import mxnet as mx
import numpy as np
import pytest
from PIL import Image

import openatac
from openatac.errors import DataError, DeviceError, OpenatacError
from openatac.export.runtimes.base import RUNTIMES, runtimes_of
from openatac.export.runtimes.choice import fastest_runtime
from tests.helpers.exports.animal_export import ANIMALS, LABELS
from tests.helpers.exports.exporting import export
from tests.helpers.images.made_up_images import encoded, smooth
from tests.helpers.networks.parameters import initialised
from tests.helpers.pages.documents import blocks_of
from tests.helpers.processes.fresh_python import output_of, run_python
from tests.helpers.processes.hidden_packages import hide_packages
from tests.helpers.processes.scripts import run_in_process, run_script

pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')


@pytest.fixture(scope='module')
def predictor(animals):
    return openatac.load(animals / 'atac')


@pytest.fixture(scope='module')
def images():
    return [smooth(32, 32, seed) for seed in range(5)]


def scores(predictions):
    """Return the probabilities (N, classes) from results with all classes."""
    return np.array([[label.score for label in sorted(each, key=lambda label: label.class_index)]
                     for each in predictions])


# ------------------------------------------------------------------------------------- inputs

def test_all_image_types_give_the_same_scores(predictor, images, tmp_path):
    expected = predictor(images)
    paths = [tmp_path / f'{index}.png' for index in range(len(images))]
    for path, image in zip(paths, images):
        Image.fromarray(image).save(path)
    for others in (np.stack(images), tuple(images), iter(images), paths, [*map(str, paths)],
                   [*map(Image.fromarray, images)], [images[0], paths[1], *map(Image.fromarray, images[2:])]):
        assert predictor(others) == expected
    for single in (images[0], str(paths[0]), paths[0], Image.fromarray(images[0]), Image.open(paths[0])):
        np.testing.assert_allclose(scores([predictor(single)]), scores(expected[:1]), atol=1e-6)


def test_best_classes_come_first(predictor, images):
    for result in predictor(images):
        assert [label.score for label in result] == sorted((label.score for label in result), reverse=True)
        assert sum(label.score for label in result) == pytest.approx(1)
        assert [label.label for label in result] == [LABELS[label.class_index] for label in result]
    best = predictor(images[0], top=2)
    assert best == predictor(images[0], top=99)[:2] and len(predictor(images[0], top=1)) == 1


def test_scores_equal_those_of_the_command(animals, images, tmp_path):
    Image.fromarray(images[0]).save(tmp_path / 'a.png')
    result = run_python('-m', 'openatac', 'predict', animals / 'atac.onnx', tmp_path / 'a.png', '--json')
    printed = json.loads(result.stdout)['predictions']
    assert [(each['label'], each['class']) for each in printed] == [
        (label.label, label.class_index) for label in openatac.load(animals / 'atac.onnx')(images[0])]


def test_scores_do_not_depend_on_the_batch_size(animals, images):
    one, two = (openatac.load(animals / 'atac', batch_size=size) for size in (1, 2))
    np.testing.assert_allclose(scores(one(images)), scores(two(images)), atol=1e-5)
    assert one([]) == [] and one(np.empty((0, 32, 32, 3), 'uint8')) == []


def test_photographs_of_any_size_are_cropped_as_in_evaluation(animals):
    small, large = (openatac.load(animals / name) for name in ('atac', 'photos'))
    photograph = smooth(60, 90)
    assert len(small(photograph)) == 5 and len(large([photograph, smooth(30, 20)])) == 2
    assert {label.label for label in large(photograph)} == set('01234')


@pytest.mark.parametrize('image', [
    np.zeros((32, 32), 'uint8'), np.zeros((32, 32, 4), 'uint8'), np.zeros((32, 32, 3), 'float32'),
    np.zeros((0, 32, 3), 'uint8')], ids=lambda image: f'{image.shape} {image.dtype}')
def test_arrays_of_another_kind_are_refused(predictor, image):
    with pytest.raises(ValueError, match=str(image.dtype)):
        predictor([image])


def test_unsupported_objects_are_refused(predictor):
    with pytest.raises(ValueError, match='int'):
        predictor([3])


def test_files_that_are_not_images_are_named(predictor, tmp_path):
    (tmp_path / 'text.jpg').write_text('text')
    for path in (tmp_path / 'text.jpg', tmp_path / 'missing.jpg'):
        with pytest.raises(DataError, match=path.name):
            predictor(path)


@pytest.mark.parametrize('top', [0, -1, 1.5, None])
def test_top_must_be_a_number_of_classes(predictor, images, top):
    with pytest.raises(ValueError, match='top'):
        predictor(images, top=top)


# ----------------------------------------------------------------------------------- engines

def test_all_engines_agree(animals, images):
    expected = scores(openatac.load(animals / 'atac', engine='imperative')(images))
    slow_to_load = 'torch-compiled', 'torch-frozen'
    for name in runtimes_of(str(animals / 'atac')):
        if name not in slow_to_load and not RUNTIMES.find(name).form.is_quantized:
            found = scores(openatac.load(animals / 'atac', engine=name)(images))
            np.testing.assert_allclose(found, expected, atol=1e-4, err_msg=name)


def test_fastest_usable_engine_is_chosen(animals, tmp_path, monkeypatch):
    prefix = str(animals / 'atac')
    assert fastest_runtime(prefix) == fastest_runtime(prefix + '.onnx') == 'onnxruntime'
    assert fastest_runtime(prefix + '-fused-symbol.json') == 'fused'
    assert fastest_runtime(prefix + '-symbol.json') == 'static'
    assert fastest_runtime(prefix + '-int8.onnx') == 'onnxruntime-int8'
    for name in os.listdir(animals):
        if name.startswith('atac') and not name.endswith('.onnx') and 'fused' not in name:
            shutil.copy(animals / name, tmp_path)
    assert fastest_runtime(str(tmp_path / 'atac')) == 'fused'  # the runtime fuses it when it loads


def test_network_without_fusible_layers_uses_the_fastest_engine(images, tmp_path):
    net = mx.gluon.nn.HybridSequential()
    net.add(mx.gluon.nn.Conv2D(4, 3), mx.gluon.nn.GlobalAvgPool2D(), mx.gluon.nn.Dense(5))
    export(initialised(net), str(tmp_path / 'plain'), ANIMALS._replace(model='plain'), ['symbol'])
    predictor = openatac.load(tmp_path / 'plain')
    assert predictor.network.name == 'fused'
    expected = scores(openatac.load(tmp_path / 'plain', engine='imperative')(images))
    np.testing.assert_allclose(scores(predictor(images)), expected, atol=1e-5)


def test_without_mxnet_another_engine_is_chosen(animals, images, no_mxnet):
    pytest.importorskip('torch')
    code = ('import sys, numpy, openatac\n'
            'predictor = openatac.load(sys.argv[1])\n'
            'print(predictor.network.name, "mxnet" in sys.modules)\n')
    for file, name in (('photos', 'onnxruntime'), ('photos-symbol.json', 'torch-channels-last')):
        result = run_python('-c', code, animals / file, path=no_mxnet)
        assert result.stdout.split() == [name, 'False'], result.stderr


ALONE = '''
import sys, json
import openatac
predictor = openatac.load(sys.argv[1])
print(json.dumps(predictor(sys.argv[2:])))
heavy = 'mxnet', 'cv2', 'torch', 'gluoncv', 'matplotlib', 'onnx', 'scipy', 'sklearn', 'tqdm', 'portalocker'
assert not set(heavy) & set(sys.modules)
'''
HIDDEN = ('mxnet', 'cv2', 'torch', 'gluoncv', 'matplotlib', 'onnx', 'scipy', 'sklearn', 'pandas', 'tqdm',
          'portalocker', 'requests')


@pytest.mark.parametrize('export', ['atac', 'photos'])
def test_onnx_export_needs_onnx_runtime_and_pillow_alone(animals, tmp_path, export):
    paths = [tmp_path / name for name in ('a.jpg', 'b.png', 'c.jpg')]
    for seed, path in enumerate(paths):
        path.write_bytes(encoded(smooth(70, 50, seed), 'PNG' if path.suffix == '.png' else 'JPEG'))
    expected = [[list(label) for label in result] for result in openatac.load(animals / export)(paths)]
    path = hide_packages(HIDDEN, tmp_path)
    for source in (export, export + '.onnx'):
        result = run_python('-c', ALONE, animals / source, *paths, path=path)
        assert result.returncode == 0, result.stderr
        assert json.loads(result.stdout) == expected  # the same pixels, and so the same bits
    result = run_python('-m', 'openatac', 'predict', animals / f'{export}.onnx', *paths, '--json', path=path)
    assert result.returncode == 0, result.stderr
    for line, labels in zip(result.stdout.splitlines(), expected):
        assert [each['class'] for each in json.loads(line)['predictions']] == [label[2] for label in labels]


def test_engine_or_device_that_is_missing_is_named(animals, no_mxnet):
    with pytest.raises(ValueError, match='tensorrt'):
        openatac.load(animals / 'atac', engine='tensorrt')
    for engine in ('auto', 'onnxruntime', 'fused', 'int8'):
        with pytest.raises(DeviceError, match='cuda:7'):
            openatac.load(animals / 'atac', engine=engine, device='cuda:7')
    with pytest.raises(ValueError, match='batch_size'):
        openatac.load(animals / 'atac', batch_size=0)
    result = run_python('-c', 'import sys, openatac; openatac.load(sys.argv[1], engine="static")',
                        animals / 'atac', path=no_mxnet)
    assert result.returncode == 1 and 'MXNet' in result.stderr.splitlines()[-1]


@pytest.mark.parametrize('name', ['nowhere', 'nowhere/best.params', 'nothing.onnx'])
def test_missing_export_is_named(tmp_path, name):
    with pytest.raises(OpenatacError, match=name.split('.')[0]):
        openatac.load(tmp_path / name)


# --------------------------------------------------------------------------------------- runs

@pytest.fixture(scope='module')
def torch_run(tmp_path_factory, cifar10):
    """The folder of a run of the engine torch, with its graph."""
    pytest.importorskip('torch')
    folder = tmp_path_factory.mktemp('runs')
    network = '--blocks', 1, '--act-layers', 1, '--seed', 3
    assert run_in_process(*network, '--write-initial', folder / 'start') == 0
    result = run_script(*network, '--data-dir', cifar10, '--engine', 'torch', '--initial', folder / 'start',
                        '--batch-size', 50, '--num-epochs', 1, '--save-dir', folder / 'run', '--export',
                        folder / 'export')
    assert result.returncode == 0, result.stderr
    return folder / 'run'


@pytest.mark.parametrize('engine', ['mxnet', 'torch'])
def test_run_predicts_as_its_export_does(torch_run, images, engine):
    expected = openatac.load(torch_run.parent / 'export')(images, top=10)
    for source in (torch_run, torch_run / 'best.params', torch_run / 'last.params'):
        predictor = openatac.load(source, engine=engine)
        assert predictor.network.engine == engine
        found = predictor(images, top=10)
        np.testing.assert_allclose(scores(found), scores(expected), atol=1e-4)
    assert 'airplane' in {label.label for label in found[0]}


def test_run_is_loaded_without_mxnet(torch_run, images, no_mxnet, tmp_path):
    """Units that are not registered for PyTorch are loaded from the graph's files."""
    Image.fromarray(images[0]).save(tmp_path / 'a.png')
    expected = openatac.load(torch_run)(images[0], top=10)
    code = ('import sys, json, openatac\nprint(json.dumps(openatac.load(sys.argv[1])(sys.argv[2], top=10)))')
    copy = shutil.copytree(torch_run, tmp_path / 'copy')
    settings = json.loads((copy / 'settings.json').read_text())
    for change, folder in (({}, torch_run), ({'initial': None}, copy), ({'act_type': 'own'}, copy)):
        (copy / 'settings.json').write_text(json.dumps({**settings, **change}))
        result = run_python('-c', code, folder, tmp_path / 'a.png', path=no_mxnet)
        assert result.returncode == 0, result.stderr
        np.testing.assert_allclose([score for _, score, _ in json.loads(result.stdout)],
                                   [label.score for label in expected], atol=1e-5)
    (copy / 'settings.json').write_text(json.dumps({**settings, 'act_type': 'own', 'initial': None}))
    result = run_python('-c', code, copy, tmp_path / 'a.png', path=no_mxnet)
    assert result.returncode == 1 and str(copy) in result.stderr.splitlines()[-1]


def test_loading_a_run_without_either_library_says_what_to_install(torch_run, tmp_path):
    code = 'import sys, openatac; openatac.load(sys.argv[1])'
    result = run_python('-c', code, torch_run, path=hide_packages(('mxnet', 'torch'), tmp_path))
    assert result.returncode == 1 and 'pip install' in result.stderr.splitlines()[-1]


def test_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(OpenatacError, match=str(tmp_path)):
        openatac.load(tmp_path)
    (tmp_path / 'settings.json').write_text('{}')
    with pytest.raises(ValueError, match='onnxruntime'):
        openatac.load(tmp_path, engine='onnxruntime')


def test_documented_snippets_run(animals, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(animals, 'export')
    (tmp_path / 'photo.jpg').write_bytes(encoded(smooth(70, 50)))
    blocks = [block.text for block in blocks_of('docs/how-to/predict.md') if 'predictor' in block.text]
    exec('\n'.join(blocks), {})
    assert len(capsys.readouterr().out.splitlines()) == 8


def test_public_name_load_imports_nothing_heavy():
    code = ('import sys, openatac\nopenatac.load\n'
            'print([name for name in ("mxnet", "torch", "cv2") if name in sys.modules])')
    assert importlib.util.find_spec('cv2') and output_of(code) == '[]'
