"""`openatac predict` on all kinds of files, and the runtimes for an export."""
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd
from PIL import Image

from openatac import get_model
from openatac.commands import predict
from openatac.console.streams import CLOSED
from openatac.data.images.codec import decode
from openatac.data.images.folder import ImageFolder
from openatac.data.images.source import BadImage
from openatac.data.photos.batches import EvaluationPhotoBatches
from openatac.errors import OpenatacError
from openatac.export.exporter import export
from openatac.export.forms.base import FORMS
from openatac.export.gate_maps import gate_figure, gate_maps
from openatac.export.images.inputs import InputTransform
from openatac.export.manifest import Manifest, read_manifest
from openatac.export.runtimes.base import RUNTIMES, open_runtime, runtime_for, runtimes_of
from openatac.models.weights import load_parameters, save_parameters
from tests.conftest import ROOT
from tests.helpers.images.made_up_images import encoded, smooth, write_photos

pytest.importorskip('onnxruntime')  # the export in these tests has all forms
pytest.importorskip('onnx')

LABELS = ['ant', 'bee', 'cow', 'dog', 'elk']
MEAN, STD = (125.3, 123.0, 113.9), (51.6, 50.8, 51.3)
CIFAR = Manifest('cifar_resnet8_v2_atac', 5, (3, 32, 32), MEAN, STD, 0, LABELS)
IMAGENET = Manifest('resnet50_v1b_atac', 5, (3, 64, 64), (123.68, 116.779, 103.939),
                    (58.393, 57.12, 57.375), 0.875)
START = 'import sys; from openatac.commands.predict import main; sys.exit(main(sys.argv[1:]))'


def network(name='cifar_resnet8_v2_atac'):
    """Return a network that distinguishes images, with trained running statistics."""
    mx.random.seed(3)
    net = get_model(name, classes=5)
    net.initialize(mx.init.MSRAPrelu())
    images = mx.nd.random.normal(0, 1, (8, 3, 32, 32))
    images.attach_grad()
    with autograd.record():
        loss = net(images).sum()
    loss.backward()
    net.output.weight.set_data(20 * net.output.weight.data())
    return net


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """The folder of the export 'atac' in all forms, with the network's parameters in atac.params."""
    folder = tmp_path_factory.mktemp('exports')
    net = network()
    save_parameters(net, str(folder / 'atac.params'))
    calibration = [np.random.RandomState(1).randn(16, 3, 32, 32).astype('float32')]
    export(net, str(folder / 'atac'), CIFAR, list(FORMS), calibration_images=calibration)
    return folder


@pytest.fixture(scope='module')
def prefix(folder):
    return str(folder / 'atac')


def write(path, image, **options):
    Image.fromarray(image).save(path, **options)
    return str(path)


def call(capsys, *arguments):
    """Run `openatac predict`; return (exit code, standard output, standard error)."""
    try:
        code = predict.main([str(argument) for argument in arguments])
    except SystemExit as end:
        code = end.code
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def expected(folder, images):
    """Return the network's own probabilities (B, 5) for uint8 images of 32 x 32."""
    net = get_model('cifar_resnet8_v2_atac', classes=5)
    load_parameters(net, str(folder / 'atac.params'))
    inputs = (np.stack(images).astype('float32') - np.array(MEAN, 'float32')) / np.array(STD, 'float32')
    return mx.nd.softmax(net(mx.nd.array(inputs.transpose(0, 3, 1, 2)))).asnumpy()


# The command.

def test_scores_equal_those_of_the_network(folder, prefix, tmp_path, capsys):
    images = [smooth(seed=seed) for seed in range(5)]
    paths = [write(tmp_path / f'{seed}.png', image) for seed, image in enumerate(images)]
    code, out, err = call(capsys, prefix, *paths, '--json', '--batch-size', 2, '--top', 3)
    assert (code, err) == (0, '')
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line['image'] for line in lines] == paths
    for line, scores in zip(lines, expected(folder, images)):
        best = np.argsort(-scores)[:3]
        assert [each['class'] for each in line['predictions']] == best.tolist()
        assert [each['label'] for each in line['predictions']] == [LABELS[index] for index in best]
        assert [each['score'] for each in line['predictions']] == pytest.approx(scores[best], abs=1e-5)


