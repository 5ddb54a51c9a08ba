"""Scripts, commands and exports write the same evaluation report."""
import csv
import os
import re
import sys

import numpy as np
import pytest
from PIL import Image

import train_imagenet
from openatac import get_model
from openatac.evaluation.classification_report import ClassificationReport
from openatac.models.weights import save_parameters
from openatac.trained.manifest import Manifest
from tests.helpers.exports.exporting import export
from tests.helpers.images.cifar_colours import MEAN, STD
from tests.helpers.images.made_up_images import encoded, plain, write_cifar, write_data_dir
from tests.helpers.networks.imagenet_hosts import shallow_host
from tests.helpers.networks.parameters import initialised
from tests.helpers.processes.commands import call_command, command_error, rows_of
from tests.helpers.processes.scripts import json_of, run_in_process, script_error

CIFAR10 = ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck']
FILES = ['calibration.csv', 'classes.csv', 'confusion.csv', 'confusion.png', 'report.json']
CIFAR = Manifest('cifar_resnet8_v2_relu', 10, (3, 32, 32), tuple(255 * value for value in MEAN),
                 tuple(255 * value for value in STD), labels=CIFAR10)


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    """A network with random weights: (the path of its parameters, the prefix of its export)."""
    folder = tmp_path_factory.mktemp('network')
    net = initialised(get_model('cifar_resnet8_v2_relu'), seed=1)
    save_parameters(net, str(folder / 'net.params'))
    export(net, str(folder / 'net'), CIFAR, ['symbol'])
    return str(folder / 'net.params'), str(folder / 'net')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """A folder of data with 60 test images that include all classes."""
    return write_cifar(tmp_path_factory.mktemp('data') / 'cifar')


def evaluate(network, data, *more):
    return run_in_process('--data-dir', data, '--blocks', 1, '--act-type', 'relu',
                          '--evaluate', network[0], *more)


@pytest.fixture(scope='module')
def report(network, data, tmp_path_factory):
    """The folder of a report by train_cifar.py, including predictions.csv."""
    folder = tmp_path_factory.mktemp('report')
    assert evaluate(network, data, '--report', folder, '--predictions', folder / 'predictions.csv') == 0
    return folder


def measures(predictions):
    """Calculate (accuracy, {class: accuracy}, expected calibration error) from a predictions file."""
    correct = np.array([row['label'] == row['predicted'] for row in predictions])
    scores = np.array([float(row['score']) for row in predictions])
    labels = np.array([row['label'] for row in predictions])
    error = 0
    for low in range(15):
        inside = (scores > low / 15) & (scores <= (low + 1) / 15)
        if inside.any():
            error += inside.mean() * abs(correct[inside].mean() - scores[inside].mean())
    return correct.mean(), {label: correct[labels == label].mean() for label in set(labels)}, error


def test_files_agree_with_the_predictions(report):
    assert sorted(os.listdir(report)) == sorted([*FILES, 'predictions.csv'])
    predictions, found = rows_of(report / 'predictions.csv'), json_of(report, 'report.json')
    assert [row['image'] for row in predictions] == [str(index) for index in range(60)]
    assert all(row['correct'] == str(int(row['label'] == row['predicted'])) for row in predictions)
    accuracy, of_class, error = measures(predictions)
    assert found['accuracy'] == pytest.approx(accuracy) and found['images'] == 60
    assert found['expected_calibration_error'] == pytest.approx(error, abs=1e-5) and found['bins'] == 15
    classes = rows_of(report / 'classes.csv')
    assert [row['name'] for row in classes] == CIFAR10
    assert {row['name']: float(row['accuracy']) for row in classes} == pytest.approx(of_class, abs=1e-6)
    for row, counts in zip(classes, rows_of(report / 'confusion.csv')):
        pairs = [(each['label'], each['predicted']) for each in predictions]
        assert counts.pop('label') == row['name']
        assert counts == {name: str(pairs.count((row['name'], name))) for name in CIFAR10}
    with Image.open(report / 'confusion.png') as figure:
        assert min(figure.size) > 300


def test_class_may_have_any_name(tmp_path):
    report = ClassificationReport(str(tmp_path), None)
    report.outcomes.add(np.array([[2.0, 1], [1, 2], [2, 1]]), np.array([0, 1, 1]))
    report.write(['1', '2', '3'], ['label', 'name'])
    assert (tmp_path / 'confusion.csv').read_text().split() == ['label,label,name', 'label,1,0', 'name,1,1']


