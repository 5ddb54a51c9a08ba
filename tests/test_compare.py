"""openatac compare: what is missing is trained, however often it is stopped, and only equals are compared."""
import csv
import json
import math
import os
import shutil
import signal
import statistics
import subprocess
import sys

import pytest
from openatac.study.comparison.compare import unit_flags
from openatac.study.comparison.runs import check_comparable, find_runs
from scipy import stats

from openatac.errors import OpenatacError
from openatac.study.comparison import statistics as comparison
from tests.conftest import ROOT
from tests.scripts import CIFAR100, finish, metrics_of, wait_until, write_cifar

FLAGS = ['--num-epochs', '2', '--lr-decay-epoch', '1', '--batch-size', '32', '--lr', '0.05']


def start_compare(*words):
    return subprocess.Popen(
        [sys.executable, '-m', 'openatac', 'compare', *map(str, words)], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)})


def compare(*words):
    return finish(start_compare(*words))


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_cifar(tmp_path_factory.mktemp('data') / 'cifar')


@pytest.fixture(scope='module')
def two_units(tmp_path_factory, data):
    """A finished comparison of ReLU and SE with two seeds, its folder and what it said."""
    folder = tmp_path_factory.mktemp('comparison') / 'both'
    done = compare(folder, '--units', 'relu,SE', '--blocks', '1', '--seeds', '1,2', '--jobs', '2', '--',
                   '--data-dir', data, *FLAGS)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def rows_of(folder):
    with open(folder / 'runs.csv', newline='', encoding='utf-8') as handle:
        return list(csv.DictReader(handle))


def test_what_a_comparison_leaves(two_units):
    folder, said = two_units
    assert '4 trainings: 0 finished, 4 to run' in said
    rows = rows_of(folder)
    assert [(row['unit'], row['blocks'], row['seed']) for row in rows] == [
        ('relu', '1', '1'), ('relu', '1', '2'), ('se', '1', '1'), ('se', '1', '2')]
    for row in rows:
        metrics = metrics_of((folder / row['log']).parent)
        assert float(row['last_accuracy']) == metrics[-1]['val_accuracy']
        assert float(row['best_accuracy']) == max(each['val_accuracy'] for each in metrics)
        assert '--seed %s' % row['seed'] in row['command'] and row['device'] == '1 x cpu'
        assert row['mxnet'] == '1.9.1' and float(row['images_per_second']) > 0
    assert int(rows[2]['parameters']) > int(rows[0]['parameters']) == 77850  # the oracle's costs.json
    text = (folder / 'comparison.md').read_text('utf-8')
    assert text in said
    last = [float(row['last_accuracy']) for row in rows]
    spread = '%.4f ± %.4f' % (statistics.mean(last[:2]), statistics.stdev(last[:2]))
    assert '| 1 | relu | 77,850 | 12,501,632 |' in text and '| %s | 2 |' % spread in text
    assert 'se against relu, b = 1: %+.4f' % (sum(last[2:]) / 2 - sum(last[:2]) / 2) in text
    page = (folder / 'comparison.html').read_text('utf-8')
    assert all(str(row['command']) in page for row in rows)
    from PIL import Image
    with Image.open(folder / 'comparison.png') as picture:
        assert len(picture.convert('L').getcolors(256)) > 10


def test_only_what_is_missing_runs(two_units, data, tmp_path):
    folder = tmp_path / 'more'
    shutil.copytree(two_units[0], folder)
    before = rows_of(folder)
    shutil.rmtree(folder / 'runs' / 'b1-se-seed2')
    done = compare(folder, '--units', 'relu,se', '--blocks', '1', '--seeds', '1,2', '--',
                   '--data-dir', data, *FLAGS)
    assert '4 trainings: 3 finished, 1 to run' in done.stdout, done.stderr
    for row, old in zip(rows_of(folder), before):
        for changes in ('images_per_second', 'command'):
            del row[changes], old[changes]
        assert row == old
    again = compare(folder)
    assert again.returncode == 0 and 'trainings' not in again.stdout
    assert again.stdout.strip() in done.stdout


