"""The CIFAR run: from the resolved flags of train_cifar.py to a trained network in a folder."""
import logging
import zlib

import numpy as np

from openatac.backends.networks import on_devices
from openatac.data.batches import prefetch
from openatac.data.cifar import SHAPE
from openatac.training import loop, session
from openatac.training.dry_run import dry_run
from openatac.training.schedule import step_schedule

log = logging.getLogger('openatac')
# Flags that choose the run's result; all others may differ when a run is resumed.
RESULT_FLAGS = (
    'blocks', 'act_type', 'attention', 'r', 'act_layers', 'useGlobal', 'useReLU', 'drop_rate', 'dataset',
    'cifar100_labels', 'batch_size', 'num_epochs', 'lr', 'momentum', 'wd', 'lr_decay', 'lr_decay_period',
    'lr_decay_epoch', 'mode', 'dtype', 'seed', 'resume_from', 'host', 'reduction')


def evaluate(net, args, data):
    """Log the accuracy of the parameters in --evaluate on the test images; returns the metrics."""
    network = on_devices(net, args, SHAPE, args.gpus, fall_back=True)
    network.load(args.evaluate)
    batches = network.EvaluationBatches(data.result()[0], args.batch_size * network.count)
    metrics = _engine(network, args).evaluate(prefetch(batches, batches.ahead))
    log.info('%s: accuracy=%f loss=%f on %d test images', args.evaluate, metrics.accuracy, metrics.loss,
             metrics.images)
    return metrics


def train(net, name, args, data, decays, command):
    """The whole run of train_cifar.py in --save-dir; returns the summary, or nothing of a dry run.

    net : the network called ``name``, see `on_devices`
    """
    with session.open_run(args, command):
        network = on_devices(net, args, SHAPE, args.gpus, fall_back=True)
        training_set, test_set = data.result()
        log.info('%d training and %d test images', len(training_set), len(test_set))
        training = network.TrainingBatches(training_set, args.batch_size * network.count, args.seed)
        test = network.EvaluationBatches(test_set, training.batch_size)
        _say_which_labels(args)
        network.draw(args.resume_from)
        engine = _engine(network, args)
        schedule = step_schedule(args.lr, args.num_epochs, training.batches(), decays, args.lr_decay)
        plan = loop.Plan(engine, training, test, schedule, args.num_epochs, args.save_dir,
                         session.result_settings(args, RESULT_FLAGS, engine,
                                                 _fingerprint(training_set, test_set)),
                         interval_line, epoch_lines, args.log_interval, args.save_period)
        if args.dry_run:
            return dry_run(plan, args.dry_run)
        return session.train(plan, loop.Progress(), args, command, _title(args, name), {
            'model': name, 'dataset': args.dataset, 'act_type': args.act_type,
            'attention': args.attention, 'useGlobal': args.useGlobal,
            'training_images': len(training_set), 'test_images': len(test_set)})


def _engine(network, args):
    optimizer = {'learning_rate': args.lr, 'momentum': args.momentum, 'wd': args.wd}
    return network.engine(optimizer, objective={})


def _title(args, name):
    gate = ', global gate' if args.act_type == 'ChaATAC' and args.useGlobal else ''
    return '%s%s on %s' % (name, gate, args.dataset)


def interval_line(interval):
    """The published script's line within an epoch, with how far it is."""
    return ('Epoch[{0.epoch}] Batch [{0.batch}/{0.batches}]\tSpeed: {0.speed:.1f} samples/sec\t'
            'accuracy={0.accuracy:f}\tloss={0.loss:f}\tlr={0.lr:g}'.format(interval))


def epoch_lines(row, seconds):
    """The published script's line for an epoch."""
    return ['[Epoch %d] train=%f val=%f loss=%f time: %f' % (
        row['epoch'], row['train_accuracy'], row['val_accuracy'], row['train_loss'], seconds)]


def _say_which_labels(args):
    if args.dataset == 'cifar100' and args.cifar100_labels == 'coarse':
        log.info('CIFAR-100 with its 20 superclasses under a 100-way output, as the published script trains: '
                 'not to be compared with figures for the 100 classes')
    elif args.dataset == 'cifar100':
        log.info('CIFAR-100 with its 100 classes; the published figures are almost certainly for the 20 '
                 'superclasses (--cifar100-labels coarse)')


def _fingerprint(*image_sets):
    """A text that tells these data sets from others."""
    return '+'.join('%d:%08x' % (len(images), _checksum(images)) for images in image_sets)


def _checksum(images):
    """Of the labels and, since all pixels would take as long as reading them, of each 50th image."""
    return zlib.crc32(np.ascontiguousarray(images.images[::50]), zlib.crc32(images.labels))
