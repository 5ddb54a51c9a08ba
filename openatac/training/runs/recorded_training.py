"""A run in its folder, for both scripts: its log, lock, settings, trackers and summary."""
from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import platform
import statistics
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import numpy as np

from openatac.backends.devices import are_gpus
from openatac.backends.learner import Learner
from openatac.console.log import LOG_FORMAT, log_to
from openatac.errors import CheckpointError
from openatac.files.reserved_folder import reserved_folder
from openatac.files.run_file_names import BEST, LOG, SETTINGS, SUMMARY
from openatac.files.writing import write_text, writing
from openatac.options.declaration import option_values
from openatac.system.threads import threads_in_environment
from openatac.training import loop
from openatac.training.checkpoints.checkpoint import checkpoints_of
from openatac.training.checkpoints.progress import EpochRow, Progress
from openatac.training.config import Config
from openatac.training.dry_run import dry_run
from openatac.training.run_folder import Facts, OptionalEntries, ResultSettings, Summary, Versions
from openatac.training.runs.changed_settings import adapt_checkpoint
from openatac.training.runs.first_lines import first_lines
from openatac.training.tracking.contention import ContentionWatch
from openatac.training.tracking.trackers import (
    HistoryFigure,
    MetricsFiles,
    TensorBoard,
    Tracker,
    WeightsAndBiases,
)
from openatac.version import __version__

log = logging.getLogger('openatac')


@contextlib.contextmanager
def reserve_run_folder(config: Config, command: str, log_file: str | None = None,
                       log_format: str = LOG_FORMAT, rank: int = 0) -> Iterator[None]:
    """Reserve the run's folder for this process, and begin its log; ranks other than 0 leave both alone.

    Raises
    ------
    OpenatacError
        If the folder is in use, holds a run that the config does not resume, or can't be written.
    """
    if rank > 0:
        log.setLevel(logging.WARNING)
        yield
        return
    folder, plots = config.output.save_dir, config.output.save_plot_dir
    with reserved_folder(folder, 'run'):
        path = log_file or os.path.join(folder, LOG)
        with writing(f'{"--logging-file" if log_file else "--save-dir"}: {path}', 'choose another'):
            log_to(path, log_format)
        if plots:
            with writing(f'--save-plot-dir: {plots}', 'choose another'):
                os.makedirs(plots, exist_ok=True)
        log.info('%s', command)
        for line in first_lines(config):
            log.info('%s', line)
        _warn_of_decays(config)
        if config.start.resume == 'never' and checkpoints_of(folder).names():
            raise CheckpointError(f'{folder} already holds a run: continue it with --resume auto, or choose '
                                  'another --save-dir')
        yield


def _warn_of_decays(config: Config) -> None:
    """Warn of epochs at which the rate would decay if the run were longer."""
    training = config.training
    late = [epoch for epoch in training.decay_epochs or [training.lr_decay_period]
            if epoch >= training.num_epochs]
    if late and training.lr_mode == 'step':
        flag = '--lr-decay-period' if training.lr_decay_period else '--lr-decay-epoch'
        log.warning('%s: the rate does not decay at %s, as the run ends after --num-epochs %d', flag,
                    ', '.join(f'epoch {epoch}' for epoch in late), training.num_epochs)


class Description(NamedTuple):
    """What a run's files record besides its settings.

    Attributes
    ----------
    command : str
        The command line, for settings.json and the summary.
    title : str
        The title of the figure.
    facts : Facts
        For the summary.
    """

    command: str
    title: str
    facts: Facts


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
    if learner.process_group.size == 1 and not are_gpus(learner.devices):
        trackers.append(ContentionWatch(progress))
    return trackers


def _final_test(task: loop.TrainingTask) -> OptionalEntries:
    """Return the entries of the summary for the best network on test images that were not used before."""
    if task.test is None:
        return {}
    metrics = task.test(os.path.join(task.folder, BEST))
    top5: OptionalEntries = {} if metrics.top5 is None else {'test_top5_accuracy': metrics.top5}
    return {'test_accuracy': metrics.metric, **top5}


def summarise(config: Config, description: Description, task: loop.TrainingTask, history: list[EpochRow],
              progress: Progress) -> Summary:
    """Return the contents of summary.json for a run that has ended."""
    inexact: OptionalEntries = {'inexact_resumes': progress.inexact} if progress.inexact else {}
    versions = {'openatac': __version__, **task.learner.versions, 'numpy': np.__version__,
                'python': platform.python_version()}
    return {
        'command': description.command, **description.facts, 'act_type': config.network.act_type,
        'attention': config.network.attention, 'useGlobal': config.network.useGlobal,
        'seed': config.training.seed, 'device': task.learner.devices,
        'threads': threads_in_environment(), 'epochs': len(history),
        'best_accuracy': progress.best.accuracy, 'best_epoch': progress.best.epoch,
        'last_accuracy': history[-1]['val_accuracy'], **_final_test(task),
        'images_per_second': statistics.median(row['images_per_second'] for row in history),
        'disturbed': progress.disturbed, **inexact,
        # Both have more entries than these types, which hold what is read.
        'settings': cast(ResultSettings, task.settings), 'versions': cast(Versions, versions),
    }
