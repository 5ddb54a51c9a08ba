"""openatac compare trains missing runs, however often it is stopped, and compares only comparable runs."""
import contextlib
import io
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
from types import SimpleNamespace

import pytest

from openatac import cli
from openatac.console.log import log_to
from openatac.errors import OpenatacError
from openatac.study.comparison import sweep, training_queue
from openatac.study.comparison.comparable import check_comparable, shared_settings
from openatac.study.comparison.comparison import Comparison, group_runs
from openatac.study.comparison.sweep import reserved_flags, unit_flags
from openatac.study.finished_runs import find_runs
from tests.helpers.images.made_up_images import write_cifar
from tests.helpers.processes.child_environment import child_environment
from tests.helpers.processes.commands import call_command, rows_of
from tests.helpers.processes.scripts import changed_json, finish, json_of, metrics_of, wait_until

RECIPE = ['--lr-decay-epoch', '1', '--batch-size', '25', '--lr', '0.05']
EPOCHS = 10  # files of a stopped run
FLAGS = [*RECIPE, '--num-epochs', '2']
ONE = ['--units', 'relu', '--blocks', '1', '--seeds', '1']


@pytest.fixture(scope='module', autouse=True)
def environment():
    """The environment variables of the training runs, which run in their own processes."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in child_environment().items():
            patch.setenv(name, value)
        yield


class TrainingHere:
    """A stand-in for a training's process that trains in this process, which saves the start-up."""

    pid = None

    def __init__(self, command, stderr, **options):
        assert command[:3] == [sys.executable, '-m', 'openatac']
        with contextlib.redirect_stderr(io.StringIO()) as errors:
            self.code = call_command(*command[3:])
            log_to()
        stderr.write(errors.getvalue().encode())

    def poll(self):
        return self.code


@pytest.fixture(scope='module', autouse=True)
def training_in_this_process():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_queue, 'subprocess', SimpleNamespace(
            Popen=TrainingHere, DEVNULL=subprocess.DEVNULL))
        patch.setattr(training_queue, 'Guard', lambda patience: SimpleNamespace(add=bool, remove=bool))
        yield


def compare(*words):
    """Run the command in this process; return .returncode, .stdout and .stderr."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = call_command('compare', *words)
    return SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())


def start_compare(*words):
    """Start the command in its own process."""
    return subprocess.Popen([sys.executable, '-m', 'openatac', 'compare', *map(str, words)], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_cifar(tmp_path_factory.mktemp('data') / 'cifar', images=20)


def all_of(data):
    """Return the flags of the comparison `two_units`."""
    return ['--units', 'relu,SE', '--blocks', '1', '--seeds', '1,2', '--jobs', '2', '--', '--data-dir', data,
            *FLAGS]


@pytest.fixture(scope='module')
def two_units(tmp_path_factory, data):
    """A finished comparison of ReLU and SE with two seeds: (folder, output)."""
    folder = tmp_path_factory.mktemp('comparison') / 'both'
    done = compare(folder, *all_of(data))
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


@pytest.fixture
def copy(two_units, tmp_path):
    """A copy of its folder."""
    return shutil.copytree(two_units[0], tmp_path / 'copy')


# ----------------------------------------------------------------------------------- training runs

def test_comparison_has_a_row_with_the_figures_of_each_run(two_units):
    folder, _ = two_units
    rows = rows_of(folder / 'runs.csv')
    assert [(row['unit'], row['blocks'], row['seed']) for row in rows] == [
        ('relu', '1', '1'), ('relu', '1', '2'), ('se', '1', '1'), ('se', '1', '2')]
    for row in rows:
        assert row['disturbed'] in ('True', 'False') and '--save-dir b1-' in row['command']
        metrics = metrics_of((folder / row['log']).parent)
        assert float(row['last_accuracy']) == metrics[-1]['val_accuracy']
        assert float(row['best_accuracy']) == max(each['val_accuracy'] for each in metrics)
        assert f'--seed {row["seed"]}' in row['command'] and row['device'] == '1 x cpu'
        assert row['mxnet'] == '1.9.1' and float(row['images_per_second']) > 0
    assert int(rows[2]['parameters']) > int(rows[0]['parameters']) == 77850  # the oracle's costs.json


def test_comparison_table_has_means_deviations_and_differences(two_units):
    folder, printed = two_units
    text = (folder / 'comparison.md').read_text('utf-8')
    last = [float(row['last_accuracy']) for row in rows_of(folder / 'runs.csv')]
    assert text in printed
    assert '| 1 | relu | 77,850 | 12,501,632 |' in text
    assert f'| {statistics.mean(last[:2]):.4f} ± {statistics.stdev(last[:2]):.4f} | 2 |' in text
    assert f'| 1 | se | relu | {sum(last[2:]) / 2 - sum(last[:2]) / 2:+.4f} |' in text


def test_comparison_has_a_page_with_all_commands_and_a_figure(two_units):
    folder, _ = two_units
    page = (folder / 'comparison.html').read_text('utf-8')
    assert all(row['command'] in page for row in rows_of(folder / 'runs.csv'))
    from PIL import Image
    with Image.open(folder / 'comparison.png') as figure:
        assert len(figure.convert('L').getcolors(256)) > 10


def test_only_missing_or_damaged_runs_are_trained(copy, data):
    """One run is damaged, and a folder is in the place of another's log."""
    before = rows_of(copy / 'runs.csv')
    summary = copy / 'runs' / 'b1-relu-seed1' / 'summary.json'
    summary.write_text(summary.read_text()[:100])
    done = compare(copy)
    assert done.returncode == 1 and 'b1-relu-seed1' in done.stderr
    shutil.rmtree(copy / 'runs' / 'b1-se-seed2')
    (copy / 'runs' / 'b1-se-seed2' / 'train.log').mkdir(parents=True)
    done = compare(copy, *all_of(data))
    assert done.returncode == 1 and re.search('4 runs.* 2 .* 2 ', done.stdout)
    last = done.stderr.splitlines()[-1]
    assert 'b1-se-seed2' in last and 'train.log' in last
    rows = rows_of(copy / 'runs.csv')
    assert len(rows) == 3
    for row, old in zip(rows, before):
        for changes in ('images_per_second', 'command'):
            del row[changes], old[changes]
        assert row == old
    again = compare(copy)
    assert again.returncode == 0 and 'finished, ' not in again.stdout
    assert again.stdout.strip() in done.stdout


