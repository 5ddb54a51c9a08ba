"""The ImageNet run: from a config to a trained network in a folder."""
from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Sequence
from typing import Any, Callable

from openatac.backends.base import Backend, Engine, Metrics, Teacher, open_backend
from openatac.backends.cluster import Cluster
from openatac.data.batches import prefetch
from openatac.data.photos.batches import EvaluationPhotos, TrainingPhotos, first_iteration
from openatac.data.photos.class_names import check_case, read_class_list
from openatac.data.photos.folder import ImageFolder, class_folders
from openatac.data.photos.listed import TINY_IMAGENET, ImageList
from openatac.data.photos.records import RecordFile, index_beside, read_class_names
from openatac.errors import DataError, DeviceError, ParameterFileError
from openatac.models.params_file import read_params
from openatac.training import loop, session
from openatac.training.config import ImagenetConfig, result_settings
from openatac.training.schedule import warmup_schedule
from openatac.training.sections.imagenet import ImagenetData, ImagenetTraining

log = logging.getLogger('openatac')
SMOOTHING = 0.1  # the published script's


# ----------------------------------------------------------------------------- devices, data

def _open_backend(net: Any, config: ImagenetConfig, command: str) -> Backend:
    """Call `open_backend`; DeviceError in one sentence if the devices can't do what is asked."""
    side, training = config.data.input_size, config.training
    try:
        return open_backend(net, config.compute, (3, side, side), training.seed, training.gpus,
                            fall_back=False)
    except DeviceError as error:
        raise DeviceError(f'{error}; on a CPU (slow: some images a second) the command is: '
                          f'{cpu_command(command)}') from None


def cpu_command(command: str) -> str:
    """Return the command without its GPUs and float16."""
    words, kept = shlex.split(command), []
    while words:
        word = words.pop(0)
        if word.split('=')[0] in ('--num-gpus', '--dtype', '--loss-scale'):
            if '=' not in word and words:
                words.pop(0)
        elif word != '--syncbn':
            kept.append(word)
    python = 'python ' if kept[0].endswith('.py') else ''
    return f'{python}{shlex.join(kept)} --num-gpus 0 --dtype float32'


def open_source(data: ImagenetData, split: str, classes: int | None) -> Any:
    """Open the photographs of 'train' or 'val'; DataError if they are missing."""
    if data.use_rec:
        rec, index = _record_file(data, split), getattr(data, f'rec_{split}_idx')
        return RecordFile(rec, index_beside(rec) if index is None else os.path.expanduser(index), classes)
    folder, labels = _folder(data, split), _label_list(data, split)
    names = read_class_list(os.path.expanduser(data.class_list)) if data.class_list else None
    if not labels:
        return ImageFolder(folder, classes, names)
    if names is None and data.train_labels is None:  # the training images have a folder for each class
        names = class_folders(_folder(data, 'train'))
    return ImageList(folder, labels, classes, names)


def _record_file(data: ImagenetData, split: str) -> str:
    return os.path.expanduser(getattr(data, 'rec_' + split))


def _folder(data: ImagenetData, split: str) -> str:
    return os.path.join(os.path.expanduser(data.data_dir), split)


def _label_list(data: ImagenetData, split: str) -> str | None:
    """Return the list of the images' labels; None if they are in class folders."""
    given = getattr(data, split + '_labels')
    if given is not None:
        return os.path.expanduser(given)
    found = os.path.join(_folder(data, split), TINY_IMAGENET)
    return found if os.path.isfile(found) else None


def count_classes(data: ImagenetData, split: str) -> int | None:
    """Return how many classes the images of 'train' or 'val' have; None if their files do not say it.

    Their images are not looked for, which takes long for ImageNet and is done when they are needed.
    """
    names: Sequence[str] | None
    try:
        if data.use_rec:
            names = read_class_names(_record_file(data, split), None)
        elif _label_list(data, split):
            names = open_source(data, split, None).class_names
        else:
            names = class_folders(_folder(data, split))
    except DataError:  # is raised again when the images are needed, after what else may be wrong
        return None
    return len(names) if names else None


def _open_both(config: ImagenetConfig) -> tuple[Any, Any]:
    training, validation = [open_source(config.data, split, config.network.classes)
                            for split in ('train', 'val')]
    classes = training.class_names, validation.class_names
    check_case(classes[0] or (), classes[1] or (), 'the training set', 'the validation set')
    if all(classes) and tuple(classes[0]) != tuple(classes[1]):
        one, other = next(pair for pair in zip(*classes) if pair[0] != pair[1])
        raise DataError(f'the training and the validation set have different classes, such as {one!r} and '
                        f'{other!r}: make them the same, or give their order by --class-list')
    return training, validation


# --------------------------------------------------------------------------------- evaluation

def evaluate(net: Any, config: ImagenetConfig, command: str) -> Metrics:
    """Log the errors of the parameters in ``config.start.evaluate`` on the validation set."""
    data, path = config.data, config.start.evaluate
    assert path is not None
    backend = _open_backend(net, config, command)
    backend.load(path)
    engine = backend.engine(config.training.optimizer, {}, top5=True)
    batches = EvaluationPhotos(
        open_source(data, 'val', config.network.classes), data.input_size,
        config.training.batch_size * backend.device_count, data.centre, data.num_workers,
        max_bad_share=data.max_bad_share)
    metrics = engine.evaluate(prefetch(batches))
    assert metrics.top5 is not None
    log.info('%s: err-top1=%f err-top5=%f loss=%f on %d images', path, 1 - metrics.score,
             1 - metrics.top5, metrics.loss, metrics.images)
    return metrics


# ----------------------------------------------------------------------------------- training

