"""`openatac predict` on all kinds of files and flags."""
import io
import json
import os
import shutil
import subprocess
import sys

import mxnet as mx
import numpy as np
import pytest

from openatac import get_model
from openatac.console.streams import CLOSED
from openatac.export.forms.base import FORMS
from openatac.models.weights import load_parameters
from tests.helpers.exports.animal_export import LABELS
from tests.helpers.images.cifar_colours import PIXEL_MEAN, PIXEL_STD
from tests.helpers.images.made_up_images import encoded, smooth, write_image
from tests.helpers.processes.child_environment import child_environment
from tests.helpers.processes.commands import predict_error, predict_images
from tests.helpers.processes.scripts import changed_json

pytest.importorskip('onnxruntime')  # the export in these tests has all forms
pytest.importorskip('onnx')

START = 'import sys; from openatac.commands.predict import main; sys.exit(main(sys.argv[1:]))'


def expected(folder, images):
    """Return the network's own probabilities (B, 5) for uint8 images of 32 x 32."""
    net = get_model('cifar_resnet8_v2_atac', classes=5)
    load_parameters(net, str(folder / 'atac.params'))
    inputs = (np.stack(images).astype('float32') - np.float32(PIXEL_MEAN)) / np.float32(PIXEL_STD)
    return mx.nd.softmax(net(mx.nd.array(inputs.transpose(0, 3, 1, 2)))).asnumpy()


def test_scores_equal_those_of_the_network(animals, atac, tmp_path, capsys):
    images = [smooth(seed=seed) for seed in range(5)]
    paths = [write_image(tmp_path / f'{seed}.png', image) for seed, image in enumerate(images)]
    code, out, err = predict_images(capsys, atac, *paths, '--json', '--batch-size', 2, '--top', 3)
    assert (code, err) == (0, '')
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line['image'] for line in lines] == paths
    for line, scores in zip(lines, expected(animals, images)):
        best = np.argsort(-scores)[:3]
        assert [each['class'] for each in line['predictions']] == best.tolist()
        assert [each['label'] for each in line['predictions']] == [LABELS[index] for index in best]
        assert [each['score'] for each in line['predictions']] == pytest.approx(scores[best], abs=1e-5)


def test_printed_table_equals_the_scores_in_json(atac, tmp_path, capsys):
    paths = [write_image(tmp_path / name, smooth(seed=seed))
             for seed, name in enumerate(['a.png', 'longer name.png'])]
    _, out, _ = predict_images(capsys, atac, *paths, '--json')
    predictions = [json.loads(line)['predictions'] for line in out.splitlines()]
    code, out, _ = predict_images(capsys, atac, *paths)
    head, *rows = out.splitlines()
    assert code == 0
    assert head.split() == ['image', 'class', 'label', 'score']
    assert len(rows) == 10
    assert rows[0].startswith('a.png') and rows[5].startswith('longer name.png') and rows[1].startswith(' ')
    for row, each in zip(rows, [each for of_image in predictions for each in of_image]):
        *_, index, label, score = row.split()
        assert (index, label) == (str(each['class']), each['label'])
        # Rounded to four decimals here, and to more in JSON.
        assert len(score.split('.')[1]) == 4 and float(score) == pytest.approx(each['score'], abs=0.000051)


def test_table_leaves_out_the_folder_that_all_images_share(atac, tmp_path, capsys):
    (tmp_path / 'b').mkdir()
    paths = [write_image(tmp_path / name, smooth()) for name in ('a.png', 'b/c.png', 'b/d.png')]
    for given, shown in ((paths, ['a.png', 'b/c.png', 'b/d.png']), (paths[1:], ['c.png', 'd.png']),
                         ([tmp_path], ['a.png', 'b/c.png', 'b/d.png'])):
        _, out, _ = predict_images(capsys, atac, *given, '--top', 1)
        assert [line.split()[0] for line in out.splitlines()[1:]] == shown


SYNSETS = ('n02012849 crane', 'n01440764 tench, Tinca tinca', 'n03126707 crane', 'n01443537 goldfish, fish',
           'n00000000 a class of another data set', 'n01484850 great white shark, white shark')
IDS = ['n01440764', 'n01443537', 'n01484850', 'n02012849', 'n03126707']
NAMES = ['tench', 'goldfish', 'great white shark', 'crane (n02012849)', 'crane (n03126707)']


@pytest.mark.parametrize('known, lines, names', [
    (IDS, SYNSETS, NAMES),  # matched by the ids, in any order
    ([], [f'{each}: {name}' for each, name in zip(IDS, 'abcde')], list('abcde')),
    (LABELS, ['\ufefftench, Tinca tinca \r', 'b\r', 'c', 'd', 'e'], ['tench, Tinca tinca', *'bcde'])])
def test_class_names_can_come_from_a_list(animals, atac, tmp_path, capsys, known, lines, names):
    for file in os.listdir(animals):
        shutil.copy(animals / file, tmp_path)
    with changed_json(tmp_path / 'atac.json') as manifest:
        manifest['labels'] = known
    (tmp_path / 'names.txt').write_text('\n'.join(lines) + '\n', encoding='utf-8')
    image = write_image(tmp_path / 'a.png', smooth())
    code, out, _ = predict_images(capsys, tmp_path / 'atac', image, '--json', '--labels',
                                  tmp_path / 'names.txt')
    found = {each['class']: each['label'] for each in json.loads(out)['predictions']}
    assert code == 0 and [found[index] for index in range(5)] == names
    code, out, _ = predict_images(capsys, tmp_path / 'atac', image, '--json', '--labels', 'v,w,x,y,z')
    assert code == 0 and {each['label'] for each in json.loads(out)['predictions']} == set('vwxyz')