def test_killed_and_stopped_it_goes_on(data, two_units, tmp_path):
    folder = tmp_path / 'killed'
    words = ['--units', 'relu', '--blocks', '1', '--seeds', '1', '--', '--data-dir', data, *FLAGS[2:],
             '--num-epochs', 40]
    log = folder / 'runs' / 'b1-relu-seed1' / 'metrics.jsonl'
    for number in (signal.SIGKILL, signal.SIGINT):
        process = start_compare(folder, *words)
        epochs = len(log.read_text().splitlines()) if log.exists() else 0
        wait_until(process, lambda: log.exists() and len(log.read_text().splitlines()) > epochs, 'an epoch')
        process.send_signal(number)
        done = finish(process)
        assert done.returncode != 0 and 'Traceback' not in done.stderr
    assert 'the same command goes on' in done.stderr.splitlines()[-1]
    done = compare(folder, *words)
    assert done.returncode == 0, done.stderr
    assert [row['epoch'] for row in metrics_of(log.parent)] == list(range(40))


@pytest.mark.parametrize('words, code, sentence', [
    (['--units', 'relu,ataac'], 2, "there is no unit 'ataac'; the nearest are atac"),
    (['--units', 'relu', '--', '--seed', '3'], 2, '--seed is not to be given after --'),
    (['--', '--num-epochs', '3'], 2, '--units names none'),
    (['--units', 'relu', '--blocks', '0'], 2, '0 is not a whole number at least 1'),
    (['--units', 'relu', '--', '--num-epochz', '3'], 2, 'unrecognized arguments: --num-epochz'),
    (['--units', 'relu', '--recipe', 'cifar11'], 2, "there is no recipe 'cifar11'"),
    (['--units', 'relu', '--', '--data-dir', os.devnull], 1, 'relu-seed3 failed: '),
    ([], 1, 'holds no finished run'),
])
def test_wrong_commands(words, code, sentence, tmp_path):
    done = compare(tmp_path / 'x', *words)
    assert done.returncode == code and 'Traceback' not in done.stderr
    assert sentence in done.stderr.splitlines()[-1]


def test_another_recipe_in_the_same_folder_is_refused(two_units, data):
    done = compare(two_units[0], '--units', 'relu', '--', '--data-dir', data, '--num-epochs', 3)
    assert done.returncode == 1 and 'not by "--recipe cifar10_atac --data-dir' in done.stderr


def test_a_failed_training_leaves_the_others(two_units, data, tmp_path):
    """The second run finds a folder where its log should be."""
    folder = tmp_path / 'failed'
    os.makedirs(folder / 'runs' / 'b1-relu-seed2' / 'train.log')
    done = compare(folder, '--units', 'relu', '--blocks', '1', '--seeds', '1,2,3', '--',
                   '--data-dir', data, *FLAGS)
    assert done.returncode == 1
    assert [row['seed'] for row in rows_of(folder)] == ['1', '3']
    assert 'b1-relu-seed2 failed: ' in done.stderr.splitlines()[-1] and 'train.log' in done.stderr


def test_a_wrong_flag_does_not_claim_the_folder(data, tmp_path):
    words = [tmp_path / 'x', '--units', 'relu', '--blocks', '1', '--seeds', '1', '--', '--data-dir', data]
    assert compare(*words, '--num-epochz', 3).returncode == 2
    assert compare(*words, *FLAGS).returncode == 0


def test_a_damaged_run_is_trained_again(two_units, data, tmp_path):
    folder = tmp_path / 'damaged'
    shutil.copytree(two_units[0], folder)
    summary = folder / 'runs' / 'b1-relu-seed1' / 'summary.json'
    summary.write_text(summary.read_text()[:100])
    done = compare(folder)
    assert done.returncode == 1 and 'or damaged or older' in done.stderr and 'Traceback' not in done.stderr
    done = compare(folder, '--units', 'relu', '--blocks', '1', '--seeds', '1,2', '--',
                   '--data-dir', data, *FLAGS)
    assert done.returncode == 0 and '2 trainings: 1 finished, 1 to run' in done.stdout, done.stderr


# ------------------------------------------------------------------------ runs from elsewhere

