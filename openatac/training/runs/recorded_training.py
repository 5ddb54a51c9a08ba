"""Trains a run from its newest checkpoint, and records it in its folder: settings, trackers and summary."""
from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
from collections.abc import Callable
from typing import Any

from openatac.backends.learner import Learner
from openatac.errors import CheckpointError
from openatac.files.run_file_names import SETTINGS, SUMMARY
from openatac.files.writing import write_text
from openatac.options.declaration import option_values
from openatac.training import loop
from openatac.training.checkpoints.checkpoint import checkpoints_of
from openatac.training.checkpoints.progress import Progress
from openatac.training.config import Config
from openatac.training.dry_run import dry_run
from openatac.training.run_folder import Summary
from openatac.training.runs.changed_settings import adapt_checkpoint
from openatac.training.runs.run_summary import Description, summarise
from openatac.training.tracking.contention import ContentionWatch
from openatac.training.tracking.trackers import (
    HistoryFigure,
    MetricsFiles,
    TensorBoard,
    Tracker,
    WeightsAndBiases,
)

log = logging.getLogger('openatac')


def train_and_record(task: loop.TrainingTask, schedule_of: Callable[[Any], loop.Schedule], progress: Progress,
                     config: Config, description: Description) -> Summary | None:
    """Run ``task`` to its end, from the newest checkpoint if the config asks for it, or do a dry run.

    Parameters
    ----------
    task : TrainingTask
    schedule_of : function
        Maps the training section of a config to its schedule; a checkpoint's can differ from the run's.
    progress : Progress
        Where the run begins if there is no checkpoint.
    config : CifarConfig or ImagenetConfig
    description : Description

    Returns
    -------
    Summary or None
        None for a dry run.
    """
    if config.start.dry_run:
        dry_run(task, config.start.dry_run)
        return None
    adapt = functools.partial(adapt_checkpoint, task, schedule_of, config)
    if config.start.resume == 'auto' and progress.resume(task.folder, task.learner, adapt):
        log.info('continuing after epoch %d, batch %d', progress.epoch, progress.batch)
    check_same_start(task.learner, progress)
    folder, trackers = config.output.save_dir, []
    if task.learner.process_group.is_writer:
        with checkpoints_of(folder).writing():
            write_text(os.path.join(folder, SETTINGS),
                       json.dumps({**option_values(config), 'command': description.command}, indent=1,
                                  sort_keys=True) + '\n')
            if progress.epoch < task.epochs:  # an existing one is from a shorter run
                with contextlib.suppress(FileNotFoundError):
                    os.remove(os.path.join(folder, SUMMARY))
            trackers = _trackers(config, description.title, task.learner, progress)
    history = loop.run_epochs(task, progress, trackers)
    summary = summarise(config, description, task, history, progress)
    with checkpoints_of(folder).writing():
        for tracker in trackers:
            tracker.finish(history, summary)
    log.info('best accuracy %.4f (epoch %d), last %.4f%s', summary['best_accuracy'], summary['best_epoch'],
             summary['last_accuracy'], _how_chosen(summary, config.data.test_name))
    return summary


def _how_chosen(summary: Summary, test_name: str) -> str:
    """Return the end of the line with the best accuracy: on which images its epoch was chosen."""
    if 'test_accuracy' in summary:
        return (' on the held-out training images, which were used to choose the best epoch; that epoch '
                f'reaches {summary["test_accuracy"]:.4f} on the {test_name} images')
    return f' on the {test_name} images, which were also used to choose the best epoch (see --val-split)'


def check_same_start(learner: Learner, progress: Progress) -> None:
    """Raise CheckpointError if processes that train together would start from different points."""
    if learner.process_group.size == 1:
        return
    starts = learner.process_group.gather([progress.epoch, progress.batch, learner.checksum()],
                                          'the beginning')
    if any(start != starts[0] for start in starts):
        listed = ', '.join(f'{epoch} and {batch}' for epoch, batch, _ in starts)
        raise CheckpointError(f'the workers would start from different points (at epoch and batch {listed}): '
                              '--save-dir must be one folder that all machines share')


def _trackers(config: Config, title: str, learner: Learner, progress: Progress) -> list[Tracker]:
    output = config.output
    trackers: list[Tracker] = [
        MetricsFiles(output.save_dir),
        HistoryFigure(output.save_plot_dir or output.save_dir, title,
                      'held-out' if config.training.val_split else config.data.test_name)]
    if output.tensorboard:
        trackers.append(TensorBoard(output.tensorboard, learner.iteration))
    if output.project:
        trackers.append(WeightsAndBiases(output.project, output.name, output.save_dir, option_values(config)))
    # On a GPU, other processes hardly matter. One of several workers would take the others for strangers.
    if learner.process_group.size == 1 and not learner.devices.are_gpus:
        trackers.append(ContentionWatch(progress))
    return trackers
