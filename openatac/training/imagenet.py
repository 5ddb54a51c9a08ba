"""The ImageNet run: from the resolved flags of train_imagenet.py to a trained network in a folder."""
import logging
import os
import shlex

import mxnet as mx
from mxnet.gluon import nn

from openatac import runtime
from openatac.data.image_folder import ImageFolder
from openatac.data.loader import prefetch
from openatac.data.photo_batches import EvaluationPhotos, TrainingPhotos, first_iteration
from openatac.data.records import RecordFile, index_beside
from openatac.errors import DataError, DeviceError, OpenatacError, ParameterFileError
from openatac.models.parameters import load_parameters, read_arrays
from openatac.models.resnet_v1b import ResNet50_v1bATAC
from openatac.models.zoo import unit_name
from openatac.nn.group_norm import GroupNorm
from openatac.training import loop, session
from openatac.training.dry_run import dry_run
from openatac.training.engine import GluonEngine
from openatac.training.loss_scale import LossScale
from openatac.training.objective import SMOOTHING, Objective
from openatac.training.schedule import warmup_schedule
from openatac.training.teacher import load_teacher

log = logging.getLogger('openatac')
CROP_RATIO = 0.875  # what the published script takes for 0
# Flags that choose the run's result; all others may differ when a run is resumed.
RESULT_FLAGS = (
    'act_type', 'attention', 'r', 'act_layers', 'num_classes', 'use_gn', 'syncbn', 'last_gamma', 'input_size',
    'crop_ratio', 'batch_size', 'dtype', 'mode', 'loss_scale', 'num_epochs', 'lr', 'momentum', 'wd',
    'no_wd', 'lr_mode', 'lr_decay', 'lr_decay_period', 'lr_decay_epoch', 'warmup_lr', 'warmup_epochs',
    'label_smoothing', 'mixup', 'mixup_alpha', 'mixup_off_epoch', 'teacher', 'teacher_params', 'temperature',
    'hard_weight', 'seed', 'resume_epoch', 'resume_params', 'resume_states',
    'reduction', 'self_attention')


# ---------------------------------------------------------------------------------- network

def build_network(args):
    """The network of the flags, not initialised. Raises ValueError for flags that make no network."""
    if args.self_attention == 'fa' and args.input_size % 4:
        raise ValueError('argument --self-attention: fa takes images whose sides 4 divides, and --input-size '
                         'is %d' % args.input_size)
    return ResNet50_v1bATAC(
        act_type=args.act_type, attention=args.attention, r=args.r, act_layers=args.act_layers,
        classes=args.num_classes, last_gamma=getattr(args, 'last_gamma', False),
        reduction=args.reduction, self_attention=args.self_attention, **_normalisation(args))


def _normalisation(args):
    if getattr(args, 'syncbn', False):
        if args.use_gn:
            raise ValueError('argument --syncbn: --use-gn leaves it no BatchNorm; choose one of the two')
        if args.num_gpus < 2:  # MXNet's waits for ever on a CPU
            raise ValueError('argument --syncbn: it is for two GPUs and more, and --num-gpus is %d; leave it '
                             'out' % args.num_gpus)
        return {'norm_layer': mx.gluon.contrib.nn.SyncBatchNorm,
                'norm_kwargs': {'num_devices': args.num_gpus}}
    if args.use_gn:
        return {'norm_layer': GroupNorm}
    return {'norm_layer': nn.BatchNorm}


def print_summary(net, args):
    """Print Gluon's table of layers, output shapes and parameters."""
    net.initialize()
    net.summary(mx.nd.zeros((1,) + image_shape(args)))


def image_shape(args):
    """(C, H, W) of the network's input."""
    return (3, args.input_size, args.input_size)


def model_name(args):
    """'resnet50_v1b_atac', as in the names of the files that a run leaves."""
    unit = unit_name(args.act_type, args.attention)
    if args.self_attention is None:
        return 'resnet50_v1b_' + unit
    return 'resnet50_v1b_' + ('' if unit == 'relu' else unit + '_') + args.self_attention


# ----------------------------------------------------------------------------- devices, data

