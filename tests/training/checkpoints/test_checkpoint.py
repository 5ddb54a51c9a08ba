"""Checkpoints by themselves; test_resume.py resumes whole runs from them."""
import json
import os

import mxnet as mx
import numpy as np
import pytest

from openatac.errors import CheckpointError
from openatac.files.schema import validate
from openatac.files.writing import write_text
from openatac.training.checkpoints.checkpoint import Checkpoints
from openatac.training.checkpoints.progress import Progress, State
from tests.helpers.processes.full_disk import limit_file_size

NAMES = [f'{iteration:010}' for iteration in range(10)]


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(str(tmp_path / 'run' / 'checkpoints'))


def save(checkpoints, iteration):
    arrays = {'parameter/w/0': np.full((2, 3), iteration, 'float32')}
    checkpoints.save(iteration, arrays, {'iteration': iteration})


def latest(checkpoints):
    arrays, state = checkpoints.latest()
    assert (arrays['parameter/w/0'] == state['iteration']).all()
    return state['iteration']


def damage(checkpoints, iteration, file, how):
    path = os.path.join(checkpoints.folder, NAMES[iteration], file)
    if how == 'removed':
        return os.remove(path)
    with open(path, 'r+b') as handle:
        content = handle.read()
        handle.seek(0)
        handle.truncate()
        handle.write({'cut': content[:-1], 'empty': b'',
                      'changed': content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]}[how])


def test_checkpoint_roundtrip(checkpoints):
    assert checkpoints.latest() is None
    arrays = {'parameter/a.b/0': np.array([0.1, -0.0, 1e-45], 'float32'), 'metrics/0': np.zeros(2, 'float32'),
              'optimizer/a.b/0': np.ones((2, 2), 'float16')}
    state = {'progress': {'epoch': 1, 'history': [{'val_accuracy': 0.1 + 0.2}]}}
    checkpoints.save(1, arrays, state)
    found, found_state = checkpoints.latest()
    assert found_state == state and list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].tobytes() == array.tobytes()


def test_state_of_an_unstarted_run_is_valid():
    state = {'settings': {}, 'engine': {'iteration': 0, 'images': 0}, 'progress': Progress().for_json()}
    found = validate(json.loads(json.dumps(state)), State)
    found['progress']['best'] = found['progress']['best']._asdict()
    assert found == state


def test_newest_two_checkpoints_are_kept(checkpoints):
    for iteration in range(4):
        save(checkpoints, iteration)
        assert checkpoints.names() == NAMES[max(0, iteration - 1):iteration + 1]
        assert latest(checkpoints) == iteration


@pytest.mark.parametrize('how', ['removed', 'empty', 'cut', 'changed'])
@pytest.mark.parametrize('file', ['arrays.params', 'state.json', 'manifest.json'])
def test_damaged_checkpoint_falls_back_to_the_previous_one(checkpoints, file, how, caplog):
    save(checkpoints, 1)
    save(checkpoints, 2)
    damage(checkpoints, 2, file, how)
    assert latest(checkpoints) == 1
    assert NAMES[2] in caplog.text
    save(checkpoints, 2)
    assert latest(checkpoints) == 2 and checkpoints.names() == NAMES[1:3]


def test_error_if_all_checkpoints_are_damaged(checkpoints):
    for iteration in (1, 2):
        save(checkpoints, iteration)
        damage(checkpoints, iteration, 'state.json', 'changed')
    with pytest.raises(CheckpointError, match='--save-dir'):
        checkpoints.latest()


def test_damaged_later_checkpoints_do_not_displace_intact_ones(checkpoints):
    """If a run that resumed before them is stopped early, its new checkpoint must be kept."""
    save(checkpoints, 1)
    for iteration in (5, 6):
        os.mkdir(os.path.join(checkpoints.folder, NAMES[iteration]))
    for iteration in (2, 3):
        save(checkpoints, iteration)
        assert latest(checkpoints) == iteration
    assert checkpoints.names() == [NAMES[2], NAMES[3], NAMES[5], NAMES[6]]
    for iteration in (5, 6):
        save(checkpoints, iteration)
    assert latest(checkpoints) == 6 and checkpoints.names() == NAMES[5:7]


def test_foreign_files_in_the_folder_are_kept(checkpoints):
    os.makedirs(checkpoints.folder)
    for name in ('.hidden', 'notes.txt'):
        write_text(os.path.join(checkpoints.folder, name), 'not a checkpoint')
    os.mkdir(os.path.join(checkpoints.folder, '.' + NAMES[0]))      # left by a killed run
    for iteration in range(3):
        save(checkpoints, iteration)
    assert latest(checkpoints) == 2
    assert sorted(os.listdir(checkpoints.folder)) == ['.hidden', NAMES[1], NAMES[2], 'notes.txt']


@pytest.mark.parametrize('length, text', [(10000, ''), (2, 'x' * 10000)], ids=['arrays', 'state'])
def test_write_failure_keeps_earlier_checkpoints(checkpoints, length, text):
    save(checkpoints, 1)
    with limit_file_size(4096), pytest.raises(CheckpointError,
                                              match=f'{checkpoints.folder} .*--resume auto'):
        checkpoints.save(2, {'parameter/w/0': np.zeros(length, 'float32')}, {'text': text})
    assert os.listdir(checkpoints.folder) == [NAMES[1]] and latest(checkpoints) == 1
    save(checkpoints, 2)
    assert latest(checkpoints) == 2


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_non_finite_values_are_not_saved(checkpoints, value):
    save(checkpoints, 1)
    with pytest.raises(CheckpointError, match='features.0.gamma'):
        checkpoints.save(2, {'parameter/features.0.gamma/0': np.array([0, value])}, {})
    assert checkpoints.names() == [NAMES[1]]


def test_checkpoints_contain_no_pickles(checkpoints):
    save(checkpoints, 1)
    folder = os.path.join(checkpoints.folder, NAMES[1])
    assert sorted(os.listdir(folder)) == ['arrays.params', 'manifest.json', 'state.json']
    for name in ('manifest.json', 'state.json'):
        with open(os.path.join(folder, name), encoding='utf-8') as handle:
            json.load(handle)
    assert mx.nd.load(os.path.join(folder, 'arrays.params'))
