"""The training loop of both scripts: epochs, schedule, evaluation, checkpoints.

Whatever stops a run, `run_epochs` with the same arguments continues from the newest checkpoint, and ends with
the same parameters, metrics and history as an uninterrupted run.
"""
from __future__ import annotations

import abc
import contextlib
import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from openatac.backends.learner import Arrays, Learner, LearnerNumbers, Metrics
from openatac.console.streams import on_terminal
from openatac.data.batch_source import EvaluationBatchSource, TrainingBatchSource
from openatac.data.threads import prefetch
from openatac.errors import OpenatacError
from openatac.files.mxnet_arrays import write_params
from openatac.files.run_file_names import BEST, LAST
from openatac.training.checkpoints.checkpoint import checkpoints_of
from openatac.training.checkpoints.progress import Best, EpochRow, Progress
from openatac.training.stopping import Stopped, StopRequest, stop_request
from openatac.training.tracking.trackers import Tracker

if TYPE_CHECKING:
    from tqdm import tqdm

log = logging.getLogger('openatac')
LEARNING_RATE = 'learning rate'
Schedule = dict[str, Callable[[int], float]]  # {quantity: function from the iteration to its value}


class LogLines(abc.ABC):
    """The lines that a script logs; ``log_interval`` is the number of batches between readings.

    With an interval of 0, the metrics are read once per epoch.
    """

    def __init__(self, log_interval: int) -> None:
        self.log_interval = log_interval

    @abc.abstractmethod
    def interval(self, so_far: EpochSoFar) -> str:
        """Return the line for a reading of the metrics within an epoch, or ''."""

    @abc.abstractmethod
    def epoch(self, row: EpochRow, seconds: float) -> list[str]:
        """Return the lines for an epoch that took ``seconds``, from its row of the history."""


class KeptEpochs(NamedTuple):
    """The epochs whose parameters are kept: every ``period``-th, or none for 0.

    ``name`` maps an epoch to the name of its files, and ``with_states`` says whether the optimizer's state is
    kept too.
    """

    period: int
    name: Callable[[int], str] = 'epoch-{:04d}'.format
    with_states: bool = False


class TrainingTask(NamedTuple):
    """What the loop has to do, and with what.

    Attributes
    ----------
    learner : Learner
        Trains and evaluates.
    training : TrainingBatchSource
    evaluation : EvaluationBatchSource
        The images on which the best epoch is chosen: the test set, unless ``test`` is given.
    test : function or None
        Maps a parameter file to its `Metrics` on the test set; called once, after the last epoch.
    schedule : dict
        {quantity: function from the iteration, counted from 0, to its value} for everything that the run's
        schedule decides; `LEARNING_RATE` is one of them.
    epochs : int
        The number of epochs to train.
    folder : str
        Where checkpoints and parameter files go.
    settings : dict
        Everything that the result depends on; a checkpoint with other settings is refused.
    lines : LogLines
        The lines of the log.
    kept : KeptEpochs
        The epochs whose parameters are kept.
    """

    learner: Learner
    training: TrainingBatchSource
    evaluation: EvaluationBatchSource
    test: Callable[[str], Metrics] | None
    schedule: Schedule
    epochs: int
    folder: str
    settings: dict[str, Any]
    lines: LogLines
    kept: KeptEpochs


class EpochSoFar(NamedTuple):
    """An epoch up to its batch ``batch`` of ``batches``, at the current ``learning_rate``.

    Attributes
    ----------
    speed : float
        Images per second since the last report.
    metrics : Metrics
        Over the images of this process.
    """

    epoch: int
    batch: int
    batches: int
    speed: float
    metrics: Metrics
    learning_rate: float


def run_epochs(task: TrainingTask, progress: Progress, trackers: Sequence[Tracker] = ()) -> list[EpochRow]:
    """Run ``task`` from ``progress`` to its end; return the history, a row per epoch.

    If there are several processes, only rank 0 writes files.

    Raises
    ------
    Stopped
        After a signal, once a checkpoint is written.
    OpenatacError
        If the loss is no longer finite, or nothing can be written.
    """
    with stop_request(task.learner.process_group) as stop:
        loop = _Loop(task, progress, trackers, stop)
        while progress.epoch < task.epochs:
            loop.run_epoch()
    return progress.history