def test_log_line_is_kept_and_shows_the_reports_accuracy(network, data, report, tmp_path, capsys):
    assert evaluate(network, data) == 0
    line = re.search('.*accuracy=.*', capsys.readouterr().err)[0]
    assert evaluate(network, data, '--report', tmp_path) == 0
    lines = capsys.readouterr().err.splitlines()
    assert line in lines
    found = json_of(report, 'report.json')
    assert f'accuracy={found["accuracy"]:f} ' in line
    assert float(re.search(r'loss=([\d.]+)', line)[1]) == pytest.approx(found['loss'], abs=1e-5)
    assert any(f'{found["expected_calibration_error"]:.4f}' in line for line in lines)


def assert_same_predictions(one, other):
    one, other = rows_of(one), rows_of(other)
    scores = [[float(row.pop('score')) for row in rows] for rows in (one, other)]
    assert one == other
    np.testing.assert_allclose(*scores, atol=1e-4)


def test_both_engines_write_the_same_report(network, data, report, tmp_path):
    pytest.importorskip('torch')
    assert evaluate(network, data, '--engine', 'torch', '--predictions', tmp_path / 'p.csv') == 0
    assert_same_predictions(tmp_path / 'p.csv', report / 'predictions.csv')
    assert os.listdir(tmp_path) == ['p.csv']


def test_export_gives_the_same_report(network, data, report, tmp_path, capsys):
    assert call_command('evaluate', network[1], '--dataset', 'cifar10', '--data-dir', data, '--report',
                        tmp_path, '--predictions', tmp_path / 'p.csv') == 0
    assert f'accuracy={json_of(report, "report.json")["accuracy"]:f} ' in capsys.readouterr().out
    assert_same_predictions(tmp_path / 'p.csv', report / 'predictions.csv')
    assert rows_of(tmp_path / 'confusion.csv') == rows_of(report / 'confusion.csv')


def test_predictions_can_be_written_to_a_pipe(network, data, capfd):
    assert call_command('evaluate', network[1], '--dataset', 'cifar10', '--data-dir', data,
                        '--predictions', '/dev/stdout') == 0
    assert sum(line.count(',') == 4 for line in capfd.readouterr().out.splitlines()) >= 61


# ------------------------------------------------------------------------------- photographs

@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    """A --data-dir with six validation photographs, and a damaged one."""
    folder = write_data_dir(tmp_path_factory.mktemp('photos'))
    with open(os.path.join(folder, 'val', 'class0', '001.jpg'), 'wb') as handle:
        handle.write(b'no image')
    return folder


@pytest.mark.usefixtures('shallow_resnet')
def test_photographs_are_listed_by_name_without_skipped_ones(photos, tmp_path, capsys):
    net = initialised(shallow_host().gluon(classes=2), seed=5)
    params = str(tmp_path / 'net.params')
    save_parameters(net, params)
    flags = ['--data-dir', photos, '--r', 2, '--num-classes', 2, '--input-size', 32, '--batch-size', 2,
             '-j', 0]
    assert run_in_process('--evaluate', params, *flags, '--predictions', tmp_path / 'script.csv',
                          script=train_imagenet) == 1
    assert call_command('evaluate-imagenet', params, *flags, '--report', tmp_path / 'report',
                        '--predictions', tmp_path / 'command.csv') == 1
    names = ['class0/000.jpg', 'class0/002.jpg', 'class1/000.jpg', 'class1/001.jpg', 'class1/002.jpg']
    rows = rows_of(tmp_path / 'script.csv')
    assert [row['image'] for row in rows] == names and rows == rows_of(tmp_path / 'command.csv')
    assert [row['label'] for row in rows] == [os.path.dirname(name) for name in names]
    assert sorted(os.listdir(tmp_path / 'report')) == FILES
    mean, std = (123.68, 116.779, 103.939), (58.393, 57.12, 57.375)
    export(net, str(tmp_path / 'net'),
           Manifest('resnet50_v1b_atac', 2, (3, 32, 32), mean, std, 0.875, ['class0', 'class1']))
    capsys.readouterr()
    val = os.path.join(photos, 'val')
    assert call_command('evaluate', tmp_path / 'net', val, '--predictions', tmp_path / 'export.csv') == 1
    assert '001.jpg' in capsys.readouterr().err
    assert_same_predictions(tmp_path / 'export.csv', tmp_path / 'script.csv')


