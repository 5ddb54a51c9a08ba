"""The training loop of both scripts: epochs, schedule, evaluation, checkpoints, signals.

Whatever stops a run, `run_epochs` with the same arguments continues from the newest checkpoint, and ends with
the same parameters, metrics and history as if it had never stopped.
"""
from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable, NamedTuple

from openatac.backends.base import Arrays, Engine, Metrics
from openatac.backends.cluster import Cluster
from openatac.console.program import RUN_STOP_SIGNALS, STOP_SIGNALS, stop_signals
from openatac.data.batches import prefetch
from openatac.errors import CheckpointError, OpenatacError
from openatac.files.schema import validate
from openatac.models.params_file import write_params
from openatac.training.checkpoint import check_finite, checkpoints_of, writing_in
from openatac.training.run_folder import State
from openatac.training.tracking.log import on_terminal
from openatac.training.tracking.trackers import Tracker

log = logging.getLogger('openatac')
Row = dict[str, Any]  # of the history: the results of an epoch


class Plan(NamedTuple):
    """Everything that the loop needs to know about a run.

    Attributes
    ----------
    engine : the `Engine` that trains and evaluates
    training : has ``epoch(epoch, start)``, the batches from ``start`` on, ``batches(epoch)``, their total
      number, and ``ahead``, how many a thread may prepare in advance; such as TrainingBatches
    evaluation : an iterable of batches, with ``ahead`` as well
    schedule : function from the iteration, from 0, to the learning rate
    epochs : how many to train
    folder : where checkpoints and parameter files go
    settings : what the result depends on; a checkpoint with other settings is refused
    interval_line : function from an Interval to a line of the log, or ''
    epoch_lines : function from a row of the history and its seconds to lines of the log
    log_interval : batches between readings of the metrics, 0 for one per epoch
    save_period : the parameters are kept every ``save_period`` epochs, 0 for never
    save_name : function from an epoch to the name under which they are kept
    save_states : whether the optimizer's state is kept with them
    """

    engine: Engine
    training: Any
    evaluation: Any
    schedule: Callable[[int], float]
    epochs: int
    folder: str
    settings: dict[str, Any]
    interval_line: Callable[[Interval], str]
    epoch_lines: Callable[[Row, float], list[str]]
    log_interval: int = 50
    save_period: int = 0
    save_name: Callable[[int], str] = 'epoch-{:04d}'.format
    save_states: bool = False


class Interval(NamedTuple):
    """The training since the epoch began: ``batch`` of ``batches`` batches, at the current rate ``lr``.

    score : what the engine's objective measures, accuracy or, under mixup, the RMSE
    speed : images per second since the last report
    """

    epoch: int
    batch: int
    batches: int
    speed: float
    score: float
    loss: float
    lr: float


class Stopped(OpenatacError):
    """The run was asked to stop, and has written a checkpoint."""

    def __init__(self, signal_number: int):
        super().__init__(f'stopped by {signal.Signals(signal_number).name} after a checkpoint: continue with '
                         '--resume auto')
        self.exit_code = 128 + signal_number