@pytest.mark.parametrize('number, code', [
    (signal.SIGINT, 130), (signal.SIGTERM, 143), pytest.param(signal.SIGKILL, -9, marks=pytest.mark.slow)])
def test_stopped_or_killed_comparison_resumes(data, tmp_path, number, code):
    words = [tmp_path / 'x', *ONE, '--', '--data-dir', data, *RECIPE, '--num-epochs', EPOCHS]
    log = tmp_path / 'x' / 'runs' / 'b1-relu-seed1' / 'metrics.jsonl'

    def epochs():
        return len(log.read_text().splitlines()) if log.exists() else 0

    process = start_compare(*words)
    wait_until(epochs, 'an epoch', process)
    process.send_signal(number)
    done = finish(process)
    assert done.returncode == code and 'Traceback' not in done.stderr
    assert epochs() < EPOCHS
    done = compare(*words)
    assert done.returncode == 0, done.stderr
    assert [row['epoch'] for row in metrics_of(log.parent)] == list(range(EPOCHS))


# ------------------------------------------------------------------------------- command lines

@pytest.mark.parametrize('code, reported', [(-signal.SIGKILL, 1), (2, 2)])
def test_end_of_a_failed_training_is_reported(code, reported, data, tmp_path, monkeypatch):
    failed = SimpleNamespace(poll=lambda: code, pid=None)
    monkeypatch.setattr(training_queue.subprocess, 'Popen', lambda *_, **__: failed)
    assert compare(tmp_path / 'runs', *all_of(data)).returncode == reported


@pytest.mark.parametrize('words, code, named', [
    (['--units', 'relu,ataac'], 2, "'ataac'.* atac"),
    (['--units', 'zzzzqq'], 2, "'zzzzqq'.* relu"),
    (['--units', 'relu', '--', '--seed', '3'], 2, '--seed'),
    (['--units', 'relu', '--', '--useGlobal'], 2, '--useGlobal'),
    (['--units', 'relu', '--', '--engine', 'jax'], 2, "--engine: .*'jax'"),
    (['--', '--num-epochs', '3'], 2, '--units'),
    (['--dry-run', '3'], 2, '--units'),
    (['--units', ','], 2, "--units: ','"),
    (['--units', 'relu', '--blocks', '0'], 2, '--blocks: 0 '),
    (['--units', 'relu', '--recipe', 'cifar11'], 2, "'cifar11'"),
    (['--units', 'relu@17-x'], 2, "'relu@17-x'"),
    (['--units', 'relu@16-16-32'], 2, r'\[16, 16, 32\]'),
    (['--units', 'relu', '--', '--channels', '17,17,35,68'], 2, '--channels'),
    ([], 1, 'x '),
])
def test_wrong_commands_are_refused(words, code, named, tmp_path):
    done = compare(tmp_path / 'x', *words)
    assert done.returncode == code and 'Traceback' not in done.stderr
    assert re.search(named, done.stderr.splitlines()[-1])


def test_folder_is_required():
    done = compare('--units', 'relu')
    assert done.returncode == 2 and 'FOLDER' in done.stderr.splitlines()[-1]