def test_csv_table_equals_the_printed_scores(prefix, tmp_path, capsys):
    paths = [write(tmp_path / name, smooth(seed=seed))
             for seed, name in enumerate(['a.png', 'longer name.png'])]
    _, out, _ = call(capsys, prefix, *paths, '--json')
    predictions = [json.loads(line)['predictions'] for line in out.splitlines()]
    code, out, _ = call(capsys, prefix, *paths)
    head, *rows = out.splitlines()
    assert code == 0 and head.split() == ['image', 'class', 'label', 'score'] and len(rows) == 10
    assert rows[0].startswith('a.png') and rows[5].startswith('longer name.png') and rows[1].startswith(' ')
    assert [row.split()[-3:] for row in rows] == [
        [str(each['class']), each['label'], f"{each['score']:.4f}"]
        for of_image in predictions for each in of_image]


def test_table_leaves_out_the_folder_that_all_images_share(prefix, tmp_path, capsys):
    (tmp_path / 'b').mkdir()
    paths = [write(tmp_path / name, smooth()) for name in ('a.png', 'b/c.png', 'b/d.png')]
    for given, shown in ((paths, ['a.png', 'b/c.png', 'b/d.png']), (paths[1:], ['c.png', 'd.png']),
                         ([tmp_path], ['a.png', 'b/c.png', 'b/d.png'])):
        _, out, _ = call(capsys, prefix, *given, '--top', 1)
        assert [line.split()[0] for line in out.splitlines()[1:]] == shown


SYNSETS = ('n02012849 crane', 'n01440764 tench, Tinca tinca', 'n03126707 crane', 'n01443537 goldfish, fish',
           'n00000000 a class of another data set', 'n01484850 great white shark, white shark')
IDS = ['n01440764', 'n01443537', 'n01484850', 'n02012849', 'n03126707']
NAMES = ['tench', 'goldfish', 'great white shark', 'crane (n02012849)', 'crane (n03126707)']


@pytest.mark.parametrize('known, lines, names', [
    (IDS, SYNSETS, NAMES),  # matched by the ids, in any order
    ([], [f'{each}: {name}' for each, name in zip(IDS, 'abcde')], list('abcde')),
    (LABELS, ['\ufefftench, Tinca tinca \r', 'b\r', 'c', 'd', 'e'], ['tench, Tinca tinca', *'bcde'])])
def test_class_names_can_come_from_a_list(folder, prefix, tmp_path, capsys, known, lines, names):
    for file in os.listdir(folder):
        shutil.copy(folder / file, tmp_path)
    manifest = json.loads((tmp_path / 'atac.json').read_text())
    (tmp_path / 'atac.json').write_text(json.dumps({**manifest, 'labels': known}))
    (tmp_path / 'names.txt').write_text('\n'.join(lines) + '\n', encoding='utf-8')
    image = write(tmp_path / 'a.png', smooth())
    code, out, _ = call(capsys, tmp_path / 'atac', image, '--json', '--labels', tmp_path / 'names.txt')
    found = {each['class']: each['label'] for each in json.loads(out)['predictions']}
    assert code == 0 and [found[index] for index in range(5)] == names
    code, out, _ = call(capsys, tmp_path / 'atac', image, '--json', '--labels', 'v,w,x,y,z')
    assert code == 0 and {each['label'] for each in json.loads(out)['predictions']} == set('vwxyz')


def test_wrong_number_of_names_is_refused(prefix, tmp_path, capsys):
    code, _, err = call(capsys, prefix, write(tmp_path / 'a.png', smooth()), '--labels', 'one,two')
    assert code == 2 and '--labels' in err and '2' in err and '5' in err


@pytest.mark.parametrize('form', list(FORMS))
def test_all_forms_agree(prefix, tmp_path, capsys, form):
    image = write(tmp_path / 'a.png', smooth())
    path = FORMS.find(form).files(prefix)[0]
    code, out, err = call(capsys, path, image, '--json')
    plain = json.loads(call(capsys, prefix, image, '--json')[1])['predictions']
    found = json.loads(out)['predictions']
    assert code == 0 and (FORMS.find(form).is_quantized or not err)
    assert {each['class'] for each in found} == {each['class'] for each in plain}
    if not FORMS.find(form).is_quantized:  # their outputs are compared in tests with a well-trained network
        assert {each['class']: each['score'] for each in found} == pytest.approx(
            {each['class']: each['score'] for each in plain}, abs=1e-4)