def test_wrong_number_of_names_is_refused(atac, tmp_path, capsys):
    image = write_image(tmp_path / 'a.png', smooth())
    code, _, err = predict_images(capsys, atac, image, '--labels', 'one,two')
    assert code == 2
    assert '--labels' in err and '2' in err and '5' in err


@pytest.mark.parametrize('form', list(FORMS))
def test_all_forms_agree(atac, tmp_path, capsys, form):
    image = write_image(tmp_path / 'a.png', smooth())
    path = FORMS.find(form).files(atac)[0]
    code, out, err = predict_images(capsys, path, image, '--json')
    plain = json.loads(predict_images(capsys, atac, image, '--json')[1])['predictions']
    found = json.loads(out)['predictions']
    assert code == 0 and (FORMS.find(form).is_quantized or not err)
    assert {each['class'] for each in found} == {each['class'] for each in plain}
    if not FORMS.find(form).is_quantized:  # their outputs are compared in tests with a well-trained network
        assert {each['class']: each['score'] for each in found} == pytest.approx(
            {each['class']: each['score'] for each in plain}, abs=1e-4)


def test_folders_are_searched_recursively_in_order(atac, tmp_path, capsys):
    (tmp_path / 'b' / 'deep').mkdir(parents=True)
    for name in ('z.png', 'b/x.JPG', 'b/deep/y.jpeg', '.hidden.png'):
        write_image(tmp_path / name, smooth())
    (tmp_path / 'notes.txt').write_text('no image')
    code, out, err = predict_images(capsys, atac, tmp_path, '--json')
    assert (code, err) == (0, '')
    assert [os.path.relpath(json.loads(line)['image'], tmp_path) for line in out.splitlines()] == [
        'b/deep/y.jpeg', 'b/x.JPG', 'z.png']
    (tmp_path / 'empty').mkdir()
    assert str(tmp_path / 'empty') in predict_error(atac, image=str(tmp_path / 'empty'))


def test_bad_images_are_named_and_skipped(atac, tmp_path, capsys):
    whole = encoded(smooth(90, 70), 'JPEG')
    bad = {'cut.jpg': whole[:len(whole) // 2], 'empty.png': b'', 'text.jpg': b'not an image',
           'cut.png': encoded(smooth(), 'PNG')[:-40],
           'line.png': encoded(smooth(2, 400), 'PNG')}
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
    good = write_image(tmp_path / 'good.png', smooth())
    code, out, err = predict_images(capsys, atac, tmp_path, tmp_path / 'missing.png', good, '--json')
    assert code == 1 and [json.loads(line)['image'] for line in out.splitlines()] == [good, good]
    lines = err.splitlines()
    assert len(lines) == len(bad) + 1
    for name in [*bad, 'missing.png']:
        assert sum(str(tmp_path / name) + ': ' in line for line in lines) == 1


COMMAND = 'import sys; from openatac.cli import main; sys.exit(main(sys.argv[1:]))'


def run(*arguments, start=START, **options):
    """Run `openatac predict` in its own process."""
    return subprocess.run([sys.executable, '-c', start, *map(str, arguments)], stderr=subprocess.PIPE,
                          timeout=300, env=child_environment(), **options)


def test_image_from_standard_input_is_classified(atac, tmp_path, capsys, monkeypatch):
    data = encoded(smooth(), 'PNG')
    (tmp_path / 'a.png').write_bytes(data)
    monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(data)))
    code, out, err = predict_images(capsys, atac, '-', '--json')
    assert (code, err) == (0, '')
    of_file = json.loads(predict_images(capsys, atac, tmp_path / 'a.png', '--json')[1])
    assert json.loads(out) == {**of_file, 'image': '-'}
    assert predict_images(capsys, atac, '-', '-')[0] == 2


@pytest.mark.parametrize('unbuffered', ['', pytest.param('1', marks=pytest.mark.slow)])
def test_closed_pipe_ends_predict_quietly(atac, tmp_path, monkeypatch, unbuffered):
    monkeypatch.setenv('PYTHONUNBUFFERED', unbuffered)
    image = write_image(tmp_path / 'a.png', smooth())
    reading, writing = os.pipe()
    os.close(reading)
    result = run('predict', atac, image, stdout=writing, start=COMMAND)
    os.close(writing)
    assert (result.returncode, result.stderr) == (CLOSED, b'')


def test_help_works_without_mxnet():
    start = ('import sys; from openatac.commands import predict\n'
             'try: predict.main(["-h"])\n'
             'except SystemExit: assert not {"mxnet", "torch", "onnxruntime"} & set(sys.modules)')
    assert run(start=start, stdout=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize('flags', [['--top', '0'], ['--batch-size', 'x'], ['--engine', 'abacus']])
def test_wrong_flags_are_refused(atac, capsys, flags):
    code, _, err = predict_images(capsys, atac, 'a.png', *flags)
    assert code == 2 and flags[0] in err
