"""The training loop of both scripts: epochs, schedule, evaluation, checkpoints, signals.

Whatever stops a run, `train` with the same arguments goes on from the newest checkpoint, and ends
with the same parameters, metrics and history as if it had never stopped.
"""
import contextlib
import logging
import math
import os
import signal
import sys
import time
from typing import Callable, NamedTuple

from openatac.data.loader import prefetch
from openatac.errors import CheckpointError, OpenatacError
from openatac.models.parameters import save_parameters
from openatac.training.checkpoint import Checkpoints, check_finite, writing_in

log = logging.getLogger('openatac')


class Plan(NamedTuple):
    """What a run does.

    engine : openatac.training.engine.GluonEngine
    training : batches with ``epoch(epoch, start)`` and a length, such as TrainingBatches
    evaluation : an iterable of batches
    schedule : function from the iteration, from 0, to the learning rate
    epochs : int
    folder : str; where checkpoints and parameter files go
    settings : dict; what the result depends on. A checkpoint of other settings is refused
    log_interval : int; batches between two readings of the metrics
    save_period : int; parameters are kept every so many epochs, 0 for never
    """

    engine: object
    training: object
    evaluation: object
    schedule: Callable
    epochs: int
    folder: str
    settings: dict
    log_interval: int = 50
    save_period: int = 0


class Stopped(OpenatacError):
    """The run was asked to stop, and has written a checkpoint."""

    def __init__(self, signal_number):
        super().__init__('stopped by %s after a checkpoint: go on with --resume auto'
                         % signal.Signals(signal_number).name)
        self.exit_code = 128 + signal_number


class Progress:
    """Where a run stands."""

    def __init__(self):
        self.epoch = self.batch = 0
        self.history = []
        self.best = {'accuracy': -1.0, 'epoch': -1}

    def state(self):
        return {'epoch': self.epoch, 'batch': self.batch, 'history': self.history, 'best': self.best}

    def load_state(self, state):
        self.epoch, self.batch = state['epoch'], state['batch']
        self.history, self.best = state['history'], state['best']


def checkpoints_of(folder):
    """The checkpoints of the run in ``folder``."""
    return Checkpoints(os.path.join(folder, 'checkpoints'))


def resume(plan, progress):
    """Go back to the newest checkpoint of ``plan.folder``, if there is one; returns whether.

    Raises CheckpointError if it was made under other settings.
    """
    found = checkpoints_of(plan.folder).latest()
    if found is None:
        return False
    arrays, state = found
    _check_settings(state['settings'], plan.settings, plan.folder)
    plan.engine.load_state(arrays, state['engine'])
    progress.load_state(state['progress'])
    return True


def _check_settings(saved, now, folder):
    changed = ['%s was %r and is %r' % (key, saved.get(key), now.get(key))
               for key in sorted(set(saved) | set(now)) if saved.get(key) != now.get(key)]
    if changed:
        raise CheckpointError('the run in %s was made under other settings: %s; repeat them, or start '
                              'another run with another --save-dir' % (folder, ', '.join(changed)))


def train(plan, progress, trackers=()):
    """Run ``plan`` from ``progress`` to its end; returns the history, a row per epoch.

    Raises Stopped after SIGINT or SIGTERM, once a checkpoint is written, and OpenatacError when
    the loss is no longer finite or nothing can be written.
    """
    with _stop_signals() as stop:
        while progress.epoch < plan.epochs:
            started, first = time.perf_counter(), progress.batch
            _train_epoch(plan, progress, trackers, stop)
            train_seconds = time.perf_counter() - started
            row = _finish_epoch(plan, progress, train_seconds, len(plan.training) - first)
            _log_epoch(row, time.perf_counter() - started)
            _write(plan, progress, trackers)
            if stop.requested:
                raise Stopped(stop.requested)
    return progress.history


def _train_epoch(plan, progress, trackers, stop):
    engine, batches = plan.engine, len(plan.training)
    with contextlib.closing(prefetch(plan.training.epoch(progress.epoch, progress.batch))) as ahead:
        with _bar(batches, progress, plan.epochs) as bar:
            clock = _Clock(engine)
            for images, labels in ahead:
                rate = plan.schedule(engine.iteration)
                engine.train_batch(images, labels, rate)
                progress.batch += 1
                bar.update()
                if progress.batch % plan.log_interval == 0 or progress.batch == batches:
                    _report(plan, progress, trackers, rate, clock, bar)
                if stop.requested and progress.batch < batches:
                    _check_loss(engine.read_metrics(), progress)
                    _checkpoint(plan, progress)
                    raise Stopped(stop.requested)


