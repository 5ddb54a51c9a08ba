"""The ImageNet run: from a config to a trained network in a folder."""
from __future__ import annotations

import functools
import logging
import os
import shlex
from typing import Any, Callable

from openatac.backends.base import Backend, Teacher
from openatac.backends.cluster import Cluster, SingleProcess
from openatac.backends.learner import Learner, Metrics
from openatac.data.images.source import ImageSource
from openatac.data.photos.batches import EvaluationPhotoBatches, TrainingPhotoBatches, first_iteration
from openatac.data.prefetch import prefetch
from openatac.errors import DeviceError, ParameterFileError
from openatac.training import loop
from openatac.training.checkpoints.progress import Progress
from openatac.training.config import ImagenetConfig, result_settings
from openatac.training.datasets.photos import first_readable, open_both_splits, open_photos
from openatac.training.datasets.splits import divide
from openatac.training.runs import session
from openatac.training.runs.evaluation import evaluate_with_report
from openatac.training.runs.next_steps import print_next_steps
from openatac.training.runs.published_log import ImagenetLog
from openatac.training.schedule import warmup_schedule
from openatac.training.sections.imagenet import SMOOTHING, ImagenetTraining
from openatac.zoo.weights.params_file import read_params
from openatac.zoo.weights.pretrained import resolve_weights

log = logging.getLogger('openatac')


def _open_backend(net: Any, config: ImagenetConfig, command: str, cluster: Cluster | None = None) -> Backend:
    """Open the backend; a DeviceError also gives the equivalent command for a CPU."""
    try:
        return session.backend_of(config, net, cluster)
    except DeviceError as error:
        raise DeviceError(f'{error}; on a CPU (slow: a few images per second) the command is: '
                          f'{cpu_command(command)}') from None


def cpu_command(command: str) -> str:
    """Return the command, changed to run on the CPU in float32."""
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


# --------------------------------------------------------------------------------- evaluation

def evaluate(net: Any, config: ImagenetConfig, command: str) -> int:
    """Log the errors of the parameters in ``config.start.evaluate`` on the validation set.

    Returns
    -------
    int
        How many photographs could not be read, and were left out.
    """
    assert config.start.evaluate is not None
    path = resolve_weights(config.start.evaluate)
    backend = _open_backend(net, config, command)
    backend.load(path)
    learner = backend.learner(config.training.optimizer, {}, top5=True)
    source = open_photos(config.data, 'val', config.network.classes)

    def line(metrics: Metrics) -> str:
        assert metrics.top5 is not None
        return (f'{path}: err-top1={1 - metrics.score:f} err-top5={1 - metrics.top5:f} '
                f'loss={metrics.loss:f} on {metrics.images} images')

    batches = _evaluation(backend, config, source, SingleProcess())
    evaluate_with_report(learner, batches, config.output, source.class_names or (), line)
    return batches.bad.count


def _test(backend: Backend, config: ImagenetConfig, source: ImageSource, cluster: Cluster, path: str
          ) -> Metrics:
    """Evaluate the parameters in ``path`` on photographs."""
    backend.load(path)
    learner = backend.learner(config.training.optimizer, {}, top5=True)
    return learner.evaluate(prefetch(_evaluation(backend, config, source, cluster)))


def _evaluation(backend: Backend, config: ImagenetConfig, source: ImageSource, cluster: Cluster
                ) -> EvaluationPhotoBatches:
    data, batch_size = config.data, config.training.batch_size * backend.device_count * cluster.size
    return EvaluationPhotoBatches(source, data.input_size, batch_size, data.centre, data.num_workers,
                                  cluster.size, cluster.rank, data.max_bad_share)


# ----------------------------------------------------------------------------------- training

