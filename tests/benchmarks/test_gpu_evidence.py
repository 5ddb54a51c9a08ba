"""benchmarks/gpu_evidence.py on a CPU, and its packed images."""
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from openatac.data.small.cifar import load_cifar
from openatac.files.csv_file import read_csv
from tests.helpers.images.cifar_slice import decode
from tests.helpers.images.made_up_images import write_cifar
from tests.helpers.paths import ROOT
from tests.helpers.processes.child_environment import child_environment
from tests.helpers.processes.fresh_python import run_python
from tests.helpers.processes.scripts import wait_until

pytest.importorskip('torch')
BENCHMARKS = ROOT / 'benchmarks'
ARCHIVE = 'cifar10_jpeg.npz'
STAGES = 'import sys, gpu_evidence; stages = gpu_evidence.Stages(sys.argv[1], 20); '


def data(*words):
    return run_python(BENCHMARKS / 'gpu_data.py', *words)


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """A folder of made-up CIFAR-10 with enough training images for two batches."""
    return write_cifar(tmp_path_factory.mktemp('images') / 'cifar-10-batches-bin', images=64)


@pytest.fixture(scope='module')
def packed(tmp_path_factory, images):
    folder = tmp_path_factory.mktemp('packed')
    assert data('pack', images, folder).returncode == 0
    return folder


# ---------------------------------------------------------------------------------- the data

def test_images_are_packed_and_unpacked(packed, images, tmp_path):
    assert data('unpack', packed, tmp_path / 'all').returncode == 0
    assert data('unpack', packed, tmp_path / 'some', '--images', 10).returncode == 0
    for train in True, False:
        whole = load_cifar('cifar10', images, train=train)
        found, some = (load_cifar('cifar10', str(tmp_path / name), train=train) for name in ('all', 'some'))
        np.testing.assert_array_equal(found.labels, whole.labels)
        assert np.abs(found.images.mean((1, 2, 3)) - whole.images.mean((1, 2, 3))).max() < 2
        np.testing.assert_array_equal(some.images, found.images[:10])


def test_jpeg_files_beside_the_checkout_are_unchanged(shared_data, tmp_path):
    assert data('pack', shared_data / ARCHIVE, tmp_path).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == [ARCHIVE]
    assert (tmp_path / ARCHIVE).stat().st_size < 60e6
    assert data('unpack', tmp_path, tmp_path / 'some', '--images', 50).returncode == 0
    with np.load(shared_data / ARCHIVE) as before, np.load(tmp_path / ARCHIVE) as after:
        assert len(after['train_label']) == 50000
        np.testing.assert_array_equal(after['train_jpeg'], before['train_jpeg'])
        expected = decode(before, 'train', 50)
    found = [np.fromfile(tmp_path / 'some' / f'data_batch_{k}.bin', np.uint8) for k in range(1, 6)]
    np.testing.assert_array_equal(np.concatenate(found).reshape(50, -1), expected)


@pytest.mark.parametrize('words', [('pack', 'nowhere'), ('pack', 'nowhere.npz'), ('unpack', 'nowhere')])
def test_missing_data_is_named(tmp_path, words):
    result = data(words[0], tmp_path / words[1], tmp_path / 'out')
    assert result.returncode == 1 and words[1] in result.stderr and 'Traceback' not in result.stderr


# -------------------------------------------------------------------------------- the stages

def stages(folder):
    return {row['stage']: row for row in read_csv(str(folder / 'stages.csv'))}