def run(net: Any, name: str, config: ImagenetConfig, cluster: Cluster, command: str
        ) -> dict[str, Any] | None:
    """Train the network called ``name`` in the run's folder; return the summary, or None for a dry run.

    net : as `openatac.backends.base.open_backend` takes it
    cluster : the processes that train together
    """
    data, training, output = config.data, config.training, config.output
    with session.open_run(config, command, output.logging_file, '%(message)s', cluster.rank):
        backend = _open_backend(net, config, command)
        sources = _open_both(config)
        log.info('%d training and %d validation images', *map(len, sources))
        batch_size = training.batch_size * backend.device_count * cluster.size
        part: dict[str, Any] = {'num_parts': cluster.size, 'part_index': cluster.rank,
                                'max_bad_share': data.max_bad_share}
        batches = TrainingPhotos(sources[0], data.input_size, batch_size, training.seed, data.num_workers,
                                 **part)
        validation = EvaluationPhotos(sources[1], data.input_size, batch_size, data.centre, data.num_workers,
                                      **part)
        starts = [first_iteration(epoch, len(sources[0]), batch_size)
                  for epoch in range(training.num_epochs + 1)]
        engine = _engine(backend, config, cluster, starts)
        schedule = _schedule(training, len(sources[0]) // batch_size, starts[-1])
        settings = result_settings(config, engine.devices,
                                   '+'.join(source.fingerprint() for source in sources))
        settings['kvstore'] = training.kvstore if cluster.size > 1 else 'device'
        plan = loop.Plan(
            engine, batches, validation, schedule, training.num_epochs, output.save_dir,
            settings, _interval_line(training.mixup, output.log_interval),
            epoch_lines, output.log_interval, output.save_frequency,
            lambda epoch: f'imagenet-{name}-{epoch - 1}', save_states=True)
        progress = _begin(config, engine, starts)
        if cluster.size > 1:
            cluster.check_alike({**settings, 'initial_values': engine.checksum()})
        return session.run(plan, progress, config, command, f'{name} on ImageNet', {
            'model': name, 'dataset': 'imagenet', 'training_images': len(sources[0]),
            'test_images': len(sources[1])})


def _schedule(training: ImagenetTraining, iterations_per_epoch: int, iterations: int
              ) -> Callable[[int], float]:
    """Return the published schedule for images // batch iterations per epoch; some epochs have one more."""
    scheduled = training.num_epochs * iterations_per_epoch
    if iterations > 1.01 * scheduled:
        log.info('the schedule ends after %d of %d iterations, as the published one does; the last rate is '
                 'kept from then on', scheduled, iterations)
    return warmup_schedule(training.lr_mode, training.lr, training.num_epochs, iterations_per_epoch,
                           training.warmup_epochs, training.warmup_lr, training.decay_epochs,
                           training.lr_decay)


def _engine(backend: Backend, config: ImagenetConfig, cluster: Cluster, starts: list[int]) -> Engine:
    training, classes = config.training, config.network.classes
    teacher = None
    if training.teacher and training.hard_weight < 1:
        teacher = backend.load_teacher(Teacher(training.teacher, training.teacher_params, classes))
    objective = {
        'classes': classes, 'smoothing': SMOOTHING if training.label_smoothing else 0.0,
        'mixup': training.mixup_alpha if training.mixup else 0.0,
        'mixup_iterations': starts[training.num_epochs - training.mixup_off_epoch],
        'teacher': teacher, 'temperature': training.temperature, 'hard_weight': training.hard_weight}
    backend.initialize(config.start.params)
    return backend.engine(training.optimizer, objective, training.no_wd, top5=True, cluster=cluster)


def _begin(config: ImagenetConfig, engine: Engine, starts: list[int]) -> loop.Progress:
    """Begin at --resume-epoch, with the optimizer states of --resume-states."""
    progress, states = loop.Progress(), config.start.resume_states
    progress.epoch = config.start.resume_epoch
    engine.iteration = starts[progress.epoch]
    if states:
        if not os.path.isfile(states):
            raise ParameterFileError(f'--resume-states: there is no file {states}')
        try:
            engine.load_optimizer_states(read_params(states))
        except (KeyError, ValueError, ParameterFileError):
            raise ParameterFileError(
                f'{states} holds no optimizer states of this network: --resume-states takes the .states '
                "files that this script writes (not those of the authors' script, which are pickles)"
            ) from None
    return progress


# ---------------------------------------------------------------------------- the published log

def _interval_line(mixup: bool, log_interval: int) -> Callable[[loop.Interval], str]:
    """Return the published line within an epoch: only after whole intervals, counting batches from 0."""
    metric = 'rmse' if mixup else 'accuracy'

    def line(interval: loop.Interval) -> str:
        if not log_interval or interval.batch % log_interval:
            return ''
        return (f'Epoch[{interval.epoch}] Batch [{interval.batch - 1}]\t'
                f'Speed: {interval.speed:f} samples/sec\t{metric}={interval.score:f}\tlr={interval.lr:f}')

    return line


def epoch_lines(row: dict[str, Any], seconds: float) -> list[str]:
    """Return the published lines for an epoch."""
    metric, epoch = 'rmse' if 'train_rmse' in row else 'accuracy', row['epoch']
    return [f'[Epoch {epoch}] training: {metric}={row["train_" + metric]:f}',
            f'[Epoch {epoch}] speed: {int(row["images_per_second"])} samples/sec\ttime cost: {seconds:f}',
            f'[Epoch {epoch}] validation: err-top1={1 - row["val_accuracy"]:f} '
            f'err-top5={1 - row["val_top5_accuracy"]:f}']