def test_wrong_flag_does_not_claim_the_folder(tmp_path):
    for flag in ('--num-epochy', '--num-epochz'):
        done = compare(tmp_path / 'x', *ONE, '--', flag, '3')
        assert done.returncode == 2
        assert 'b1-relu-seed1' in done.stderr.splitlines()[-1] and flag in done.stderr.splitlines()[-1]


def test_changed_recipe_in_the_same_folder_is_refused(two_units, data):
    done = compare(two_units[0], '--units', 'relu', '--', '--data-dir', data, '--num-epochs', 3)
    assert done.returncode == 1 and '--recipe cifar10_atac --data-dir' in done.stderr


def test_comparison_reserves_its_own_flags_and_passes_on_others():
    reserved = set(reserved_flags())
    assert {'--model', '--act-type', '--attention', '--useGlobal', '--no-useGlobal', '--blocks', '--seed',
            '--recipe', '--save-dir', '--save-plot-dir', '--resume', '--evaluate', '--export', '--dry-run',
            '--initial', '--write-initial', '--summary', '--print-config', '--tensorboard', '--project',
            '--name'} <= reserved
    assert not reserved & {'--data-dir', '--num-epochs', '--lr', '--r', '--useReLU', '--act-layers', '--gpus',
                           '--engine', '--dtype', '--resume-from', '--log-interval', '--save-period', '-j'}


def test_unit_name_is_translated_to_its_flags():
    assert unit_flags('atac') == ['--act-type', 'ChaATAC']
    assert unit_flags('ATAC_global') == ['--act-type', 'ChaATAC', '--useGlobal']
    assert unit_flags('swish_se') == ['--act-type', 'swish', '--attention', 'se']
    assert unit_flags('relu@17-17-35-68') == ['--act-type', 'relu', '--channels', '17,17,35,68']


def test_dry_run_leaves_no_files(tmp_path, data, capfd):
    folder = tmp_path / 'full'
    assert cli.main(['compare', str(folder), *ONE, '--dry-run', '2', '--', '--data-dir', data, *FLAGS]) == 0
    out = capfd.readouterr().out
    assert 'b1-relu-seed1' in out and not os.listdir(tmp_path)


def test_failed_dry_run_is_reported(tmp_path, capfd):
    folder = tmp_path / 'full'
    assert cli.main(['compare', str(folder), *ONE, '--dry-run', '2', '--', '--num-epochy', '3']) == 2
    error = capfd.readouterr().err
    assert '--num-epochy' in error and 'Traceback' not in error
    assert not folder.exists()


def test_killed_dry_run_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, 'TRAIN_CIFAR', ['sh', '-c', 'kill -9 $$'])
    assert cli.main(['compare', str(tmp_path / 'full'), *ONE, '--dry-run', '2']) == 1


# -------------------------------------------------------------------------------- copied runs

def test_records_are_copied_without_paths(two_units, tmp_path):
    folder = tmp_path / 'results'
    done = compare(folder, '--from', two_units[0], '--note', 'made-up images')
    assert done.returncode == 0, done.stderr
    assert 'cifar10 (made-up images), 100 training' in done.stdout
    assert 'cifar10 (made-up images), 20' in (folder / 'comparison.html').read_text('utf-8')
    copied = [path for path in folder.rglob('*') if path.is_file()]
    assert not [path for path in copied if path.suffix == '.params']
    for path in copied:
        if path.suffix != '.png':
            assert str(tmp_path.parent) not in path.read_text('utf-8'), path
    for row, original in zip(rows_of(folder / 'runs.csv'), rows_of(two_units[0] / 'runs.csv')):
        assert '--data-dir cifar ' in row.pop('command') and original.pop('command')
        assert row == original
    assert compare('--from', folder).stdout == done.stdout


def test_only_real_paths_are_shortened(two_units, tmp_path):
    """A path within an address or a longer name is kept."""
    run = tmp_path / 'run'
    shutil.copytree(two_units[0] / 'runs' / 'b1-relu-seed1', run)
    data, url = '/data', 'http://mirror/data/cifar'
    for file in ('settings.json', 'summary.json'):
        with changed_json(run / file) as values:
            values['command'] = f'train_cifar.py --data-dir {data} --data-url {url}'
            if file == 'settings.json':
                values.update(data_dir=data, data_url=url)
    (run / 'train.log').write_text(f'2026-01-01 reading {data} and {url}\n')
    assert compare(tmp_path / 'x', '--from', run).returncode == 0
    copied = tmp_path / 'x' / 'runs' / 'b1-relu-seed1'
    settings = json_of(copied, 'settings.json')
    assert (settings['data_dir'], settings['data_url']) == ('data', url)
    assert settings['command'] == f'train_cifar.py --data-dir data --data-url {url}'
    assert (copied / 'train.log').read_text() == f'2026-01-01 reading data and {url}\n'