def test_folders_are_searched_recursively_in_order(prefix, tmp_path, capsys):
    (tmp_path / 'b' / 'deep').mkdir(parents=True)
    for name in ('z.png', 'b/x.JPG', 'b/deep/y.jpeg', '.hidden.png'):
        write(tmp_path / name, smooth())
    (tmp_path / 'notes.txt').write_text('no image')
    code, out, err = call(capsys, prefix, tmp_path, '--json')
    assert (code, err) == (0, '')
    assert [os.path.relpath(json.loads(line)['image'], tmp_path) for line in out.splitlines()] == [
        'b/deep/y.jpeg', 'b/x.JPG', 'z.png']
    (tmp_path / 'empty').mkdir()
    assert str(tmp_path / 'empty') in failure(prefix, image=str(tmp_path / 'empty'))


def test_bad_images_are_named_and_skipped(prefix, tmp_path, capsys):
    whole = encoded(smooth(90, 70), 'JPEG')
    bad = {'cut.jpg': whole[:len(whole) // 2], 'empty.png': b'', 'text.jpg': b'not an image',
           'cut.png': encoded(smooth(), 'PNG')[:-40],
           'line.png': encoded(smooth(2, 400), 'PNG')}
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
    good = write(tmp_path / 'good.png', smooth())
    code, out, err = call(capsys, prefix, tmp_path, tmp_path / 'missing.png', good, '--json')
    assert code == 1 and [json.loads(line)['image'] for line in out.splitlines()] == [good, good]
    lines = err.splitlines()
    assert len(lines) == len(bad) + 1 and all(line.startswith('left out ') for line in lines)
    for name in [*bad, 'missing.png']:
        assert sum(str(tmp_path / name) + ': ' in line for line in lines) == 1


COMMAND = 'import sys; from openatac.cli import main; sys.exit(main(sys.argv[1:]))'


def run(*arguments, start=START, **options):
    """Run `openatac predict` in its own process."""
    return subprocess.run([sys.executable, '-c', start, *map(str, arguments)], stderr=subprocess.PIPE,
                          timeout=300, env={**os.environ, 'PYTHONPATH': str(ROOT)}, **options)


def test_image_from_standard_input_is_classified(prefix, tmp_path, capsys, monkeypatch):
    data = encoded(smooth(), 'PNG')
    (tmp_path / 'a.png').write_bytes(data)
    monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(data)))
    code, out, err = call(capsys, prefix, '-', '--json')
    assert (code, err) == (0, '')
    of_file = json.loads(call(capsys, prefix, tmp_path / 'a.png', '--json')[1])
    assert json.loads(out) == {**of_file, 'image': '-'}
    assert call(capsys, prefix, '-', '-')[0] == 2


@pytest.mark.parametrize('unbuffered', ['', pytest.param('1', marks=pytest.mark.slow)])
def test_closed_pipe_ends_predict_quietly(prefix, tmp_path, monkeypatch, unbuffered):
    monkeypatch.setenv('PYTHONUNBUFFERED', unbuffered)
    image = write(tmp_path / 'a.png', smooth())
    reading, writing = os.pipe()
    os.close(reading)
    result = run('predict', prefix, image, stdout=writing, start=COMMAND)
    os.close(writing)
    assert (result.returncode, result.stderr) == (CLOSED, b'')


def test_help_works_without_mxnet():
    start = ('import sys; from openatac.commands import predict\n'
             'try: predict.main(["-h"])\n'
             'except SystemExit: assert not {"mxnet", "torch", "onnxruntime"} & set(sys.modules)')
    assert run(start=start, stdout=subprocess.DEVNULL).returncode == 0


# Exports that can't be used.

def copied(folder, tmp_path):
    for path in folder.iterdir():
        shutil.copy(path, tmp_path)
    return str(tmp_path / 'atac')


def failure(prefix, *flags, image=None):
    with pytest.raises(OpenatacError) as caught:
        predict.main([prefix, image or str(ROOT / 'README.md'), *flags])
    assert '\n' not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize('form', list(FORMS))
@pytest.mark.parametrize('size', [0, 20000])
def test_truncated_files_are_named(folder, tmp_path, form, size):
    if form == 'onnx':
        pytest.importorskip('onnxruntime')
    prefix = copied(folder, tmp_path)
    for path in FORMS.find(form).files(prefix):
        whole = Path(path).read_bytes()
        Path(path).write_bytes(whole[:size])
        assert path in failure(path)
        Path(path).write_bytes(whole)