def test_records_are_copied_without_paths(two_units, tmp_path, data):
    folder = tmp_path / 'results'
    done = compare(folder, '--from', two_units[0], '--note', 'made-up images')
    assert done.returncode == 0, done.stderr
    assert 'cifar10 (made-up images), 300 training' in done.stdout
    assert 'cifar10 (made-up images), 2 seeds' in (folder / 'comparison.html').read_text('utf-8')
    copied = [path for path in folder.rglob('*') if path.is_file()]
    assert not [path for path in copied if path.suffix == '.params']
    for path in copied:
        if path.suffix != '.png':
            assert str(tmp_path.parent) not in path.read_text('utf-8'), path
    for row, original in zip(rows_of(folder), rows_of(two_units[0])):
        assert '--data-dir cifar ' in row.pop('command') and original.pop('command')
        assert row == original
    assert compare('--from', folder).stdout == done.stdout == compare(folder, '--from', two_units[0]).stdout


def changed(two_units, folder, **settings):
    """A copy of one run that says that it had other settings."""
    shutil.copytree(two_units[0] / 'runs' / 'b1-relu-seed1', folder)
    summary = json.loads((folder / 'summary.json').read_text())
    summary['settings'].update(settings)
    (folder / 'summary.json').write_text(json.dumps(summary))


@pytest.mark.parametrize('settings, name', [
    ({'data': 'other'}, 'data'), ({'lr': 0.3}, 'lr'), ({'num_epochs': 3}, 'num_epochs'),
    ({'dataset': 'cifar100', 'cifar100_labels': 'fine'}, 'dataset'),
    ({'devices': '2 x gpu'}, 'images a step'), ({'engine': 'torch'}, 'engine'),
])
def test_other_recipes_and_data_are_not_mixed(two_units, tmp_path, settings, name):
    changed(two_units, tmp_path / 'a', seed=5)
    changed(two_units, tmp_path / 'b', seed=6, **settings)
    with pytest.raises(OpenatacError, match=r'differ in .*%s \(' % name):
        check_comparable(find_runs(tmp_path))


def test_what_a_unit_does_not_use_is_no_difference(two_units, tmp_path):
    changed(two_units, tmp_path / 'a', seed=5, useReLU=False, r=4, act_layers=2, reduction=8)
    changed(two_units, tmp_path / 'b', seed=5, act_type='ChaATAC')
    check_comparable(find_runs(tmp_path))
    changed(two_units, tmp_path / 'c', seed=6, act_type='ChaATAC', r=4)
    with pytest.raises(OpenatacError, match=r'b and .*c differ in r \(2 and 4\)'):
        check_comparable(find_runs(tmp_path))


def test_all_runs_are_copied_or_none(two_units, tmp_path):
    folder = tmp_path / 'both'
    shutil.copytree(two_units[0], folder)
    before = sorted(folder.rglob('*'))
    for name, changes in (('good', {'seed': 5}), ('other', {'seed': 6, 'lr': 0.3})):
        changed(two_units, tmp_path / name, **changes)
    changed(two_units, tmp_path / 'part', seed=7)
    (tmp_path / 'part' / 'train.log').unlink()
    for sources, sentence in ((('good', 'other'), 'differ in lr'),
                              (('good', 'part'), 'lacks settings.json or')):
        done = compare(folder, '--from', *(tmp_path / name for name in sources))
        assert done.returncode == 1 and sentence in done.stderr and 'Traceback' not in done.stderr
        assert sorted(folder.rglob('*')) == before


def test_fine_and_coarse_labels_are_not_mixed(tmp_path):
    data = write_cifar(tmp_path / 'data', CIFAR100)
    for labels in ('fine', 'coarse'):
        done = compare(tmp_path / labels, '--units', 'relu', '--blocks', '1', '--seeds', '1', '--recipe',
                       'cifar100_atac', '--', '--data-dir', data, *FLAGS, '--cifar100-labels', labels)
        assert done.returncode == 0, done.stderr
        assert {'fine': '(100 classes)', 'coarse': '(20 superclasses)'}[labels] in done.stdout
    done = compare(tmp_path / 'both', '--from', tmp_path / 'fine', tmp_path / 'coarse')
    assert done.returncode == 1 and 'cifar100_labels (fine and coarse)' in done.stderr
    assert not (tmp_path / 'both' / 'comparison.md').exists()


