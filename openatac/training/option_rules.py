"""The rules on which options of a training run go together.

A backend has its own rules in `openatac.backends.unsupported`. Some rules are checked later: those on the
network when it is built (`openatac.training.networks.build`), and those on the number of processes when they
join (`openatac.commands.shared.training_processes`).
"""
from __future__ import annotations

import math

from openatac.backends.devices import parse_gpus
from openatac.backends.registered_backends import check_backend
from openatac.errors import FlagError, ParameterFileError
from openatac.limits import FLOAT32_MAX, FLOAT32_MIN
from openatac.options.command_line import flag_of
from openatac.options.declaration import option_defaults
from openatac.training.config import CifarConfig, Config, ImagenetConfig
from openatac.training.sections.cifar import NEEDS_OWN_IMAGES
from openatac.training.sections.shared import Start
from openatac.zoo.weights.pretrained import resolve_parameter_file


def check_options(config: Config) -> None:
    """Raise FlagError for options that cannot be combined."""
    training = config.training
    parse_gpus(training.gpus)  # FlagError if this is not a list of GPUs
    decays = sum(epoch < training.num_epochs for epoch in training.decay_epochs)
    if training.lr_mode == 'step':
        _check_rates(training.lr, training.lr_decay, decays)
    if training.val_seed and not training.val_split:
        raise FlagError('--val-seed', 'it has no effect without --val-split; add --val-split, or '
                        'leave out --val-seed')
    for flag in ('report', 'predictions'):
        if getattr(config.output, flag) and not config.start.evaluate:
            raise FlagError(flag_of(flag), 'it needs --evaluate FILE')
    if config.start.initial and (config.network.summary or config.start.write_initial):
        raise FlagError('--initial', '--summary and --write-initial use the network that the flags '
                        'describe; leave it out')
    if config.start.pretrained:
        _check_pretrained(config.start.pretrained, config.start)
    check_backend(config)
    if isinstance(config, CifarConfig):
        _check_cifar(config)
    else:
        _check_imagenet(config)


def _check_pretrained(name: str, start: Start) -> None:
    for other, params in (('--evaluate', start.evaluate), (start.params_flag, start.params)):
        if params:
            raise FlagError('--pretrained', f'{other} names the parameters too; leave out one of the two')
    try:
        resolve_parameter_file(name)
    except ParameterFileError as error:
        raise FlagError('--pretrained', str(error)) from None


def _check_rates(lr: float, factor: float, decays: int) -> None:
    last = math.log10(lr) + decays * math.log10(factor)
    if not math.log10(FLOAT32_MIN) < last < math.log10(FLOAT32_MAX):
        raise FlagError('--lr-decay', f'{decays} times {factor:g} takes --lr {lr:g} beyond the range '
                        'of float32; decay less often, or by a factor nearer to 1')


def _check_cifar(config: CifarConfig) -> None:
    data = config.data
    if not data.has_own_images:
        for name in ('image_size', 'class_list'):
            if getattr(data, name) is not None:
                raise FlagError(flag_of(name), 'it is for --dataset folder; leave it out')
    elif not data.data_dir and not config.start.evaluate:  # a run knows where its images were
        raise FlagError('--data-dir', f'{NEEDS_OWN_IMAGES}; give it')


def _check_imagenet(config: ImagenetConfig) -> None:
    training, epochs = config.training, config.training.num_epochs
    for name, value, most in (('warmup_epochs', training.warmup_epochs, epochs),
                              ('mixup_off_epoch', training.mixup_off_epoch, epochs),
                              ('resume_epoch', config.start.resume_epoch, epochs - 1)):
        if value > most:
            raise FlagError(flag_of(name), f'{value} is more than the {most} that '
                            f'--num-epochs {epochs} allows')
    if config.compute.syncbn and config.network.use_gn:
        raise FlagError('--syncbn', 'leave it out, since --use-gn replaces every BatchNorm')
    data = config.data
    usual = option_defaults(ImagenetConfig)
    if data.use_rec and data.data_dir != usual['data_dir'] and data.rec_train == usual['rec_train']:
        raise FlagError('--data-dir', 'with --use-rec, as in the recipe, the photographs are in '
                        '--rec-train and --rec-val; give these, or add --no-use-rec')
    if training.teacher_params and not training.teacher:
        raise FlagError('--teacher-params', 'it needs --teacher NAME, the network of this file')
    if config.compute.loss_scale and config.compute.dtype != 'float16':
        raise FlagError('--loss-scale', 'it is for --dtype float16; leave it out')
    if config.compute.dtype == 'float16' and training.kvstore == 'dist_async':
        raise FlagError('--kvstore', 'dist_async has no loss scale for float16; use dist_sync')