class _Loop:
    """The parts of an epoch; the parameters are those of `run_epochs`."""

    def __init__(self, task: TrainingTask, progress: Progress, trackers: Sequence[Tracker],
                 stop: StopRequest) -> None:
        self.task = task
        self.learner = task.learner
        self.progress = progress
        self.trackers = trackers
        self.stop = stop
        self.checkpoints = checkpoints_of(task.folder)
        self.is_writer = self.learner.process_group.is_writer

    def run_epoch(self) -> None:
        started = time.perf_counter()
        before = self.learner.image_count
        self.train()
        images = (self.learner.image_count - before) * self.learner.process_group.size
        row = self.evaluate(images / (time.perf_counter() - started))
        for line in self.task.lines.epoch(row, time.perf_counter() - started):
            log.info('%s', line)
        self.write()
        if self.stop.agreed():
            raise Stopped(self.stop.signal)

    def train(self) -> None:
        task, learner, progress = self.task, self.learner, self.progress
        batches = task.training.batches_in(progress.epoch)
        with contextlib.closing(prefetch(task.training.epoch(progress.epoch, progress.batch),
                                         task.training.ahead)) as ahead, self.bar(batches) as bar:
            clock = _Clock(learner)
            for images, labels in ahead:
                learning_rate = task.schedule[LEARNING_RATE](learner.iteration)
                learner.train_batch(images, labels, learning_rate)
                progress.batch += 1
                bar.update()
                is_last = progress.batch == batches
                if is_last or (task.lines.log_interval and progress.batch % task.lines.log_interval == 0):
                    self.report(learning_rate, clock, bar)
                if not is_last and self.stop.agreed(midway=True):
                    self.check_loss(learner.read_metrics())
                    self.save_checkpoint(*learner.state())
                    raise Stopped(self.stop.signal)

    def bar(self, batches: int) -> tqdm[Any]:
        """Return the progress bar of an epoch of ``batches`` batches."""
        from tqdm import tqdm
        return tqdm(total=batches, initial=self.progress.batch, leave=False, unit='batch', dynamic_ncols=True,
                    desc=f'epoch {self.progress.epoch + 1}/{self.task.epochs}',
                    disable=not self.is_writer or not on_terminal())

    def report(self, learning_rate: float, clock: _Clock, bar: tqdm[Any]) -> None:
        """Read the metrics so far, check that they are finite, and show them."""
        metrics = self.learner.read_metrics()
        metric_name = self.learner.objective.metric_name
        self.check_loss(metrics)
        progress = self.progress
        speed = clock.images_per_second()
        batches = self.task.training.batches_in(progress.epoch)
        so_far = EpochSoFar(progress.epoch, progress.batch, batches, speed, metrics, learning_rate)
        bar.set_postfix({'loss': f'{metrics.loss:.4f}', metric_name: f'{metrics.metric:.4f}'}, refresh=False)
        line = self.task.lines.interval(so_far)
        if line:
            log.info('%s', line, extra={'on_bar': not bar.disable})
        for tracker in self.trackers:
            tracker.interval(self.learner.iteration, {
                'loss': metrics.loss, metric_name: metrics.metric, 'lr': learning_rate,
                'images_per_second': speed})

    def check_loss(self, metrics: Metrics) -> None:
        if not math.isfinite(metrics.loss):
            raise OpenatacError(
                f'the loss became {metrics.loss} in epoch {self.progress.epoch}, by batch '
                f'{self.progress.batch}: {self.checkpoints.in_words}; use a smaller --lr')

    def evaluate(self, speed: float) -> EpochRow:
        """Evaluate, add the epoch's row to the history, and note whether it is the best."""
        task, learner, progress = self.task, self.learner, self.progress
        trained = learner.read_all_metrics()
        evaluated = learner.evaluate(prefetch(task.evaluation, task.evaluation.ahead))
        self.check_loss(evaluated)
        if evaluated.metric > progress.best.accuracy:
            progress.best = Best(evaluated.metric, progress.epoch)
        row = {
            'epoch': progress.epoch, 'iteration': learner.iteration,
            'lr': task.schedule[LEARNING_RATE](learner.iteration - 1),
            'train_loss': trained.loss, 'train_' + learner.objective.metric_name: trained.metric,
            'val_loss': evaluated.loss, 'val_accuracy': evaluated.metric,
            **({} if evaluated.top5 is None else {'val_top5_accuracy': evaluated.top5}),
            'best_accuracy': progress.best.accuracy, 'images_per_second': round(speed, 1),
        }
        progress.history = [*progress.history, row]
        progress.epoch, progress.batch = progress.epoch + 1, 0
        learner.reset_metrics()
        return row

    def write(self) -> None:
        """Write the files of an epoch, the checkpoint last, so that it never refers to missing files."""
        arrays, numbers = self.learner.state()
        self.checkpoints.check_finite(arrays)  # also by `save`, but the parameter files come first
        with self.learner.mean_statistics(), self.checkpoints.writing():
            if self.is_writer:
                for tracker in self.trackers:
                    tracker.epoch(self.progress.history)
                self.write_parameters()
        self.save_checkpoint(arrays, numbers)

    def write_parameters(self) -> None:
        folder, kept = self.task.folder, self.task.kept
        learner, epoch = self.learner, self.progress.epoch
        if self.progress.best.epoch == epoch - 1:
            learner.save_parameters(os.path.join(folder, BEST))
        if kept.period and epoch % kept.period == 0:
            path = os.path.join(folder, kept.name(epoch))
            learner.save_parameters(path + '.params')
            if kept.with_states:
                write_params(path + '.states', learner.optimizer_states())
        learner.save_parameters(os.path.join(folder, LAST))

    def save_checkpoint(self, arrays: Arrays, numbers: LearnerNumbers) -> None:
        if self.is_writer:
            self.progress.save(self.task.folder, self.task.settings, arrays, numbers)


class _Clock:
    """Measures images per second since the last reading."""

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self.image_count = learner.image_count
        self.time = time.perf_counter()

    def images_per_second(self) -> float:
        images = self.learner.image_count
        now = time.perf_counter()
        speed = (images - self.image_count) * self.learner.process_group.size / max(now - self.time, 1e-9)
        self.image_count = images
        self.time = now
        return speed