def _report(plan, progress, trackers, rate, clock, bar):
    """Read the metrics so far, look whether they are finite, and show them."""
    metrics = plan.engine.read_metrics()
    _check_loss(metrics, progress)
    speed = clock.images_per_second()
    bar.set_postfix(loss='%.4f' % metrics.loss, accuracy='%.4f' % metrics.accuracy, refresh=False)
    if bar.disable:
        log.info('Epoch[%d] Batch [%d/%d]\tSpeed: %.1f samples/sec\taccuracy=%f\tloss=%f\tlr=%g',
                 progress.epoch, progress.batch, len(plan.training), speed, metrics.accuracy, metrics.loss,
                 rate)
    for tracker in trackers:
        tracker.interval(plan.engine.iteration, {'loss': metrics.loss, 'accuracy': metrics.accuracy,
                                                 'lr': rate, 'images_per_second': speed})


def _check_loss(metrics, progress):
    if not math.isfinite(metrics.loss):
        raise OpenatacError(
            'the loss became %s in epoch %d, by batch %d: the last checkpoint is kept; use a smaller --lr'
            % (metrics.loss, progress.epoch, progress.batch))


def _finish_epoch(plan, progress, seconds, batches):
    """Evaluate, add the epoch's row to the history, keep the parameters if they are the best."""
    engine = plan.engine
    training = engine.read_metrics()
    test = engine.evaluate(prefetch(plan.evaluation))
    _check_loss(test, progress)
    is_best = test.accuracy > progress.best['accuracy']
    if is_best:
        progress.best = {'accuracy': test.accuracy, 'epoch': progress.epoch}
    row = {
        'epoch': progress.epoch, 'iteration': engine.iteration, 'lr': plan.schedule(engine.iteration - 1),
        'train_loss': training.loss, 'train_accuracy': training.accuracy,
        'val_loss': test.loss, 'val_accuracy': test.accuracy, 'best_accuracy': progress.best['accuracy'],
        'images_per_second': round(batches * training.images / len(plan.training) / seconds, 1),
    }
    progress.history = progress.history + [row]
    progress.epoch, progress.batch = progress.epoch + 1, 0
    engine.reset_metrics()
    return row


def _log_epoch(row, seconds):
    log.info('[Epoch %d] train=%f val=%f loss=%f time: %f', row['epoch'], row['train_accuracy'],
             row['val_accuracy'], row['train_loss'], seconds)


def _write(plan, progress, trackers):
    """All that an epoch leaves. The checkpoint is last: what it says was done, was done."""
    check_finite(plan.engine.state()[0])
    with writing_in(plan.folder):
        for tracker in trackers:
            tracker.epoch(progress.history)
        if progress.best['epoch'] == progress.epoch - 1:
            save_parameters(plan.engine.net, os.path.join(plan.folder, 'best.params'))
        if plan.save_period and progress.epoch % plan.save_period == 0:
            save_parameters(plan.engine.net, os.path.join(plan.folder, 'epoch-%04d.params' % progress.epoch))
        save_parameters(plan.engine.net, os.path.join(plan.folder, 'last.params'))
    _checkpoint(plan, progress)


def _checkpoint(plan, progress):
    arrays, numbers = plan.engine.state()
    checkpoints_of(plan.folder).save(plan.engine.iteration, arrays, {
        'settings': plan.settings, 'engine': numbers, 'progress': progress.state()})


def _bar(batches, progress, epochs):
    from tqdm import tqdm
    return tqdm(total=batches, initial=progress.batch, desc='epoch %d/%d' % (progress.epoch + 1, epochs),
                unit='batch', leave=False, disable=not sys.stderr.isatty(), dynamic_ncols=True)


class _Clock:
    """Images per second since it was last asked."""

    def __init__(self, engine):
        self.engine = engine
        self.images, self.time = engine.images, time.perf_counter()

    def images_per_second(self):
        images, now = self.engine.images, time.perf_counter()
        speed = (images - self.images) / max(now - self.time, 1e-9)
        self.images, self.time = images, now
        return speed


class _Stop:
    requested = 0


@contextlib.contextmanager
def _stop_signals():
    """While open, the first SIGINT or SIGTERM only asks for a stop; a second one is obeyed at once."""
    stop = _Stop()

    def ask(number, frame):
        stop.requested = number
        log.info('%s: stopping after this batch with a checkpoint (again to stop at once)',
                 signal.Signals(number).name)
        signal.signal(number, before[number])

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