def test_foreign_and_missing_files_are_named(folder, tmp_path):
    prefix = copied(folder, tmp_path)
    other = network('cifar_resnet8_v2_relu')
    export(other, str(tmp_path / 'relu'), CIFAR._replace(model='cifar_resnet8_v2_relu'))
    shutil.copy(str(tmp_path / 'relu-0000.params'), prefix + '-0000.params')
    assert 'atac-0000.params' in failure(prefix)
    shutil.copy(str(tmp_path / 'atac.params'), prefix + '-0000.params')  # structural names
    assert 'atac-0000.params' in failure(prefix)
    os.unlink(prefix + '-symbol.json')
    assert 'atac-symbol.json' in failure(prefix, '--engine', 'static')
    os.unlink(prefix + '.json')
    assert prefix in failure(prefix)
    assert 'nowhere' in failure(str(tmp_path / 'nowhere'))


def test_manifest_of_another_network_is_refused(folder, tmp_path):
    prefix, image = copied(folder, tmp_path), write(tmp_path / 'a.png', smooth())
    manifest = json.loads((tmp_path / 'atac.json').read_text())
    for key, value, words in (('classes', 7, '7'), ('image_shape', [1, 32, 32], '1'),
                              ('crop_ratio', 2, 'crop_ratio')):
        (tmp_path / 'atac.json').write_text(json.dumps({**manifest, key: value, 'labels': []}))
        assert words in failure(prefix, image=image)


def test_images_of_another_size_are_refused(prefix):
    runtime = open_runtime(prefix, 'static')
    with pytest.raises(OpenatacError, match=r'\(3, 32, 32\).*\(3, 31, 32\)'):
        runtime(np.zeros((2, 3, 31, 32), 'float32'))


@pytest.mark.parametrize('flags', [['--top', '0'], ['--batch-size', 'x'], ['--engine', 'abacus']])
def test_wrong_flags_are_refused(prefix, capsys, flags):
    code, _, err = call(capsys, prefix, 'a.png', *flags)
    assert code == 2 and flags[0] in err


# The runtimes.

def test_runtimes_compute_the_same(prefix):
    images = np.random.RandomState(0).randn(3, 3, 32, 32).astype('float32')
    wanted = open_runtime(prefix, 'imperative')(images)
    names = [name for name in runtimes_of(prefix) if name not in ('torch-compiled', 'torch-frozen')]
    assert names[:6] == ['imperative', 'static', 'fused', 'int8', 'onnxruntime', 'onnxruntime-int8']
    for name in names:
        difference = abs(open_runtime(prefix, name)(images) - wanted)
        if RUNTIMES.find(name).form.is_quantized:  # for a barely trained network
            assert difference.mean() < wanted.std(), name
        else:
            assert difference.max() < 1e-4 * abs(wanted).max(), name


def test_loading_an_int8_form_reports_the_processors_instructions(prefix, tmp_path, capsys, monkeypatch):
    image = write(tmp_path / 'a.png', smooth())
    monkeypatch.setenv('DNNL_MAX_CPU_ISA', 'SSE41')
    for file in ('-int8-symbol.json', '-int8.onnx'):
        code, out, err = call(capsys, prefix + file, image, '--json')
        assert code == 0 and json.loads(out)['image'] and len(err.splitlines()) == 1 and 'SSE4' in err
    assert not call(capsys, prefix + '.onnx', image, '--json')[2]