@dataclass
class Progress:
    """The progress of a run.

    Attributes
    ----------
    epoch, batch : the next ones, from 0
    history : a row for each epoch that is done
    best : the highest test accuracy, and its epoch
    disturbed : whether other processes were seen to slow it down
    """

    epoch: int = 0
    batch: int = 0
    history: list[Row] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=lambda: {'accuracy': -1.0, 'epoch': -1})
    disturbed: bool = False

    def state(self) -> dict[str, Any]:
        """Return the values that `load_state` restores."""
        return dict(vars(self))

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned; older checkpoints lack ``disturbed``."""
        vars(self).update({name: state[name] for name in vars(self) if name in state})


def resume(plan: Plan, progress: Progress) -> bool:
    """Restore the newest checkpoint of ``plan.folder``, if there is one; return whether there was.

    Raises CheckpointError if it was made under other settings.
    """
    found = checkpoints_of(plan.folder).latest()
    if found is None:
        return False
    arrays, state = found
    try:
        state = validate(state, State)
        _check_settings(state['settings'], plan.settings, plan.folder)
        plan.engine.load_state(arrays, state['engine'])
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f'the newest checkpoint in {plan.folder} is not of this run ({error}): start '
                              'another run with another --save-dir') from None
    progress.load_state(state['progress'])
    return True


def _check_settings(saved: dict[str, Any], now: dict[str, Any], folder: str) -> None:
    changed = [f'{key} was {saved.get(key)!r} and is {now.get(key)!r}'
               for key in sorted(set(saved) | set(now)) if saved.get(key) != now.get(key)]
    if changed:
        raise CheckpointError(f'the run in {folder} has other settings: {", ".join(changed)}; repeat them, '
                              'or start another run with another --save-dir')


def run_epochs(plan: Plan, progress: Progress, trackers: Sequence[Tracker] = ()) -> list[Row]:
    """Run ``plan`` from ``progress`` to its end; return the history, a row per epoch.

    Of several processes, rank 0 writes. Raises Stopped after a signal of `RUN_STOP_SIGNALS`, once a
    checkpoint is written, and OpenatacError when the loss is no longer finite or nothing can be written.
    """
    with _stop_signals(plan.engine.cluster) as stop:
        _Loop(plan, progress, trackers, stop).run()
    return progress.history


class _Loop:
    """The loop over a run's epochs; the parameters are those of `run_epochs`."""

    def __init__(self, plan: Plan, progress: Progress, trackers: Sequence[Tracker], stop: _Stop):
        self.plan, self.engine, self.progress, self.trackers = plan, plan.engine, progress, trackers
        self.stop, self.checkpoints = stop, checkpoints_of(plan.folder)
        self.writes = self.engine.cluster.rank == 0

    def run(self) -> None:
        while self.progress.epoch < self.plan.epochs:
            started, images = time.perf_counter(), self.engine.images
            self.train_epoch()
            images = (self.engine.images - images) * self.engine.cluster.size
            row = self.finish_epoch(images / (time.perf_counter() - started))
            for line in self.plan.epoch_lines(row, time.perf_counter() - started):
                log.info('%s', line)
            self.write()
            if self.stop.requested():
                raise Stopped(self.stop.signal)

    def train_epoch(self) -> None:
        plan, engine, progress = self.plan, self.engine, self.progress
        batches = plan.training.batches(progress.epoch)
        with contextlib.closing(prefetch(plan.training.epoch(progress.epoch, progress.batch),
                                         plan.training.ahead)) as ahead, self.bar(batches) as bar:
            clock = _Clock(engine)
            for images, labels in ahead:
                rate = plan.schedule(engine.iteration)
                engine.train_batch(images, labels, rate)
                progress.batch += 1
                bar.update()
                is_last = progress.batch == batches
                if is_last or (plan.log_interval and progress.batch % plan.log_interval == 0):
                    self.report(rate, clock, bar)
                if not is_last and self.stop.requested(midway=True):
                    self.check_loss(engine.read_metrics())
                    self.save_checkpoint(*engine.state())
                    raise Stopped(self.stop.signal)

    def bar(self, batches: int) -> Any:
        """Return the progress bar of an epoch of ``batches`` batches."""
        from tqdm import tqdm
        return tqdm(total=batches, initial=self.progress.batch, leave=False, unit='batch', dynamic_ncols=True,
                    desc=f'epoch {self.progress.epoch + 1}/{self.plan.epochs}',
                    disable=not self.writes or not on_terminal())

    def report(self, rate: float, clock: _Clock, bar: Any) -> None:
        """Read the metrics so far, check that they are finite, and show them."""
        metrics, measure = self.engine.read_metrics(), self.engine.objective.metric
        self.check_loss(metrics)
        progress, speed = self.progress, clock.images_per_second()
        interval = Interval(progress.epoch, progress.batch, self.plan.training.batches(progress.epoch), speed,
                            metrics.score, metrics.loss, rate)
        bar.set_postfix({'loss': f'{metrics.loss:.4f}', measure: f'{metrics.score:.4f}'}, refresh=False)
        line = self.plan.interval_line(interval)
        if line:
            log.info('%s', line, extra={'on_bar': not bar.disable})
        for tracker in self.trackers:
            tracker.interval(self.engine.iteration, {
                'loss': metrics.loss, measure: metrics.score, 'lr': rate, 'images_per_second': speed})

    def check_loss(self, metrics: Metrics) -> None:
        if not math.isfinite(metrics.loss):
            raise OpenatacError(
                f'the loss became {metrics.loss} in epoch {self.progress.epoch}, by batch '
                f'{self.progress.batch}: {self.checkpoints.kept}; use a smaller --lr')

    def finish_epoch(self, speed: float) -> Row:
        """Evaluate, add the epoch's row to the history, and note whether it is the best."""
        plan, engine, progress = self.plan, self.engine, self.progress
        training = engine.read_all_metrics()
        test = engine.evaluate(prefetch(plan.evaluation, plan.evaluation.ahead))
        self.check_loss(test)
        if test.score > progress.best['accuracy']:
            progress.best = {'accuracy': test.score, 'epoch': progress.epoch}
        row = {
            'epoch': progress.epoch, 'iteration': engine.iteration,
            'lr': plan.schedule(engine.iteration - 1),
            'train_loss': training.loss, 'train_' + engine.objective.metric: training.score,
            'val_loss': test.loss, 'val_accuracy': test.score,
            **({} if test.top5 is None else {'val_top5_accuracy': test.top5}),
            'best_accuracy': progress.best['accuracy'], 'images_per_second': round(speed, 1),
        }
        progress.history = [*progress.history, row]
        progress.epoch, progress.batch = progress.epoch + 1, 0
        engine.reset_metrics()
        return row

    def write(self) -> None:
        """Write the files of an epoch, the checkpoint last: everything that it records has then been done."""
        arrays, numbers = self.engine.state()
        check_finite(arrays, self.checkpoints)
        with self.engine.mean_statistics(), writing_in(self.plan.folder):
            if self.writes:
                for tracker in self.trackers:
                    tracker.epoch(self.progress.history)
                self.write_parameters()
        self.save_checkpoint(arrays, numbers)

    def write_parameters(self) -> None:
        plan, engine, epoch = self.plan, self.engine, self.progress.epoch
        if self.progress.best['epoch'] == epoch - 1:
            engine.save_parameters(os.path.join(plan.folder, 'best.params'))
        if plan.save_period and epoch % plan.save_period == 0:
            path = os.path.join(plan.folder, plan.save_name(epoch))
            engine.save_parameters(path + '.params')
            if plan.save_states:
                write_params(path + '.states', engine.optimizer_states())
        engine.save_parameters(os.path.join(plan.folder, 'last.params'))

    def save_checkpoint(self, arrays: Arrays, numbers: dict[str, Any]) -> None:
        if self.writes:
            self.checkpoints.save(self.engine.iteration, arrays, {
                'settings': self.plan.settings, 'engine': numbers, 'progress': self.progress.state()})


