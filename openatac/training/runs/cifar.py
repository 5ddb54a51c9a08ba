"""The CIFAR run: from a config to a trained network in a folder."""
from __future__ import annotations

import functools
import logging
import os
from typing import Any

import numpy as np

from openatac.backends.base import Backend
from openatac.backends.cluster import Cluster
from openatac.backends.learner import Metrics, checksum
from openatac.data.prefetch import prefetch
from openatac.data.small.image_set import ImageSet
from openatac.training import loop
from openatac.training.checkpoints.progress import Progress
from openatac.training.config import CifarConfig, result_settings
from openatac.training.datasets.small import BackgroundReader
from openatac.training.datasets.splits import divide
from openatac.training.runs import session
from openatac.training.runs.evaluation import evaluate_with_report
from openatac.training.runs.next_steps import print_next_steps
from openatac.training.runs.published_log import CifarLog
from openatac.training.schedule import step_schedule
from openatac.training.sections.cifar import CifarData, CifarTraining
from openatac.zoo.weights.pretrained import resolve_weights

log = logging.getLogger('openatac')


def evaluate(net: Any, config: CifarConfig, reader: BackgroundReader) -> int:
    """Log the accuracy of the parameters in ``config.start.evaluate`` on the test images.

    Returns
    -------
    int
        How many images could not be read, and were left out.
    """
    assert config.start.evaluate is not None
    path = resolve_weights(config.start.evaluate)
    backend = session.backend_of(config, net)
    backend.load(path)
    batch_size = config.training.batch_size * backend.device_count
    images, = reader.result()
    evaluate_with_report(
        backend.learner(config.training.optimizer, {}), backend.evaluation_batches(images, batch_size),
        config.output, images.class_names, lambda metrics: (
            f'{path}: accuracy={metrics.score:f} loss={metrics.loss:f} on {metrics.images} test images'))
    return images.left_out


def _test(backend: Backend, config: CifarConfig, images: ImageSet, batch_size: int, path: str) -> Metrics:
    """Evaluate the parameters in ``path`` on ``images``."""
    backend.load(path)
    batches = backend.evaluation_batches(images, batch_size)
    learner = backend.learner(config.training.optimizer, {})
    return learner.evaluate(prefetch(batches, batches.ahead))


def train_network(net: Any, name: str, config: CifarConfig, cluster: Cluster, command: str,
                  reader: BackgroundReader) -> dict[str, Any] | None:
    """Train the network ``net``, called ``name``, in the run's folder.

    Parameters
    ----------
    net : HybridBlock or str
        As `openatac.backends.base.open_backend` takes it.
    name : str
    config : CifarConfig
    cluster : Cluster
        The processes that train together.
    command : str
        The command line.
    reader : BackgroundReader
        Reads the training and the test images.

    Returns
    -------
    dict or None
        The summary; None for a dry run.
    """
    training = config.training
    with session.reserve_run_folder(config, command, rank=cluster.rank):
        backend = session.backend_of(config, net, cluster)
        training_set, test_set = reader.result()
        log.info('%d training and %d test images', len(training_set), len(test_set))
        sets = divide(training_set, test_set, training)
        batch_size = training.batch_size * backend.device_count * cluster.size
        batches = backend.training_batches(sets.training, batch_size, training.seed)
        evaluation_batches = backend.evaluation_batches(sets.evaluation, batch_size)
        _say_which_labels(config.data)
        session.initialize(backend, net, config)
        learner = backend.learner(training.optimizer, {})
        schedule_of = functools.partial(_schedule, batches.batches())
        contents = f'{_fingerprint(training_set)}+{_fingerprint(test_set)}'
        settings = result_settings(config, learner.devices, contents)
        if cluster.size > 1:
            cluster.check_alike({**settings, 'initial_values': learner.checksum()})
        test = functools.partial(_test, backend, config, test_set, batch_size) if sets.are_held_out else None
        plan = loop.RunPlan(
            learner=learner, training=batches, evaluation=evaluation_batches, test=test,
            schedule=schedule_of(training), epochs=training.num_epochs, folder=config.output.save_dir,
            settings=settings, lines=CifarLog(config.output.log_interval),
            kept=loop.KeptEpochs(config.output.save_period))
        title = f'{name} on {_images_name(config.data)}'
        summary = session.run_plan(plan, schedule_of, Progress(), config, command, title, {
            'model': name, 'dataset': config.data.dataset, **sets.counts()})
        if summary and cluster.rank == 0:
            print_next_steps(config, test_set.images[0].transpose(1, 2, 0))
        return summary


def _schedule(iterations_per_epoch: int, training: CifarTraining) -> loop.Schedule:
    return {loop.RATE: step_schedule(training.lr, training.num_epochs, iterations_per_epoch,
                                     training.decay_epochs, training.lr_decay)}


def _images_name(data: CifarData) -> str:
    return os.path.basename(os.path.abspath(str(data.data_dir))) if data.dataset == 'folder' else data.dataset


def _say_which_labels(data: CifarData) -> None:
    if data.dataset == 'cifar100' and data.cifar100_labels == 'coarse':
        log.info('CIFAR-100 with its 20 superclasses under a 100-way output, as the published script trains: '
                 'not comparable with figures for the 100 classes')
    elif data.dataset == 'cifar100':
        log.info('CIFAR-100 with its 100 classes; the published figures are almost certainly for the 20 '
                 'superclasses (--cifar100-labels coarse)')


def _fingerprint(images: ImageSet) -> str:
    """Identify a data set by its labels and every 50th image; all would take as long as reading it."""
    return f'{len(images)}:{checksum([images.labels, np.ascontiguousarray(images.images[::50])]):08x}'