def test_failed_or_slow_stage_does_not_stop_the_next(tmp_path):
    result = run_python('-c', STAGES + '''
stages.run('late', ['-c', 'import time; print("waiting", flush=True); time.sleep(99)'], 0.1)
stages.run('broken', ['-c', 'raise SystemExit("it broke")'], 0.5)
stages.run('fine', ['-c', 'print("well")'], 0.5)
''', tmp_path, path=[BENCHMARKS])
    assert result.returncode == 0, result.stderr
    assert {name: (row['outcome'], row['note']) for name, row in stages(tmp_path).items()} == {
        'late': ('out of time', 'waiting'), 'broken': ('failed', 'it broke'), 'fine': ('done', '')}
    assert 'well' in (tmp_path / 'logs' / 'fine.log').read_text()
    assert 'it broke' in (tmp_path / 'evidence.md').read_text()


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGKILL])
def test_stage_ends_with_the_script(tmp_path, number):
    log = tmp_path / 'logs' / 'long.log'
    script = subprocess.Popen([sys.executable, '-c', STAGES + '''
gpu_evidence.signal.signal(15, lambda *_: sys.exit(143))
stages.run('done', ['-c', 'pass'], 0.5)
stages.run('long', ['-c', 'import os, time; print(os.getpid(), flush=True); time.sleep(99)'], 0.9)
''', str(tmp_path)], env=child_environment(BENCHMARKS))
    wait_until(lambda: log.is_file() and log.read_text().endswith('\n'), 'the second stage', script)
    script.send_signal(number)
    script.wait(60)
    wait_until(lambda: not os.path.exists(f'/proc/{log.read_text().strip()}'), 'the end of the stage')
    outcomes = {name: row['outcome'] for name, row in stages(tmp_path).items()}
    assert outcomes == {'done': 'done', 'long': 'stopped' if number == signal.SIGTERM else 'running'}


def test_run_length_follows_the_slower_of_a_pair(tmp_path):
    for unit, seconds in ('relu', 1.5), ('atac', 2.0):
        folder = tmp_path / 'rehearsal' / 'runs' / unit
        folder.mkdir(parents=True)
        (folder / 'train.log').write_text(f'[Epoch 0] loss=2 time: 9.0\n[Epoch 2] loss=1 time: {seconds}\n')
    result = run_python('-c', STAGES.replace('20', '1200') + '''
stages.record('rehearsal', 'done', 26)
for jobs in 2, 1:
    print(gpu_evidence.epochs_that_fit(stages, 'rehearsal', jobs))
''', tmp_path, path=[BENCHMARKS])
    together, in_turn = map(int, result.stdout.split('\n')[-3:-1])
    assert 430 <= together <= 442 and 205 <= in_turn <= 217


def test_missing_gpu_error_explains_the_rehearsal(tmp_path):
    import torch
    if torch.cuda.is_available():
        pytest.skip('there is a GPU')
    result = run_python(BENCHMARKS / 'gpu_evidence.py', '--out', tmp_path / 'out')
    assert result.returncode == 2 and '--dry-run' in result.stderr
    assert not (tmp_path / 'out').exists()


@pytest.mark.slow
def test_all_stages_are_rehearsed_without_mxnet(packed, tmp_path, no_mxnet):
    words = [BENCHMARKS / 'gpu_evidence.py', '--dry-run', '--data', packed, '--out', tmp_path]
    result = run_python(*words, path=no_mxnet, timeout=900, OMP_NUM_THREADS='1')
    assert result.returncode == 0, result.stdout + result.stderr
    outcomes = {name: row['outcome'] for name, row in stages(tmp_path).items()}
    assert outcomes.pop('pictures') in ('done', 'left out')
    assert outcomes == dict.fromkeys(['tests', 'speed', 'data', 'rehearsal-eager', 'training', 'comparison'],
                                     'done')
    speeds = read_csv(str(tmp_path / 'speed.csv'))
    assert [row['unit'] for row in speeds] == ['', *['relu', 'atac', 'se'] * 2]
    assert all(float(row['images_per_second']) > 0 and not row['error'] for row in speeds)
    moved = {(row['unit'], row['mode']): float(row['moved_mb']) for row in speeds[1:]}
    assert moved['atac', 'training'] > moved['se', 'training'] > moved['relu', 'training']
    assert {row['unit'] for row in read_csv(str(tmp_path / 'cifar10' / 'runs.csv'))} == {'relu', 'atac'}
    assert '2 epochs' in (tmp_path / 'evidence.md').read_text()
    again = run_python(*words, path=no_mxnet, timeout=900, OMP_NUM_THREADS='1')  # trains nothing
    assert again.returncode == 0 and 'speed' not in again.stdout