def contexts(args, command):
    """The devices of --num-gpus; DeviceError in one sentence if they can't do what is asked."""
    try:
        devices, line = runtime.contexts(','.join(map(str, range(args.num_gpus))), fall_back=False)
        session.check_precision(args.dtype, devices)
    except DeviceError as error:
        raise DeviceError('%s; on a CPU (slow: some images a second) the command is: %s'
                          % (error, cpu_command(command))) from None
    log.info('%s', line)
    return devices


def cpu_command(command):
    """The same command without its GPUs and float16."""
    words, kept = shlex.split(command), []
    while words:
        word = words.pop(0)
        if word.split('=')[0] in ('--num-gpus', '--dtype', '--loss-scale'):
            if '=' not in word and words:
                words.pop(0)
        elif word != '--syncbn':
            kept.append(word)
    python = 'python ' if kept[0].endswith('.py') else ''
    return '%s%s --num-gpus 0 --dtype float32' % (python, shlex.join(kept))


def open_source(args, split):
    """The photographs of 'train' or 'val' that the flags name; DataError if they are not there."""
    if args.use_rec:
        rec = os.path.expanduser(getattr(args, 'rec_' + split))
        index = getattr(args, 'rec_%s_idx' % split)
        index = index_beside(rec) if index is None else os.path.expanduser(index)
        return RecordFile(rec, index, args.num_classes)
    return ImageFolder(os.path.join(os.path.expanduser(args.data_dir), split), args.num_classes)


def _open_both(args):
    sources = [open_source(args, split) for split in ('train', 'val')]
    classes = [source.class_names for source in sources]
    if all(classes) and tuple(classes[0]) != tuple(classes[1]):
        raise DataError('the training and the validation set have other classes, such as %r and %r: make '
                        'them the same' % next(pair for pair in zip(*classes) if pair[0] != pair[1]))
    return sources


# --------------------------------------------------------------------------------- evaluation

def evaluate(net, args, command):
    """Log the errors of the parameters in ``args.evaluate`` on the validation set; returns the metrics."""
    devices = contexts(args, command)
    load_parameters(net, args.evaluate, devices)
    engine = GluonEngine(net, devices, 'nag', {}, image_shape(args), dtype=args.dtype,
                         hybrid=args.mode == 'hybrid', top5=True)
    batches = EvaluationPhotos(open_source(args, 'val'), args.input_size, args.batch_size * len(devices),
                               args.crop_ratio or CROP_RATIO, args.num_workers,
                               max_bad_share=args.max_bad_share)
    metrics = engine.evaluate(prefetch(batches))
    log.info('%s: err-top1=%f err-top5=%f loss=%f on %d images', args.evaluate, 1 - metrics.accuracy,
             1 - metrics.top5, metrics.loss, metrics.images)
    return metrics


# ----------------------------------------------------------------------------------- training