def changed(two_units, folder, dataset=None, **settings):
    """Return a copy of a run with other settings in its summary."""
    shutil.copytree(two_units[0] / 'runs' / 'b1-relu-seed1', folder)
    with changed_json(folder / 'summary.json') as summary:
        if dataset:
            summary['dataset'] = settings['dataset'] = dataset
        summary['settings'].update(settings)


@pytest.mark.parametrize('settings, name', [
    ({'data': 'other'}, 'data'), ({'lr': 0.3}, 'lr'), ({'num_epochs': 3}, 'num_epochs'),
    ({'dataset': 'cifar100', 'cifar100_labels': 'fine'}, 'dataset'),
    ({'devices': '2 x gpu'}, 'step'), ({'engine': 'torch'}, 'engine'),
])
def test_runs_of_different_recipes_and_data_are_not_mixed(two_units, tmp_path, settings, name):
    changed(two_units, tmp_path / 'a', seed=5)
    changed(two_units, tmp_path / 'b', seed=6, **settings)
    with pytest.raises(OpenatacError, match=name):
        check_comparable(find_runs(tmp_path))


def test_settings_that_a_unit_ignores_may_differ(two_units, tmp_path):
    changed(two_units, tmp_path / 'a', seed=5, useReLU=False, r=4, act_layers=2, reduction=8)
    changed(two_units, tmp_path / 'b', seed=5, act_type='ChaATAC')
    check_comparable(find_runs(tmp_path))
    changed(two_units, tmp_path / 'c', seed=6, act_type='ChaATAC', r=4)
    with pytest.raises(OpenatacError, match=r'b and .*c .* r \(2 and 4\)'):
        check_comparable(find_runs(tmp_path))


def test_fine_and_coarse_labels_are_not_mixed(two_units, tmp_path):
    for seed, (labels, words) in enumerate({'fine': '(100 classes)', 'coarse': '(20 superclasses)'}.items()):
        changed(two_units, tmp_path / labels, 'cifar100', cifar100_labels=labels, seed=seed)
        assert words in Comparison(group_runs(find_runs(tmp_path / labels))).data_set
    done = compare(tmp_path / 'both', '--from', tmp_path / 'fine', tmp_path / 'coarse')
    assert done.returncode == 1 and re.search(r'cifar100_labels .*\bfine .*\bcoarse', done.stderr)
    assert not (tmp_path / 'both' / 'comparison.md').exists()


def test_all_runs_are_copied_or_none(two_units, copy, tmp_path):
    before = sorted(copy.rglob('*'))
    for name, changes in (('good', {'seed': 5}), ('other', {'seed': 6, 'lr': 0.3})):
        changed(two_units, tmp_path / name, **changes)
    changed(two_units, tmp_path / 'part', seed=7)
    (tmp_path / 'part' / 'train.log').unlink()
    for sources, words in ((('good', 'other'), 'lr (0.05 and 0.3)'), (('good', 'part'), 'train.log')):
        done = compare(copy, '--from', *(tmp_path / name for name in sources))
        assert done.returncode == 1 and words in done.stderr and 'Traceback' not in done.stderr
        assert sorted(copy.rglob('*')) == before


def test_duplicate_seeds_are_refused(two_units, tmp_path):
    changed(two_units, tmp_path / 'a', seed=5)
    changed(two_units, tmp_path / 'b', seed=5)
    check_comparable(find_runs(tmp_path))  # the same run twice
    metrics = (tmp_path / 'b' / 'metrics.csv')
    metrics.write_text(metrics.read_text().replace('0.05', '0.06'))
    with pytest.raises(OpenatacError, match=f'(?s)(?=.*{tmp_path / "a"}).*{tmp_path / "b"}'):
        check_comparable(find_runs(tmp_path))


@pytest.mark.parametrize('name', ['summary.json', 'metrics.csv'])
@pytest.mark.parametrize('content', ['', '{}', '[1]', 'a,b\nx,y\n'])
def test_damaged_records_are_refused(two_units, tmp_path, name, content):
    changed(two_units, tmp_path / 'a')
    (tmp_path / 'a' / name).write_text(content)
    with pytest.raises(OpenatacError, match=str(tmp_path / 'a')):
        find_runs(tmp_path)


def test_runs_of_pytorch_can_be_compared(two_units, tmp_path):
    changed(two_units, tmp_path / 'a', seed=5, engine='torch', tf32=False, compile=False)
    with changed_json(tmp_path / 'a' / 'summary.json') as summary:
        summary['versions']['torch'] = summary['versions'].pop('mxnet')
    run, = find_runs(tmp_path)
    assert shared_settings(run)['engine'] == 'torch'
