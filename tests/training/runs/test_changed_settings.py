"""A checkpoint under other settings by itself; test_resume_changed.py and its neighbour resume whole runs."""
import os
from types import SimpleNamespace

import pytest

from openatac.errors import CheckpointError
from openatac.options.declaration import Role, build_config, option_fields, with_changes
from openatac.training.config import CifarConfig, result_settings
from openatac.training.runs.changed_settings import adapt_checkpoint
from openatac.training.schedule import step_schedule

BATCHES, ARRAYS = 10, {'parameter/a/0': None}
BEFORE = build_config(CifarConfig, {
    'num_epochs': 4, 'lr': 0.5, 'lr_decay': 0.5, 'lr_decay_epoch': '1,3', 'batch_size': 8})


def schedule_of(training):
    return {'learning rate': step_schedule(training.lr, training.num_epochs, BATCHES, training.decay_epochs,
                                           training.lr_decay)}


def adapt(batches=15, devices='1 x cpu', stored=None, **changes):
    """Adapt a checkpoint of `BEFORE` after ``batches`` to a run with ``changes``; return whether it stays so.

    ``stored`` maps the checkpoint's settings to those that it has instead.
    """
    config = with_changes(BEFORE, **changes)
    task = SimpleNamespace(folder='run', settings=result_settings(config, devices, '1+2'),
                           schedule=schedule_of(config.training), epochs=config.training.num_epochs,
                           learner=SimpleNamespace(iteration=0))
    settings = result_settings(BEFORE, '1 x cpu', '1+2')
    state = {'settings': stored(settings) if stored else settings,
             'engine': {'iteration': batches, 'images': 8 * batches},
             'progress': {'epoch': batches // BATCHES, 'batch': batches % BATCHES}}
    return adapt_checkpoint(task, schedule_of, config, ARRAYS, state) == (ARRAYS, state)


# ------------------------------------------------------------------------------------ schedule

@pytest.mark.parametrize('batches, changes', [
    (15, {}), (15, {'lr_decay_epoch': '1,2'}), (15, {'lr_decay_epoch': '1'}), (15, {'num_epochs': 2}),
    (10, {'lr_decay_epoch': '2'}), (10, {'lr_decay': 0.1}), (10, {'num_epochs': 1})])
def test_schedule_may_change_from_the_next_iteration_on(batches, changes):
    assert adapt(batches, **changes)


@pytest.mark.parametrize('batches, changes, named', [
    (11, {'lr_decay_epoch': '2'}, r'lr_decay_epoch was .* learning rate of iteration 10 was 0\.25 .* 0\.5\b'),
    (15, {'lr_decay': 0.1}, r'lr_decay was 0\.5 and is 0\.1; .* iteration 10 was 0\.25 .* 0\.05\b'),
    (11, {'num_epochs': 1}, r'num_epochs was 4 and is 1; .* epoch 1, batch 1\b')])
def test_changed_past_is_refused_with_its_first_difference(batches, changes, named):
    with pytest.raises(CheckpointError, match=named) as error:
        adapt(batches, **changes)
    assert f'--resume-from {os.path.join("run", "last.params")}' in str(error.value)


# -------------------------------------------------------------------- other versions and settings

def test_settings_of_newer_versions_are_the_defaults_of_older_ones():
    newer = {name: field.default for name, field in option_fields(CifarConfig).items()
             if not field.has(Role.IN_ALL_FILES)}
    assert adapt(stored=lambda settings: {
        name: value for name, value in settings.items() if name not in newer or value != newer[name]})


@pytest.mark.parametrize('name, value', [('gone', 1), ('wd', 0.5), ('data', 'others')])
def test_unchangeable_setting_is_refused_whatever_else_has_changed(name, value):
    """The other changes would be accepted, with --allow-inexact-resume, which is given."""
    with pytest.raises(CheckpointError, match=f'{name} was {value!r}') as error:
        adapt(stored=lambda settings: {**settings, name: value}, devices='2 x cpu', batch_size=4,
              lr_decay_epoch='1', allow_inexact_resume=True)
    assert '--save-dir' in str(error.value) and 'inexact' not in str(error.value)


# -------------------------------------------------------------------------- engine and devices

@pytest.mark.parametrize('devices, batch_size', [('2 x cpu', 4), ('2 x 1 x gpu', 4), ('1 x gpu', 8)])
def test_other_devices_need_the_flag(devices, batch_size):
    with pytest.raises(CheckpointError, match='devices was .*--allow-inexact-resume'):
        adapt(devices=devices, batch_size=batch_size)


@pytest.mark.parametrize('devices, batch_size, images', [
    ('2 x cpu', 8, 16), ('1 x cpu', 4, 4), ('2 x 2 x gpu', 4, 16)])
def test_step_keeps_its_number_of_images(devices, batch_size, images):
    with pytest.raises(CheckpointError, match=rf'\b8 images .* {images}:.*--batch-size'):
        adapt(devices=devices, batch_size=batch_size, allow_inexact_resume=True)
