"""Decide whether and how a run can continue from a checkpoint made under other settings."""
from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from typing import Any

from openatac.backends.devices import Devices
from openatac.backends.learner import Arrays
from openatac.backends.state_conversion import convert_state
from openatac.errors import CheckpointError
from openatac.files.run_file_names import LAST
from openatac.options.declaration import Role, from_json, option_fields, option_values
from openatac.training.checkpoints.progress import State
from openatac.training.config import Config
from openatac.training.loop import Schedule, TrainingTask

log = logging.getLogger('openatac')
REPEAT = 'repeat them, or start another run with another --save-dir'


def adapt_checkpoint(task: TrainingTask, schedule_of: Callable[[Any], Schedule], config: Config,
                     arrays: Arrays, state: State) -> tuple[Arrays, State]:
    """Return a checkpoint's arrays and state, adapted for the run of ``task`` to continue from.

    Schedule settings may have changed if every iteration so far would have been the same. The engine, the
    devices and the split of a batch among them may have changed with --allow-inexact-resume.

    Raises
    ------
    CheckpointError
        If the settings differ in any other way.
    """
    options = option_fields(type(config))
    defaults = {name: field.default for name, field in options.items() if field.has(Role.RESULT)}
    before = {**defaults, **state['settings']}  # an older version may not have had all options
    now = {**defaults, **task.settings}
    changed = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    scheduled = [name for name in changed if name in options and options[name].has(Role.SCHEDULED)]
    elsewhere = [name for name in changed if name == 'devices' or (
        name in options and options[name].has(Role.INEXACTLY_CHANGEABLE))]
    refusal = f'the run in {task.folder} has other settings: {_list(before, now, changed)}; '
    if len(changed) > len(scheduled) + len(elsewhere):
        raise CheckpointError(refusal + REPEAT)
    if scheduled:
        old = from_json(type(config), {**option_values(config), **{name: before[name] for name in scheduled}})
        _check_past(task, config, schedule_of(old.training), state, refusal)
        log.info('%s: all iterations so far are the same', _list(before, now, scheduled))
    if elsewhere:
        _check_engine_and_devices(config, before, now, refusal)
        line = (f'epoch {state["progress"]["epoch"]}, batch {state["progress"]["batch"]}: '
                f'{_list(before, now, elsewhere)}')
        log.info('resuming inexactly at %s; from here on, results are no longer bit-identical to those of an '
                 'unchanged run', line)
        arrays, state = _convert(task, now, arrays, state, line)
    return arrays, state


def _list(before: dict[str, Any], now: dict[str, Any], names: Iterable[str]) -> str:
    return ', '.join(f'{name} was {before.get(name)!r} and is {now.get(name)!r}' for name in names)


# ------------------------------------------------------------------------------------ schedule

def _check_past(task: TrainingTask, config: Config, old: Schedule, state: State, refusal: str) -> None:
    """Raise CheckpointError if the schedule ``old`` gave a past iteration other values."""
    difference = _difference(task, old, state)
    if difference:
        raise CheckpointError(f'{refusal}{difference}: repeat them, or start another run from its weights, '
                              f'with another --save-dir and {config.start.params_flag} '
                              f'{os.path.join(task.folder, LAST)}')


def _difference(task: TrainingTask, old: Schedule, state: State) -> str:
    epoch, batch = state['progress']['epoch'], state['progress']['batch']
    if epoch + (batch > 0) > task.epochs:
        return f'it has already reached epoch {epoch}, batch {batch}'
    past = range(task.learner.iteration, state['engine']['iteration'])
    for quantity, now in task.schedule.items():
        was = old[quantity]
        changed = next((iteration for iteration in past if was(iteration) != now(iteration)), None)
        if changed is not None:
            return (f'the {quantity} of iteration {changed} was {was(changed):g} and would have been '
                    f'{now(changed):g}')
    return ''


# -------------------------------------------------------------------------- engine and devices

def _check_engine_and_devices(config: Config, before: dict[str, Any], now: dict[str, Any], refusal: str
                              ) -> None:
    """Raise CheckpointError unless the command allows these changes and a step keeps its image count."""
    if not config.start.allow_inexact_resume:
        raise CheckpointError(f'{refusal}{REPEAT}, or add --allow-inexact-resume')
    images, wanted = _images_per_step(now), _images_per_step(before)
    if images != wanted:
        raise CheckpointError(f'{refusal}a step had {wanted} images and would have {images}: choose a '
                              f'--batch-size and devices that make {wanted}')


def _images_per_step(settings: dict[str, Any]) -> int:
    return settings['batch_size'] * Devices.parse(settings['devices']).total


def _convert(task: TrainingTask, now: dict[str, Any], arrays: Arrays, state: State, line: str
             ) -> tuple[Arrays, State]:
    """Convert the checkpoint for the learner, and add ``line`` to its progress."""
    progress = state['progress']
    images = progress['batch'] * _images_per_step(now) // task.learner.process_group.size
    arrays, numbers = convert_state(arrays, state['engine'], task.learner, images)
    inexact = [*progress.get('inexact', ()), line]
    return arrays, {**state, 'engine': numbers, 'progress': {**progress, 'inexact': inexact}}