def train(net, args, decays, cluster, command):
    """The whole run of train_imagenet.py in --save-dir; returns the summary, or nothing of a dry run."""
    with session.open_run(args, command, args.logging_file, '%(message)s', cluster.rank):
        devices = contexts(args, command)
        sources = _open_both(args)
        log.info('%d training and %d validation images', *map(len, sources))
        batch_size = args.batch_size * len(devices) * cluster.size
        part = {'num_parts': cluster.size, 'part_index': cluster.rank, 'max_bad_share': args.max_bad_share}
        training = TrainingPhotos(sources[0], args.input_size, batch_size, args.seed, args.num_workers,
                                  **part)
        validation = EvaluationPhotos(sources[1], args.input_size, batch_size, args.crop_ratio or CROP_RATIO,
                                      args.num_workers, **part)
        starts = [first_iteration(epoch, len(sources[0]), batch_size) for epoch in range(args.num_epochs + 1)]
        engine = _engine(net, args, devices, cluster, starts)
        plan = loop.Plan(
            engine, training, validation, _schedule(args, len(sources[0]) // batch_size, starts[-1], decays),
            args.num_epochs, args.save_dir, _result_settings(args, engine, sources), _interval_line(args),
            epoch_lines, args.log_interval, args.save_frequency,
            lambda epoch: 'imagenet-%s-%d' % (model_name(args), epoch - 1), save_states=True)
        progress = _begin(args, engine, starts)
        _check_alike(cluster, plan.settings, engine)
        if args.dry_run:
            return dry_run(plan, args.dry_run)
        return session.train(plan, progress, args, command, '%s on ImageNet' % model_name(args), {
            'model': model_name(args), 'dataset': 'imagenet', 'act_type': args.act_type,
            'attention': args.attention, 'useGlobal': False,
            'training_images': len(sources[0]), 'test_images': len(sources[1])})


def _schedule(args, iterations_per_epoch, iterations, decays):
    """As published made for images // batch iterations an epoch, of which some have one more."""
    scheduled = args.num_epochs * iterations_per_epoch
    if iterations > 1.01 * scheduled:
        log.info('the schedule ends after %d of %d iterations, as the published one does; the last rate is '
                 'kept from there on', scheduled, iterations)
    try:
        return warmup_schedule(args.lr_mode, args.lr, args.num_epochs, iterations_per_epoch,
                               args.warmup_epochs, args.warmup_lr, decays, args.lr_decay)
    except ValueError as error:
        raise OpenatacError(str(error)) from None


def _engine(net, args, devices, cluster, starts):
    teaches = args.teacher and args.hard_weight < 1
    teacher = load_teacher(args, devices, image_shape(args)) if teaches else None
    objective = Objective(
        args.num_classes, SMOOTHING if args.label_smoothing else 0.0, args.mixup_alpha if args.mixup else 0.0,
        starts[args.num_epochs - args.mixup_off_epoch], teacher, args.temperature, args.hard_weight)
    session.initialise(net, args.seed, devices, args.resume_params)
    if args.no_wd:
        for parameter in net.collect_params('.*beta|.*gamma|.*bias').values():
            parameter.wd_mult = 0.0
    return GluonEngine(
        net, devices, 'nag', {'learning_rate': args.lr, 'momentum': args.momentum, 'wd': args.wd},
        image_shape(args), args.dtype, args.mode == 'hybrid', args.seed, objective,
        LossScale(args.loss_scale or 1024.0) if args.dtype == 'float16' else None, top5=True, cluster=cluster)


def _begin(args, engine, starts):
    """Where the run begins: at --resume-epoch, with --resume-states."""
    progress = loop.Progress()
    progress.epoch, engine.iteration = args.resume_epoch, starts[args.resume_epoch]
    if args.resume_states:
        if not os.path.isfile(args.resume_states):
            raise ParameterFileError('--resume-states: there is no file %s' % args.resume_states)
        try:
            engine.load_optimizer_states(read_arrays(args.resume_states))
        except (KeyError, ValueError, mx.MXNetError, ParameterFileError):
            raise ParameterFileError(
                '%s holds no optimizer states of this network: --resume-states takes the .states files that '
                "this script writes (not those of the authors' script, which are pickles)"
                % args.resume_states) from None
    return progress


def _result_settings(args, engine, sources):
    data = '+'.join(source.fingerprint() for source in sources)
    return dict(session.result_settings(args, RESULT_FLAGS, engine, data),
                kvstore=args.kvstore if engine.cluster.size > 1 else 'device')


def _check_alike(cluster, settings, engine):
    """Every process must begin with the same settings, data and initial values."""
    if cluster.size > 1:
        cluster.check_alike(dict(settings, initial_values=engine.checksum()))


# ---------------------------------------------------------------------------- the published log

def _interval_line(args):
    """The published line within an epoch: only after whole intervals, and batches count from 0."""
    form = ('Epoch[{0.epoch}] Batch [{1}]\tSpeed: {0.speed:f} samples/sec\t%s={0.accuracy:f}\tlr={0.lr:f}'
            % ('rmse' if args.mixup else 'accuracy'))
    return lambda interval: '' if interval.batch % args.log_interval else form.format(
        interval, interval.batch - 1)


def epoch_lines(row, seconds):
    """The published lines for an epoch."""
    metric = 'rmse' if 'train_rmse' in row else 'accuracy'
    return ['[Epoch %d] training: %s=%f' % (row['epoch'], metric, row['train_' + metric]),
            '[Epoch %d] speed: %d samples/sec\ttime cost: %f' % (
                row['epoch'], row['images_per_second'], seconds),
            '[Epoch %d] validation: err-top1=%f err-top5=%f' % (
                row['epoch'], 1 - row['val_accuracy'], 1 - row['val_top5_accuracy'])]
