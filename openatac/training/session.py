"""A run in its folder, the same for both scripts: log, lock, settings, resuming, trackers, summary."""
import argparse
import contextlib
import json
import logging
import os
import platform
import statistics

import numpy as np

from openatac.errors import CheckpointError, OpenatacError
from openatac.files.schema import read_json
from openatac.files.writing import write_text
from openatac.training import loop, tracking
from openatac.training.checkpoint import checkpoints_of, only_run_in, writing_in
from openatac.training.contention import ContentionWatch
from openatac.training.run_files import Settings
from openatac.version import __version__

log = logging.getLogger('openatac')
TORCH_FLAGS = ('engine', 'tf32', 'compile')  # that choose the result of a run with --engine torch


def result_settings(args, flags, engine, data):
    """{name: value} of what a run's result depends on; ``data``: a text that stands for its data sets."""
    flags += TORCH_FLAGS if args.engine == 'torch' else ()
    return dict({flag: getattr(args, flag) for flag in flags}, devices=engine.devices, data=data)


def read_settings(folder):
    """The flags of the run in ``folder``, as argparse gave them; OpenatacError if that is no run's folder."""
    try:
        return argparse.Namespace(**read_json(os.path.join(folder, 'settings.json'), Settings))
    except (OSError, ValueError) as error:
        raise OpenatacError('%s is not the folder of a run (settings.json: %s): name one that train_cifar.py '
                            'or train_imagenet.py has trained in'
                            % (folder, getattr(error, 'strerror', None) or error)) from None


def data_family(run: argparse.Namespace) -> str:
    """The family of a run's images, as `openatac.models.hosts.Host` calls it."""
    return 'cifar' if hasattr(run, 'blocks') else 'imagenet'


@contextlib.contextmanager
def reading_network(folder, file='settings.json'):
    """While open, a network is built of the settings in that file; those that make none are a sentence."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise OpenatacError('%s does not tell a network (%s): it was changed, or is of another version of '
                            'openatac' % (os.path.join(folder, file), error)) from None


@contextlib.contextmanager
def open_run(args, command, log_file=None, log_form=tracking.FORM, rank=0):
    """Hold ``args.save_dir`` for this run, and begin its log; other ranks than 0 leave both alone.

    Raises CheckpointError if the folder has another run, or one to go on with and ``args.resume`` is
    'never', or can't be written.
    """
    if rank > 0:
        log.setLevel(logging.WARNING)
        yield
        return
    with only_run_in(args.save_dir):
        with _named('--logging-file' if log_file else '--save-dir'):
            tracking.log_to(log_file or os.path.join(args.save_dir, 'train.log'), log_form)
        if args.save_plot_dir:
            with _named('--save-plot-dir'):
                os.makedirs(args.save_plot_dir, exist_ok=True)
        log.info('%s', command)
        if args.resume == 'never' and checkpoints_of(args.save_dir).names():
            raise CheckpointError('%s holds a run already: go on with it by --resume auto, or choose another '
                                  '--save-dir' % args.save_dir)
        yield


@contextlib.contextmanager
def _named(flag):
    """Say of which flag it is what cannot be written."""
    try:
        yield
    except OSError as error:
        raise OpenatacError('%s: %s cannot be written (%s); choose another'
                            % (flag, error.filename, error.strerror)) from None


def train(plan, progress, args, command, title, about):
    """Run ``plan`` to its end, from the newest checkpoint if ``args.resume`` is 'auto'.

    title: of the picture; about: {name: value} that the summary tells of the run. Returns the summary.
    """
    if args.resume == 'auto' and loop.resume(plan, progress):
        log.info('going on after epoch %d, batch %d', progress.epoch, progress.batch)
    check_same_start(plan.engine, progress)
    trackers = []
    if plan.engine.cluster.rank == 0:
        with writing_in(args.save_dir):
            write_text(os.path.join(args.save_dir, 'settings.json'),
                       json.dumps(dict(vars(args), command=command), indent=1, sort_keys=True) + '\n')
            trackers = _trackers(args, title, plan.engine, progress)
    history = loop.train(plan, progress, trackers)
    summary = _summary(args, command, plan, history, progress, about)
    with writing_in(args.save_dir):
        for tracker in trackers:
            tracker.finish(history, summary)
    log.info('best accuracy %.4f (epoch %d), last %.4f', summary['best_accuracy'], summary['best_epoch'],
             summary['last_accuracy'])
    return summary


def check_same_start(engine, progress):
    """Raise CheckpointError if the processes that train together would begin at different places."""
    if engine.cluster.size == 1:
        return
    places = engine.cluster.gather([progress.epoch, progress.batch, engine.checksum()], 'the beginning')
    if any(place != places[0] for place in places):
        raise CheckpointError(
            'the workers would not begin alike (at epoch and batch %s): --save-dir must be one folder that '
            'all machines share' % ', '.join('%d and %d' % tuple(place[:2]) for place in places))


def _trackers(args, title, engine, progress):
    trackers = [tracking.MetricsFiles(args.save_dir),
                tracking.HistoryPicture(args.save_plot_dir or args.save_dir, title)]
    if args.tensorboard:
        trackers.append(tracking.TensorBoard(args.tensorboard, engine.iteration))
    if args.project:
        trackers.append(tracking.WeightsAndBiases(args.project, args.name, args.save_dir, vars(args)))
    # On a GPU others hardly matter, and of several processes one can't tell its own run's from others.
    if engine.cluster.size == 1 and not engine.devices.endswith('gpu'):
        trackers.append(ContentionWatch(progress))
    return trackers


def _summary(args, command, plan, history, progress, about):
    best = progress.best
    return {
        'command': command, **about, 'seed': args.seed, 'device': plan.engine.devices,
        'threads': os.environ.get('OMP_NUM_THREADS', ''), 'epochs': len(history),
        'best_accuracy': best['accuracy'], 'best_epoch': best['epoch'],
        'last_accuracy': history[-1]['val_accuracy'],
        'images_per_second': statistics.median(row['images_per_second'] for row in history),
        'disturbed': progress.disturbed,
        'settings': plan.settings,
        'versions': {'openatac': __version__, **plan.engine.versions, 'numpy': np.__version__,
                     'python': platform.python_version()},
    }