def test_missing_openvino_is_named_with_its_extra(prefix, monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(OpenatacError, match=r"'openatac\[openvino\]'"):
        open_runtime(prefix, 'openvino')


def test_missing_fused_form_is_made_from_the_symbol_form(folder, tmp_path):
    images = np.random.RandomState(0).randn(2, 3, 32, 32).astype('float32')
    prefix = copied(folder, tmp_path)
    wanted = open_runtime(prefix, 'static')(images)
    for path in FORMS.find('fused').files(prefix):
        os.unlink(path)
    assert np.allclose(open_runtime(prefix, 'fused')(images), wanted, atol=1e-4 * abs(wanted).max())


def test_runtime_is_chosen_by_the_file(folder, tmp_path):
    prefix = copied(folder, tmp_path)
    assert runtime_for(prefix) == runtime_for(prefix + '-symbol.json') == 'static'
    assert runtime_for(prefix + '-int8-0000.params') == 'int8'
    assert runtime_for(prefix + '.onnx') == 'onnxruntime'
    assert runtime_for(prefix + '-int8.onnx') == 'onnxruntime-int8'
    for path in FORMS.find('symbol').files(prefix):
        os.unlink(path)
    assert runtime_for(prefix) == 'fused' and 'static' not in runtimes_of(prefix)


def test_float16_export_runs_in_float32(tmp_path, capsys):
    export(network(), str(tmp_path / 'half'), CIFAR._replace(precision='float16'))
    image = write(tmp_path / 'a.png', smooth())
    code, out, _ = call(capsys, tmp_path / 'half', image, '--json')
    assert code == 0
    export(network(), str(tmp_path / 'whole'), CIFAR)
    whole = json.loads(call(capsys, tmp_path / 'whole', image, '--json')[1])
    scores = [{each['class']: each['score'] for each in line['predictions']}
              for line in (json.loads(out), whole)]
    assert scores[0] == pytest.approx(scores[1], abs=0.02)


# Images.

def test_cifar_image_is_not_resized():
    image = smooth()
    made = InputTransform(CIFAR)(decode(encoded(image, 'PNG')))
    assert np.array_equal(made, (image.transpose(2, 0, 1) - np.array(MEAN, 'float32')[:, None, None])
                          / np.array(STD, 'float32')[:, None, None])
    assert np.array_equal(InputTransform(CIFAR).show(made), image)


@pytest.mark.parametrize('size, crop_ratio', [(64, 0.875), (50, 0.8), (40, 1)])
def test_photographs_are_cropped_as_in_evaluation(tmp_path, size, crop_ratio):
    write_photos(tmp_path, images=2, side=90)
    for name, shape in (('high.jpg', (200, 61)), ('wide.jpg', (70, 333)), ('small.jpg', (20, 30))):
        write(tmp_path / 'class1' / name, smooth(*shape, seed=1))
    photos = ImageFolder(str(tmp_path))
    (wanted, _), = EvaluationPhotoBatches(photos, size, len(photos), crop_ratio)
    transform = InputTransform(IMAGENET._replace(image_shape=(3, size, size), crop_ratio=crop_ratio))
    for index, each in enumerate(wanted):
        assert np.array_equal(transform(decode(photos.read(index)[0])), each)


def test_real_photographs_are_cropped_as_in_evaluation(shared_data):
    photos = ImageFolder(str(shared_data / 'imagenet_sample'))
    transform = InputTransform(IMAGENET._replace(image_shape=(3, 224, 224)))
    evaluated = EvaluationPhotoBatches(photos, 224, 20, 0.875)
    images, _ = next(iter(evaluated))
    for index, each in enumerate(images):
        assert np.array_equal(transform(decode(photos.read(index)[0])), each)


def test_rectangular_inputs():
    made = InputTransform(IMAGENET._replace(image_shape=(3, 40, 90)))(smooth(100, 100))
    assert made.shape == (3, 40, 90)
    made = InputTransform(CIFAR._replace(image_shape=(3, 40, 90)))(smooth(100, 50))
    assert made.shape == (3, 40, 90)


def kinds():
    """Return {kind of file: (its bytes, the expected pixels)}."""
    colour = smooth(seed=2)
    grey = colour[:, :, 0]
    grey3 = np.repeat(grey[:, :, None], 3, axis=2)
    opaque = Image.fromarray(colour)
    clear = Image.fromarray(np.dstack([colour, np.repeat([[0, 255]], 32, 0).repeat(16, 1).astype('uint8')]))
    on_white = np.where(np.arange(32)[None, :, None] < 16, 255, colour)
    palette = opaque.quantize(64)
    turned = Image.Exif()
    turned[0x0112] = 6  # turning it clockwise by 90 degrees makes it upright
    frames = [Image.fromarray(np.full((32, 32, 3), level, 'uint8')) for level in (10, 200)]
    grey_level, white = np.full((32, 32), 99, 'uint8'), np.full((32, 32, 3), 255)
    animation = {'save_all': True, 'append_images': frames[1:]}
    grey16 = Image.fromarray((grey.astype('uint16') << 8) + 77)
    return {
        'PNG': (encoded(opaque, 'PNG'), colour), 'grey': (encoded(grey, 'PNG'), grey3),
        'grey JPEG': (encoded(grey_level, 'JPEG'), np.full((32, 32, 3), 99)),
        'black and white': (encoded(grey > 99, 'PNG'), 255 * (grey3 > 99)),
        'RGBA': (encoded(clear, 'PNG'), on_white),
        'grey with alpha': (encoded(Image.fromarray(grey3).convert('LA'), 'PNG'), grey3),
        'palette': (encoded(palette, 'PNG'), np.asarray(palette.convert('RGB'))),
        'one colour transparent': (encoded(frames[0], 'PNG', transparency=(10, 10, 10)), white),
        '16 bits': (encoded(grey16, 'PNG'), grey3), '16 bits TIFF': (encoded(grey16, 'TIFF'), grey3),
        'CMYK': (encoded(opaque.convert('CMYK'), 'TIFF'), colour),
        'turned': (encoded(opaque, 'PNG', exif=turned), np.rot90(colour, -1)),
        'GIF': (encoded(frames[0], 'GIF', **animation), np.full((32, 32, 3), 10)),
        'APNG': (encoded(frames[0], 'PNG', **animation), np.full((32, 32, 3), 10)),
        'BMP': (encoded(opaque, 'BMP'), colour),
    }


@pytest.mark.parametrize('kind', kinds())
def test_pixels_of_every_file_type(kind):
    data, wanted = kinds()[kind]
    found = decode(data)
    assert found.dtype == np.uint8 and np.array_equal(found, wanted)


def test_photographs_are_turned_upright():
    turned, image = Image.Exif(), Image.fromarray(smooth(64, 96, seed=4))
    turned[0x0112] = 6
    for options, wanted in (({}, image), ({'exif': turned}, image.transpose(Image.Transpose.ROTATE_270))):
        for mode in ('RGB', 'CMYK'):
            found = decode(encoded(image.convert(mode), 'JPEG', quality=95, **options))
            assert found.shape == np.asarray(wanted).shape
            assert abs(found.astype(int) - np.asarray(wanted)).mean() < 6


@pytest.mark.parametrize('array, words', [(np.full((8, 8), 2 ** 20, 'int32'), '32 bits'),
                                          (np.zeros((8, 8), 'float32'), 'floating-point')])
def test_malformed_pixel_arrays_are_refused(array, words):
    with pytest.raises(BadImage, match=words):
        decode(encoded(array, 'TIFF'))


# The picture of the gates.

def test_gate_maps_are_the_means_of_the_gates(folder, prefix):
    net = get_model('cifar_resnet8_v2_atac', classes=5)
    load_parameters(net, str(folder / 'atac.params'))
    seen = []
    for unit in [block.msAA1 for stage in (2, 3, 4) for block in net.features[stage]] + [net.features[6]]:
        unit.module.register_forward_hook(lambda _, inputs, gate: seen.append(gate.asnumpy()))
    image = np.random.RandomState(0).randn(3, 32, 32).astype('float32')
    net(mx.nd.array(image[None]))
    maps = gate_maps(prefix, image)
    assert [each.stage for each in maps] == ['1', '1', '2', '2', '3', '3', '']
    for found, gate in zip([*maps[:6:2], maps[6]], seen):
        assert np.allclose(found.values, gate[0].mean(0), atol=1e-5)


def test_picture_has_a_panel_for_each_unit(prefix, tmp_path, capsys):
    pytest.importorskip('matplotlib')
    image = write(tmp_path / 'a.png', smooth(50, 60, seed=5))
    assert call(capsys, prefix, image, '--gates', tmp_path / 'gates.png')[0] == 0
    drawn = np.asarray(Image.open(tmp_path / 'gates.png').convert('RGB'))
    assert drawn.shape[0] > 400 and len(np.unique(drawn.reshape(-1, 3), axis=0)) > 500
    transform = InputTransform(read_manifest(prefix))
    made = transform(smooth(50, 60, seed=5))
    figure = gate_figure(gate_maps(prefix, made), transform.show(made), 'a')
    titles = [panel.get_title() for panel in figure.axes if panel.images]
    assert len([title for title in titles if title.startswith('unit')]) == 7
    assert [title for title in titles if not title.startswith('unit')] == [
        'stage 1', 'stage 2', 'stage 3', 'after the stages']


def test_network_without_gates_is_refused(tmp_path):
    pytest.importorskip('matplotlib')
    export(network('cifar_resnet8_v2_relu'), str(tmp_path / 'relu'), CIFAR)
    image = write(tmp_path / 'a.png', smooth())
    assert 'no ATAC units' in failure(str(tmp_path / 'relu'), '--gates', str(tmp_path / 'g.png'), image=image)
    assert not (tmp_path / 'g.png').exists()