def test_folders_lists_and_record_files_give_the_same_report(network, tmp_path):
    val = os.path.join(write_data_dir(tmp_path / 'photos', classes=10, training=10, validation=20), 'val')
    names = sorted(os.path.relpath(os.path.join(place, name), val)
                   for place, _, files in os.walk(val) for name in files)
    (tmp_path / 'val.csv').write_text(''.join(f'{name},{name[5]}\n' for name in names))
    assert call_command('pack', val, tmp_path / 'val') == 0
    for name, words in (('folder', [val]), ('list', [val, '--val-labels', tmp_path / 'val.csv']),
                        ('records', [f'{tmp_path}/val.rec'])):
        assert call_command('evaluate', network[1], *words, '--predictions', tmp_path / name) == 0
    folder, listed, records = (rows_of(tmp_path / name) for name in ('folder', 'list', 'records'))
    assert [row['image'] for row in folder] == names and folder == listed
    assert [row.pop('image').rpartition(' ')[2] for row in records] == [str(index) for index in range(20)]
    assert records == [{name: row[name] for name in row if name != 'image'} for row in folder]


def test_labels_rename_the_classes_of_a_report_and_change_no_image(network, tmp_path):
    photos = tmp_path / 'photos'
    for index, name in enumerate(['bird', 'truck']):
        (photos / name).mkdir(parents=True)
        (photos / name / 'x.png').write_bytes(encoded(plain(9 + index), 'PNG'))
    renamed = [f'{9 - index}' for index in range(10)]
    for name, more in (('own', []), ('renamed', ['--labels', ','.join(renamed)])):
        assert call_command('evaluate', network[1], photos, *more, '--predictions', tmp_path / name) == 0
    new_name = dict(zip(CIFAR10, renamed))
    assert rows_of(tmp_path / 'renamed') == [
        {**row, 'label': new_name[row['label']], 'predicted': new_name[row['predicted']]}
        for row in rows_of(tmp_path / 'own')]


# ------------------------------------------------------------------------------------- names

def test_classes_with_unknown_or_shared_names_get_numbers(tmp_path):
    report = ClassificationReport(str(tmp_path), str(tmp_path / 'p.csv'))
    report.outcomes.add(np.eye(5), np.array([0, 1, 2, 3, 0]))
    report.write(['one', '=two', 'three', 'bytes\udcff', 'five'], ['crane', '=kite', 'crane'])
    rows = rows_of(tmp_path / 'p.csv')
    assert [row['label'] for row in rows] == ['crane (0)', "'=kite", 'crane (2)', '3', 'crane (0)']
    assert [row['image'] for row in rows] == ['one', "'=two", 'three', 'bytes\\xff', 'five']
    with open(tmp_path / 'confusion.csv', newline='') as handle:
        assert next(csv.reader(handle)) == ['label', 'crane (0)', "'=kite", 'crane (2)', '3', '4']


def test_without_matplotlib_only_the_figure_is_missing(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, 'matplotlib', None)
    report = ClassificationReport(str(tmp_path), None)
    report.outcomes.add(np.eye(2), np.array([0, 1]))
    report.write(['0', '1'], [])
    assert sorted(os.listdir(tmp_path)) == [name for name in FILES if name != 'confusion.png']
    assert 'openatac[demo]' in caplog.text


# ------------------------------------------------------------------------------------ errors

@pytest.mark.parametrize('flag', ['--report', '--predictions'])
def test_report_needs_an_evaluation(flag, tmp_path, capsys):
    error = script_error(capsys, 2, flag, tmp_path / 'x')
    assert flag in error and '--evaluate' in error


@pytest.mark.parametrize('flag, path', [
    ('--report', '/proc/report'), ('--predictions', '/proc/nowhere/p.csv'), ('--predictions', '/tmp')])
def test_unwritable_report_is_an_error_before_the_evaluation(flag, path, network, data, capsys):
    error = command_error(capsys, 'evaluate', 1, network[1], '--dataset', 'cifar10', '--data-dir', data,
                          flag, path)
    assert flag in error and path in error


def test_data_set_with_other_classes_is_refused(network, capsys):
    error = command_error(capsys, 'evaluate', 1, network[1], '--dataset', 'cifar100')
    assert '100 outputs' in error and network[1] in error


@pytest.mark.parametrize('words, named', [
    ([], 'IMAGES'), (['x', '--dataset', 'cifar10'], 'IMAGES'),
    (['--dataset', 'cifar10', '--val-labels', 'x'], '--val-labels'), (['x', '--data-dir', 'y'], '--data-dir'),
    (['x', '--class-list', 'y'], '--class-list'), (['x.rec', '--val-labels', 'y'], '--val-labels')])
def test_exactly_one_set_of_images_is_required(words, named, network, capsys):
    assert named in command_error(capsys, 'evaluate', 2, network[1], *words)
