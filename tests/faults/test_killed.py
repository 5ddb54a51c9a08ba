"""After kills at random moments, twenty for each command, the same command ends with the same bytes.

tests/training kills training runs. Here, packing and exporting run in a forked process, which is killed; a
comparison and a launch run as commands with all of their processes.
"""
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from tqdm import tqdm

from openatac import get_model
from openatac.commands import pack
from openatac.files.checksums import file_sha256
from tests.helpers.exports.exporting import export
from tests.helpers.exports.small_export import MANIFEST
from tests.helpers.images.made_up_images import write_cifar, write_photos
from tests.helpers.networks.parameters import initialised
from tests.helpers.paths import ROOT
from tests.helpers.processes.child_environment import child_environment
from tests.helpers.processes.marked_processes import MARK, marked_processes
from tests.helpers.processes.scripts import metrics_of

KILLS = 20
pytestmark = pytest.mark.slow


def content(folder):
    """Return {path: bytes} of all files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def fork(work):
    """Do the work silently in a forked process; return its id."""
    process = os.fork()
    if not process:
        code = 1
        with contextlib.suppress(BaseException):
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1), os.dup2(silence, 2)
            # tqdm's own lock is shared with other forks, and one of them may have been killed with it.
            tqdm.set_lock(threading.RLock())
            work()
            code = 0
        os._exit(code)
    return process


def kill_often(work, again, seconds):
    """Do the work in processes that are killed within ``seconds``; call ``again(finished)`` after each."""
    chance, kills = random.Random(KILLS), 0
    while kills < KILLS:
        process = fork(work)
        time.sleep(chance.uniform(0, seconds))
        os.kill(process, signal.SIGKILL)
        status = os.waitpid(process, 0)[1]
        assert status in (0, signal.SIGKILL)
        kills += status != 0
        again(status == 0)


def timed(work):
    start = time.monotonic()
    assert os.waitpid(fork(work), 0)[1] == 0
    return time.monotonic() - start


def test_pack_resumes_after_being_killed(tmp_path):
    photos = write_photos(tmp_path / 'photos', classes=4, images=100, side=100)
    for name in 'whole', 'killed':
        (tmp_path / name).mkdir()

    def work(name):
        return lambda: pack.main([photos, str(tmp_path / name / 'out'), '--quality', '80', '--shuffle', '1',
                                  '-j', '2'])

    def again(finished):
        names = {path.name for path in (tmp_path / 'killed').iterdir()}
        was_killed_at_the_end = 'out.rec' in names and 'out.rec.part.json' not in names
        if finished or was_killed_at_the_end:
            assert content(tmp_path / 'killed') == whole
            shutil.rmtree(tmp_path / 'killed')
            (tmp_path / 'killed').mkdir()

    seconds = timed(work('whole'))
    whole = content(tmp_path / 'whole')
    kill_often(work('killed'), again, seconds)
    timed(work('killed'))
    assert content(tmp_path / 'killed') == whole and set(whole) == {
        'out.rec', 'out.idx', 'out.classes', 'out.crc32'}


def network(seed):
    return initialised(get_model(MANIFEST.model, classes=3), seed)


def without_times(files):
    """Return the content of an export, with its manifest parsed and without measured times."""
    description = json.loads(files.pop('net.json'))
    for report in description['reports'].values():
        for key in [key for key in report if 'milliseconds' in key]:
            del report[key]
    return files, description


def test_export_is_whole_after_being_killed(tmp_path):
    old, new = network(1), network(2)
    forms = ('symbol', 'fused')
    export(old, str(tmp_path / 'killed' / 'net'), MANIFEST, forms)

    def work(name):
        return lambda: export(new, str(tmp_path / name / 'net'), MANIFEST, forms)

    def again(finished):
        path = tmp_path / 'killed' / 'net.json'
        if path.exists():  # either the complete old set or the complete new one
            for ending, wanted in json.loads(path.read_text())['sha256'].items():
                assert file_sha256(str(tmp_path / 'killed' / f'net{ending}')) == wanted

    seconds = timed(work('whole'))
    kill_often(work('killed'), again, seconds)
    timed(work('killed'))
    assert without_times(content(tmp_path / 'killed')) == without_times(content(tmp_path / 'whole'))


# --------------------------------------------------------------------------------- commands

def start(mark, *words):
    return subprocess.Popen(
        [sys.executable, '-m', 'openatac', *map(str, words)], stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
        env=child_environment(**{MARK: mark}))


def finish(process, mark):
    """Wait for the end; return (exit code, output). All processes that it started must end too."""
    errors = process.communicate(timeout=300)[1]
    end = time.monotonic() + 60
    while marked_processes(mark):
        assert time.monotonic() < end, marked_processes(mark)
        time.sleep(0.05)
    return process.returncode, errors


def hurt_often(words, seconds, hurt, check):
    """Start the command repeatedly, and let ``hurt(process, mark, chance)`` end it each time.

    Parameters
    ----------
    words : sequence
        The command.
    seconds : float
        The longest wait before an attempt to end it.
    hurt : callable
    check : callable
        Called when the command has finished first; compares the results, and removes them.
    """
    chance, kills = random.Random(KILLS), 0
    while kills < KILLS:
        mark = os.urandom(8).hex()
        process = start(mark, *words)
        time.sleep(chance.uniform(0, seconds))
        if process.poll() is None:
            hurt(process, mark, chance)
        code, errors = finish(process, mark)
        assert 'Traceback' not in errors, errors
        if code == 0:
            check()
        kills += code != 0


def run(*words):
    """Return how long the command takes."""
    began, mark = time.monotonic(), os.urandom(8).hex()
    code, errors = finish(start(mark, *words), mark)
    assert code == 0, errors
    return time.monotonic() - began


def assert_same_run(ours, theirs):
    for name in 'last.params', 'best.params':
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()
    ours, theirs = ([{key: value for key, value in row.items() if key != 'images_per_second'}
                     for row in metrics_of(folder)] for folder in (ours, theirs))
    assert ours == theirs


RECIPE = ['--lr-decay-epoch', 20, '--batch-size', 32, '--lr', 0.05]


def test_compare_resumes_after_being_killed(tmp_path):
    data = write_cifar(tmp_path / 'data')
    words = ['--units', 'relu,se', '--blocks', 1, '--seeds', 1, '--jobs', 2, '--', '--data-dir', data,
             '--num-epochs', 60, *RECIPE]
    seconds = run('compare', tmp_path / 'whole', *words)

    def check():
        for name in 'b1-relu-seed1', 'b1-se-seed1':
            assert_same_run(tmp_path / 'killed' / 'runs' / name, tmp_path / 'whole' / 'runs' / name)
        shutil.rmtree(tmp_path / 'killed')

    hurt_often(['compare', tmp_path / 'killed', *words], seconds / 3,
               lambda process, mark, chance: process.kill(), check)
    run('compare', tmp_path / 'killed', *words)
    check()


def test_launch_resumes_after_being_killed(tmp_path):
    """Kill the launcher, a worker, the server or the scheduler, or stop a worker."""
    photos = write_photos(tmp_path / 'photos' / 'train'), write_photos(tmp_path / 'photos' / 'val', seed=1)
    assert all(photos)

    def words(folder):
        return ['launch', '-n', 2, '-s', 1, '--patience', 5, '--', sys.executable, ROOT / 'train_imagenet.py',
                '--data-dir', tmp_path / 'photos', '--r', 2, '--num-classes', 2, '--input-size', 32,
                '--batch-size', 2, '--seed', 1, '-j', 0, '--lr', 0.002, '--last-gamma', '--num-epochs', 8,
                '--kvstore', 'dist_sync', '--resume', 'auto', '--save-dir', folder,
                '--logging-file', f'{folder}.log']

    def check():
        assert_same_run(tmp_path / 'killed', tmp_path / 'whole')
        shutil.rmtree(tmp_path / 'killed')

    def hurt(process, mark, chance):
        found = marked_processes(mark)
        workers = [pid for pid, command in found.items()
                   if 'train_imagenet' in command and 'openatac launch' not in command]
        pid = chance.choice([process.pid, *workers])
        stop = pid != process.pid and chance.random() < 0.4
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP if stop else signal.SIGKILL)

    seconds = run(*words(tmp_path / 'whole'))
    hurt_often(words(tmp_path / 'killed'), seconds / 2, hurt, check)
    run(*words(tmp_path / 'killed'))
    check()
