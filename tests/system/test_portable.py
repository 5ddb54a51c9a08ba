"""Inference and --engine torch work without Unix's modules and file locks, as on Windows."""
import json
import os

import pytest

from openatac.console.signals import RUN_STOP_SIGNALS, STOP_SIGNALS
from openatac.errors import OpenatacError
from openatac.files.reserved_folder import reserved_folder
from openatac.models.networks_by_name import get_model
from openatac.study.costs.gluon_costs import costs
from tests.helpers.images.made_up_images import write_photos
from tests.helpers.processes.commands import rows_of
from tests.helpers.processes.fresh_python import output_of, run_python
from tests.helpers.processes.hidden_packages import UNIX_MODULES
from tests.helpers.processes.scripts import run_script

pytestmark = pytest.mark.usefixtures('isolated_cwd')


@pytest.fixture(scope='module')
def run(tmp_path_factory, no_unix_and_no_mxnet):
    """The folder of a run of the engine torch on the digits, without MXNet and Unix's modules."""
    pytest.importorskip('torch')
    pytest.importorskip('sklearn')
    folder = tmp_path_factory.mktemp('portable')
    flags = '--recipe', 'digits', '--act-layers', 1
    result = run_script(*flags, '--engine', 'torch', '--num-epochs', 1, '--save-dir', folder / 'run',
                        path=no_unix_and_no_mxnet)
    assert result.returncode == 0, result.stderr
    warning, = (line for line in result.stderr.splitlines() if 'locks' in line)
    assert str(folder / 'run') in warning
    return folder / 'run'


def test_unix_modules_are_hidden(no_unix):
    code = (f'for name in {UNIX_MODULES!r}:\n'
            '    try: __import__(name); print(name)\n'
            '    except ImportError: pass')
    assert output_of(code, path=no_unix) == ''


def test_run_writes_the_usual_files(run):
    summary = json.loads((run / 'summary.json').read_text())
    assert summary['epochs'] == 1 and summary['dataset'] == 'digits'
    assert {'best.params', 'metrics.csv', 'settings.json', 'checkpoints'} <= set(os.listdir(run))
    assert '.lock' not in os.listdir(run)


def test_dry_run_reports_what_it_can_measure(run, no_unix_and_no_mxnet):
    result = run_script('--recipe', 'digits', '--act-layers', 1, '--engine', 'torch', '--dry-run', 1,
                        path=no_unix_and_no_mxnet)
    assert result.returncode == 0, result.stderr
    assert 'checkpoint' in result.stdout and 'Peak' not in result.stdout


def test_run_can_be_compared(run, no_unix):
    result = run_python('-m', 'openatac', 'compare', 'all', '--from', run, path=no_unix)
    assert result.returncode == 0, result.stderr
    assert {'comparison.md', 'runs.csv', 'runs'} <= set(os.listdir('all'))


def test_comparison_trains_its_runs(no_unix_and_no_mxnet):
    pytest.importorskip('torch')
    pytest.importorskip('sklearn')
    result = run_python('-m', 'openatac', 'compare', 'all', '--units', 'relu,atac', '--blocks', 1,
                        '--seeds', 1, '--recipe', 'digits', '--', '--num-epochs', 1, '--val-split', 0.9,
                        '--engine', 'torch', path=no_unix_and_no_mxnet)
    assert result.returncode == 0, result.stderr
    assert sorted(os.listdir(os.path.join('all', 'runs'))) == ['b1-atac-seed1', 'b1-relu-seed1']
    left = {name for _, folders, files in os.walk('all') for name in folders + files if name.startswith('.')}
    assert not left
    rows = {row['unit']: row for row in rows_of(os.path.join('all', 'runs.csv'))}
    for unit in 'relu', 'atac':  # numbered as in MXNet's graph
        count = costs(get_model(f'cifar_resnet8_v2_{unit}'), (3, 32, 32))
        assert int(rows[unit]['parameters']) == count.trainable
        assert int(rows[unit]['multiply_adds']) == count.multiply_adds


PHOTOS = """
import multiprocessing
from openatac.data.images.folder import ImageFolder
from openatac.data.photos.batches import TrainingPhotoBatches
if __name__ == '__main__':
    multiprocessing.set_start_method('spawn')
    batches = TrainingPhotoBatches(ImageFolder('photos'), 16, 4, 0, workers=2)
    print([images.shape for images, _ in batches.epoch(0)])
"""


def test_worker_processes_read_photographs(no_unix):
    write_photos('photos')
    with open('read.py', 'w') as file:
        file.write(PHOTOS)
    result = run_python('read.py', path=no_unix)
    assert result.returncode == 0 and '(4, 3, 16, 16)' in result.stdout, result.stderr


def test_run_is_exported_and_predicts(run, no_unix, no_unix_and_no_mxnet):
    exported = run_python('-m', 'openatac', 'export', run, 'digits', path=no_unix)
    assert exported.returncode == 0, exported.stderr
    assert [name for name in os.listdir() if name.startswith('.')] == []
    result = run_python('-m', 'openatac', 'predict', 'digits', run / 'sample.png', '--engine', 'torch',
                        '--json', path=no_unix_and_no_mxnet)
    assert result.returncode == 0, result.stderr
    assert len(json.loads(result.stdout)['predictions']) == 5


def test_signals_missing_on_windows_are_skipped(no_unix):
    code = ('import signal\n'
            'for name in ("SIGHUP", "SIGUSR1", "SIGKILL", "SIGSTOP", "SIGCONT"): delattr(signal, name)\n'
            'from openatac.console.signals import RUN_STOP_SIGNALS, stop_signals\n'
            'import openatac.commands.train_cifar, openatac.study.comparison.training_queue\n'
            'with stop_signals(print, RUN_STOP_SIGNALS): print(len(RUN_STOP_SIGNALS))')
    assert output_of(code, path=no_unix) == '2'
    assert len(STOP_SIGNALS) == 2 and len(RUN_STOP_SIGNALS) == 4


# ------------------------------------------------------------------------- without locks

@pytest.fixture
def no_locks(monkeypatch):
    """A file system without locks, such as some NFS servers."""
    def flock(file, operation):
        raise OSError(37, 'No locks available')

    portalocker = pytest.importorskip('portalocker.portalocker')
    monkeypatch.setattr(portalocker, 'LOCKER', flock)


@pytest.mark.usefixtures('no_locks')
def test_file_system_without_locks_gives_a_warning(tmp_path, caplog):
    folder = str(tmp_path / 'run')
    for _ in range(2):
        with reserved_folder(folder, 'run'):
            assert os.listdir(folder) == ['.lock']
        assert os.listdir(folder) == []
    warning, = caplog.messages
    assert folder in warning


def test_folder_in_use_is_an_error_where_locks_exist(tmp_path, caplog):
    with reserved_folder(str(tmp_path), 'run'), pytest.raises(OpenatacError, match=str(tmp_path)), \
            reserved_folder(str(tmp_path), 'run'):
        pass
    assert not caplog.messages
