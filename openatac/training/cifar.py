"""The CIFAR run: from the resolved flags of train_cifar.py to a trained network in a folder."""
import logging
import zlib

import mxnet as mx
import numpy as np

from openatac import runtime
from openatac.data.loader import EvaluationBatches, TrainingBatches, prefetch
from openatac.models.cifar_resnet import ResNet20V2ATAC
from openatac.models.cifar_resnet18 import CIFARResNet18
from openatac.models.parameters import load_parameters
from openatac.models.zoo import cifar_model_name, find_model
from openatac.training import loop, session
from openatac.training.engine import GluonEngine
from openatac.training.loss_scale import LossScale
from openatac.training.schedule import step_schedule

log = logging.getLogger('openatac')
IMAGE_SHAPE = (3, 32, 32)
CLASSES = {'cifar10': 10, 'cifar100': 100, 'digits': 10}
# Flags that choose the run's result; all others may differ when a run is resumed.
RESULT_FLAGS = (
    'blocks', 'act_type', 'attention', 'r', 'act_layers', 'useGlobal', 'useReLU', 'drop_rate', 'dataset',
    'cifar100_labels', 'batch_size', 'num_epochs', 'lr', 'momentum', 'wd', 'lr_decay', 'lr_decay_period',
    'lr_decay_epoch', 'mode', 'dtype', 'seed', 'resume_from', 'host', 'reduction')


def build_network(args):
    """The network of the flags, not initialised; fills in what --model says of --blocks and others.

    ``args.host`` becomes the host's name where --model is of another one than the published.
    Raises ValueError for flags that make no network.
    """
    host, stages, named = _named(args.model)
    args.host = None if host is ResNet20V2ATAC else 'cifar_resnet18_v1'
    for flag, default in (('blocks', 3), ('act_type', 'ChaATAC'), ('attention', None)):
        given = getattr(args, flag)
        if flag in named and given not in (None, named[flag]):
            raise ValueError('argument --%s: --model %s is built with %s; leave out one of the two'
                             % (flag.replace('_', '-'), args.model, named[flag]))
        setattr(args, flag, named.get(flag, default) if given is None else given)
    return host(
        layers=[args.blocks] * stages, act_type=args.act_type, classes=CLASSES[args.dataset],
        act_layers=args.act_layers, r=args.r, useReLU=args.useReLU, useGlobal=args.useGlobal,
        drop_rate=args.drop_rate, attention=args.attention, reduction=args.reduction)


def _named(model):
    """(host, its stages, flags) that the name of a network stands for; 'atac' says nothing of the flags."""
    if model == 'atac':
        return ResNet20V2ATAC, 3, {}
    network = find_model(model)
    if network.func not in (ResNet20V2ATAC, CIFARResNet18):
        raise ValueError('argument --model: %s is for ImageNet; choose a cifar_resnet network' % model)
    layers = network.keywords['layers']
    return network.func, len(layers), {
        'blocks': layers[0], **{flag: network.keywords.get(flag) for flag in ('act_type', 'attention')}}


def model_name(args):
    """The name of `build_network`'s network, such as 'cifar_resnet20_v2_atac'."""
    return args.model.lower() if args.host else cifar_model_name(args.blocks, args.act_type, args.attention)


def print_summary(net):
    """Print Gluon's table of layers, output shapes and parameters."""
    net.initialize()
    net.summary(mx.nd.zeros((1,) + IMAGE_SHAPE))


def evaluate(net, args, data):
    """Log the accuracy of the parameters in --evaluate on the test images; returns the metrics."""
    contexts = _contexts(args)
    load_parameters(net, args.evaluate, contexts)
    engine = _engine(net, contexts, args)
    batches = EvaluationBatches(data.result()[0], args.batch_size * len(contexts))
    metrics = engine.evaluate(prefetch(batches))
    log.info('%s: accuracy=%f loss=%f on %d test images', args.evaluate, metrics.accuracy, metrics.loss,
             metrics.images)
    return metrics


def train(net, args, data, decays, command):
    """The whole run of train_cifar.py in --save-dir; returns the summary."""
    with session.open_run(args, command):
        contexts = _contexts(args)
        training_set, test_set = data.result()
        log.info('%d training and %d test images', len(training_set), len(test_set))
        training = TrainingBatches(training_set, args.batch_size * len(contexts), args.seed)
        test = EvaluationBatches(test_set, training.batch_size)
        _say_which_labels(args)
        session.initialise(net, args.seed, contexts, args.resume_from)
        engine = _engine(net, contexts, args)
        schedule = step_schedule(args.lr, args.num_epochs, training.batches(), decays, args.lr_decay)
        plan = loop.Plan(engine, training, test, schedule, args.num_epochs, args.save_dir,
                         session.result_settings(args, RESULT_FLAGS, engine,
                                                 _fingerprint(training_set, test_set)),
                         interval_line, epoch_lines, args.log_interval, args.save_period)
        name = model_name(args)
        return session.train(plan, loop.Progress(), args, command, _title(args, name), {
            'model': name, 'dataset': args.dataset, 'act_type': args.act_type,
            'attention': args.attention, 'useGlobal': args.useGlobal,
            'training_images': len(training_set), 'test_images': len(test_set)})


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


def _contexts(args):
    contexts, line = runtime.contexts(args.gpus)
    log.info('%s', line)
    session.check_precision(args.dtype, contexts)
    return contexts


def _engine(net, contexts, args):
    return GluonEngine(net, contexts, 'nag',
                       {'learning_rate': args.lr, 'momentum': args.momentum, 'wd': args.wd}, IMAGE_SHAPE,
                       dtype=args.dtype, hybrid=args.mode == 'hybrid', seed=args.seed,
                       loss_scale=LossScale() if args.dtype == 'float16' else None)


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