class _Clock:
    """Images per second since it was last asked."""

    def __init__(self, engine: Engine):
        self.engine = engine
        self.images, self.time = engine.images, time.perf_counter()

    def images_per_second(self) -> float:
        images, now = self.engine.images, time.perf_counter()
        speed = (images - self.images) * self.engine.cluster.size / max(now - self.time, 1e-9)
        self.images, self.time = images, now
        return speed


class _Stop:
    """Whether to stop, as a signal asked any of the processes that train together.

    asked : the signal received here, or 0; only its handler sets it: it may arrive while the processes agree
    signal : the one that all have agreed on, or 0
    """

    def __init__(self, cluster: Cluster):
        self.cluster, self.asked, self.signal = cluster, 0, 0

    def requested(self, midway: bool = False) -> bool:
        """Return whether to stop; all processes must ask at the same points, to stop after the same batch.

        midway: within an epoch, where processes that train asynchronously have no common point
        """
        if midway and self.cluster.is_asynchronous:
            return False
        self.signal = max(self.cluster.gather(max(self.asked, self.cluster.stop_signal), 'a step'))
        return bool(self.signal)


@contextlib.contextmanager
def _stop_signals(cluster: Cluster) -> Iterator[_Stop]:
    """Have the first signal only ask for a stop while open; a second SIGINT or SIGTERM stops at once."""
    stop = _Stop(cluster)

    def ask(number: int, frame: Any) -> None:
        stop.asked = number
        again = ' (again to stop at once)' if number in STOP_SIGNALS else ''
        log.info('%s: stopping after this batch with a checkpoint%s', signal.Signals(number).name, again)
        if again:  # a lost terminal may send SIGHUP twice
            signal.signal(number, before[number])

    with stop_signals(ask, RUN_STOP_SIGNALS) as before:
        yield stop