def test_two_runs_of_one_seed(two_units, tmp_path):
    changed(two_units, tmp_path / 'a', seed=5)
    changed(two_units, tmp_path / 'b', seed=5)
    check_comparable(find_runs(tmp_path))  # one run, twice
    metrics = (tmp_path / 'b' / 'metrics.csv')
    metrics.write_text(metrics.read_text().replace('0.05', '0.06'))
    with pytest.raises(OpenatacError, match='leave out one'):
        check_comparable(find_runs(tmp_path))


@pytest.mark.parametrize('name', ['summary.json', 'metrics.csv'])
@pytest.mark.parametrize('content', ['', '{}', '[1]', 'a,b\nx,y\n'])
def test_damaged_records(two_units, tmp_path, name, content):
    changed(two_units, tmp_path / 'a')
    (tmp_path / 'a' / name).write_text(content)
    with pytest.raises(OpenatacError, match='not the folder of a finished run'):
        find_runs(tmp_path)


# -------------------------------------------------------------------------------- statements

class FakeRun:
    def __init__(self, last):
        self.summary = {'last_accuracy': last}


def fake_group(unit, *accuracies):
    return comparison.Group(unit, 2, [FakeRun(accuracy) for accuracy in accuracies], 0, 0)


def test_welch_by_hand():
    """Welch's t, his degrees of freedom and the interval, worked out here."""
    a, b = [0.71, 0.74, 0.72], [0.70, 0.69, 0.705, 0.71]
    parts = [statistics.variance(a) / 3, statistics.variance(b) / 4]
    difference = statistics.mean(a) - statistics.mean(b)
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 3)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(sum(parts))
    p = 2 * stats.t.sf(difference / math.sqrt(sum(parts)), freedom)
    assert comparison.statement(fake_group('atac', *a), fake_group('relu', *b)) == (
        'atac against relu, b = 2: %+.4f (95 %% interval %+.4f to %+.4f, p = %.2g, n = 3 and 4)'
        % (difference, difference - half, difference + half, p))


def test_statements_that_cannot_be_made():
    one, same, other = fake_group('a', 0.5), fake_group('b', 0.5, 0.5), fake_group('c', 0.75, 0.75)
    assert comparison.statement(one, other).endswith('b = 2: -0.2500 (one seed tells nothing of chance)')
    assert comparison.statement(other, same).endswith('+0.2500 (no spread over the seeds, so no test)')


def test_units():
    assert unit_flags('atac') == ['--act-type', 'ChaATAC']
    assert unit_flags('ATAC_global') == ['--act-type', 'ChaATAC', '--useGlobal']
    assert unit_flags('swish_se') == ['--act-type', 'swish', '--attention', 'se']


def test_a_rehearsal_keeps_nothing(tmp_path, data):
    done = compare(tmp_path / 'full', '--units', 'relu,atac', '--blocks', '1', '--seeds', '1',
                   '--dry-run', '2', '--', '--data-dir', data, *FLAGS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('Nothing was kept.') == 2 and 'b1-atac-seed1:' in done.stdout
    assert not os.listdir(tmp_path)


def test_a_failed_rehearsal_is_told(tmp_path):
    done = compare(tmp_path / 'full', '--units', 'relu', '--blocks', '1', '--seeds', '1', '--dry-run', '2',
                   '--', '--data-dir', tmp_path, '--data-url', 'http://127.0.0.1:9/', *FLAGS)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert not (tmp_path / 'full').exists()


def test_runs_of_pytorch_are_records_too(two_units, tmp_path):
    changed(two_units, tmp_path / 'a', seed=5, engine='torch', tf32=False, compile=False)
    summary = json.loads((tmp_path / 'a' / 'summary.json').read_text())
    summary['versions']['torch'] = summary['versions'].pop('mxnet')
    (tmp_path / 'a' / 'summary.json').write_text(json.dumps(summary))
    run, = find_runs(tmp_path)
    assert run.recipe['engine'] == 'torch'