def train_network(net: Any, name: str, config: ImagenetConfig, cluster: Cluster,
                  command: str) -> dict[str, Any] | None:
    """Train the network ``net``, called ``name``, in the run's folder.

    Parameters
    ----------
    net : HybridBlock or str
        As `openatac.backends.base.open_backend` takes it.
    name : str
    config : ImagenetConfig
    cluster : Cluster
        The processes that train together.
    command : str
        The command line.

    Returns
    -------
    dict or None
        The summary; None for a dry run.
    """
    data, training, output = config.data, config.training, config.output
    with session.reserve_run_folder(config, command, output.logging_file, '%(message)s', cluster.rank):
        backend = _open_backend(net, config, command, cluster)
        sources = open_both_splits(data, config.network.classes)
        log.info('%d training and %d validation images', *map(len, sources))
        sets = divide(*sources, training)
        batch_size = training.batch_size * backend.device_count * cluster.size
        batches = TrainingPhotoBatches(
            sets.training, data.input_size, batch_size, training.seed, data.num_workers, cluster.size,
            cluster.rank, max_bad_share=data.max_bad_share)
        validation = _evaluation(backend, config, sets.evaluation, cluster)
        images = len(sets.training)
        start_of = functools.partial(first_iteration, images=images, batch_size=batch_size)
        learner = _learner(backend, net, config, cluster, _mixup_end(start_of, training))
        schedule_of = functools.partial(_schedule, images // batch_size, start_of)
        _say_if_schedule_is_short(images // batch_size * training.num_epochs, start_of(training.num_epochs))
        settings = result_settings(config, learner.devices,
                                   '+'.join(source.fingerprint() for source in sources))
        settings['kvstore'] = training.kvstore if cluster.size > 1 else 'device'
        test = functools.partial(_test, backend, config, sets.test, cluster) if sets.are_held_out else None
        plan = loop.RunPlan(
            learner=learner, training=batches, evaluation=validation, test=test,
            schedule=schedule_of(training), epochs=training.num_epochs, folder=output.save_dir,
            settings=settings, lines=ImagenetLog(output.log_interval, learner.objective.metric),
            kept=loop.KeptEpochs(output.save_frequency, lambda epoch: f'imagenet-{name}-{epoch - 1}',
                                 with_states=True))
        progress = _begin(config, learner, start_of)
        if cluster.size > 1:
            cluster.check_alike({**settings, 'initial_values': learner.checksum()})
        summary = session.run_plan(plan, schedule_of, progress, config, command, f'{name} on ImageNet', {
            'model': name, 'dataset': 'imagenet', **sets.counts()})
        if summary and cluster.rank == 0:
            print_next_steps(config, first_readable(sets.test))
        return summary


def _schedule(iterations_per_epoch: int, start_of: Callable[[int], int], training: ImagenetTraining
              ) -> loop.Schedule:
    """Return the published schedule, with images // batch iterations per epoch; some epochs have one more."""
    rate = warmup_schedule(training.lr_mode, training.lr, training.num_epochs, iterations_per_epoch,
                           training.warmup_epochs, training.warmup_lr, training.decay_epochs,
                           training.lr_decay)
    end = _mixup_end(start_of, training)
    return {loop.RATE: rate, 'mixup': lambda iteration: training.mixup and iteration < end}


def _mixup_end(start_of: Callable[[int], int], training: ImagenetTraining) -> int:
    """Return the iteration at which mixup ends."""
    return start_of(training.num_epochs - training.mixup_off_epoch)


def _say_if_schedule_is_short(scheduled: int, iterations: int) -> None:
    if iterations > 1.01 * scheduled:
        log.info('the schedule ends after %d of %d iterations, as the published one does; the last rate is '
                 'kept from then on', scheduled, iterations)


def _learner(backend: Backend, net: Any, config: ImagenetConfig, cluster: Cluster, mixup_end: int) -> Learner:
    training, classes = config.training, config.network.classes
    teacher = None
    if training.teacher and training.hard_weight < 1:
        teacher = backend.load_teacher(Teacher(training.teacher, training.teacher_params, classes))
    objective = {
        'classes': classes, 'smoothing': SMOOTHING if training.label_smoothing else 0.0,
        'mixup': training.mixup_alpha if training.mixup else 0.0,
        'mixup_iterations': mixup_end,
        'teacher': teacher, 'temperature': training.temperature, 'hard_weight': training.hard_weight}
    session.initialize(backend, net, config)
    return backend.learner(training.optimizer, objective, training.no_wd, top5=True)


def _begin(config: ImagenetConfig, learner: Learner, start_of: Callable[[int], int]) -> Progress:
    """Return the progress at --resume-epoch, with the optimizer states of --resume-states in the learner."""
    progress, states = Progress(), config.start.resume_states
    progress.epoch = config.start.resume_epoch
    learner.iteration = start_of(progress.epoch)
    if states:
        if not os.path.isfile(states):
            raise ParameterFileError(f'--resume-states: there is no file {states}')
        try:
            learner.load_optimizer_states(read_params(states))
        except (KeyError, ValueError, ParameterFileError):
            raise ParameterFileError(
                f'{states} holds no optimizer states of this network: --resume-states takes the .states '
                "files that this script writes (not those of the authors' script, which are pickles)"
            ) from None
    return progress
