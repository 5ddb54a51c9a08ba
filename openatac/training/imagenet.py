"""The ImageNet run: from the resolved flags of train_imagenet.py to a trained network in a folder."""
import logging
import os
import shlex

from openatac.backends.networks import on_devices
from openatac.data.batches import prefetch
from openatac.data.photos.batches import EvaluationPhotos, TrainingPhotos, first_iteration
from openatac.data.photos.folder import ImageFolder
from openatac.data.photos.records import RecordFile, index_beside
from openatac.errors import DataError, DeviceError, OpenatacError, ParameterFileError
from openatac.models.params_file import read_params
from openatac.training import loop, session
from openatac.training.dry_run import dry_run
from openatac.training.schedule import warmup_schedule

log = logging.getLogger('openatac')
SMOOTHING = 0.1  # the published script's
CROP_RATIO = 0.875  # what the published script takes for 0
# Flags that choose the run's result; all others may differ when a run is resumed.
RESULT_FLAGS = (
    'act_type', 'attention', 'r', 'act_layers', 'num_classes', 'use_gn', 'syncbn', 'last_gamma', 'input_size',
    'crop_ratio', 'batch_size', 'dtype', 'mode', 'loss_scale', 'num_epochs', 'lr', 'momentum', 'wd',
    'no_wd', 'lr_mode', 'lr_decay', 'lr_decay_period', 'lr_decay_epoch', 'warmup_lr', 'warmup_epochs',
    'label_smoothing', 'mixup', 'mixup_alpha', 'mixup_off_epoch', 'teacher', 'teacher_params', 'temperature',
    'hard_weight', 'seed', 'resume_epoch', 'resume_params', 'resume_states',
    'reduction', 'self_attention')


# ----------------------------------------------------------------------------- devices, data

def _on_devices(net, args, command):
    """`on_devices` of --num-gpus; DeviceError in one sentence if they can't do what is asked."""
    try:
        return on_devices(net, args, (3, args.input_size, args.input_size),
                          ','.join(map(str, range(args.num_gpus))), fall_back=False)
    except DeviceError as error:
        raise DeviceError('%s; on a CPU (slow: some images a second) the command is: %s'
                          % (error, cpu_command(command))) from None


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
    network = _on_devices(net, args, command)
    network.load(args.evaluate)
    nothing = {'learning_rate': 0.0, 'momentum': 0.0, 'wd': 0.0}
    engine = network.engine(nothing, {}, top5=True)
    batches = EvaluationPhotos(open_source(args, 'val'), args.input_size, args.batch_size * network.count,
                               args.crop_ratio or CROP_RATIO, args.num_workers,
                               max_bad_share=args.max_bad_share)
    metrics = engine.evaluate(prefetch(batches))
    log.info('%s: err-top1=%f err-top5=%f loss=%f on %d images', args.evaluate, 1 - metrics.accuracy,
             1 - metrics.top5, metrics.loss, metrics.images)
    return metrics


# ----------------------------------------------------------------------------------- training

def train(net, name, args, decays, cluster, command):
    """The whole run of train_imagenet.py in --save-dir; returns the summary, or nothing of a dry run.

    net : the network called ``name``, see `on_devices`
    """
    with session.open_run(args, command, args.logging_file, '%(message)s', cluster.rank):
        network = _on_devices(net, args, command)
        sources = _open_both(args)
        log.info('%d training and %d validation images', *map(len, sources))
        batch_size = args.batch_size * network.count * cluster.size
        part = {'num_parts': cluster.size, 'part_index': cluster.rank, 'max_bad_share': args.max_bad_share}
        training = TrainingPhotos(sources[0], args.input_size, batch_size, args.seed, args.num_workers,
                                  **part)
        validation = EvaluationPhotos(sources[1], args.input_size, batch_size, args.crop_ratio or CROP_RATIO,
                                      args.num_workers, **part)
        starts = [first_iteration(epoch, len(sources[0]), batch_size) for epoch in range(args.num_epochs + 1)]
        engine = _engine(network, args, cluster, starts)
        plan = loop.Plan(
            engine, training, validation, _schedule(args, len(sources[0]) // batch_size, starts[-1], decays),
            args.num_epochs, args.save_dir, _result_settings(args, engine, sources), _interval_line(args),
            epoch_lines, args.log_interval, args.save_frequency,
            lambda epoch: 'imagenet-%s-%d' % (name, epoch - 1), save_states=True)
        progress = _begin(args, engine, starts)
        _check_alike(cluster, plan.settings, engine)
        if args.dry_run:
            return dry_run(plan, args.dry_run)
        return session.train(plan, progress, args, command, '%s on ImageNet' % name, {
            'model': name, 'dataset': 'imagenet', 'act_type': args.act_type,
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


def _engine(network, args, cluster, starts):
    teaches = args.teacher and args.hard_weight < 1
    objective = {
        'classes': args.num_classes, 'smoothing': SMOOTHING if args.label_smoothing else 0.0,
        'mixup': args.mixup_alpha if args.mixup else 0.0,
        'mixup_iterations': starts[args.num_epochs - args.mixup_off_epoch],
        'teacher': network.teacher() if teaches else None,
        'temperature': args.temperature, 'hard_weight': args.hard_weight}
    network.draw(args.resume_params)
    optimizer = {'learning_rate': args.lr, 'momentum': args.momentum, 'wd': args.wd}
    return network.engine(optimizer, objective, args.no_wd, top5=True, cluster=cluster)


def _begin(args, engine, starts):
    """Where the run begins: at --resume-epoch, with --resume-states."""
    progress = loop.Progress()
    progress.epoch, engine.iteration = args.resume_epoch, starts[args.resume_epoch]
    if args.resume_states:
        if not os.path.isfile(args.resume_states):
            raise ParameterFileError('--resume-states: there is no file %s' % args.resume_states)
        try:
            engine.load_optimizer_states(read_params(args.resume_states))
        except (KeyError, ValueError, ParameterFileError):
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
