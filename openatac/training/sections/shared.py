"""The sections that the configs of both scripts have."""
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Optional

from openatac.options.declaration import (
    Role,
    Section,
    exported_option,
    network_option,
    only_with,
    option,
    result_option,
    schedule_option,
)
from openatac.options.flag_types import (
    BATCH_SIZE,
    COUNT,
    COUNT_FROM_ZERO,
    FROM_ZERO,
    POSITIVE,
    RATIO,
    SEED,
    SHARE,
    number,
    prefix,
)
from openatac.training.schedule import decay_epochs
from openatac.zoo.host_arguments import SLOTS
from openatac.zoo.units import ACTIVATIONS, ATAC

if TYPE_CHECKING:
    from openatac.backends.learner import OptimizerSettings


@dataclass(frozen=True)
class Network(Section, title='network'):
    """The network options that both scripts share."""

    act_type: str = network_option(
        ATAC, f'{", ".join(ACTIVATIONS)} or one of your own', roles=Role.IN_NAME | Role.IN_ALL_FILES)
    attention: Optional[str] = network_option(
        None, 'attention block at the end of each residual branch, such as se', default_text='none',
        roles=Role.IN_NAME | Role.IN_ALL_FILES)
    reduction: float = exported_option(
        16, 'channel reduction ratio of --attention', parse=RATIO,
        matters=only_with('attention'))
    r: float = exported_option(
        2, 'channel reduction ratio of ChaATAC', parse=RATIO, matters=only_with('act_type', ATAC),
        roles=Role.IN_ALL_FILES)
    act_layers: int = exported_option(
        2, 'how many of four places, counted from the end, use --act-type, and the others relu: the stages '
        'or, in a network with three, these and the activation after them',
        parse=number(int, low=0, high=SLOTS), roles=Role.IN_ALL_FILES,
        matters=lambda settings: settings.get('act_type') != 'relu' or bool(settings.get('attention')))
    summary: bool = option(False, 'print the layers and stop')


@dataclass(frozen=True)
class Training(Section, title='training'):
    """Nesterov's accelerated gradient and its learning rate."""

    recipe: Optional[str] = option(
        None, 'named set of settings, which other flags override; --print-config shows them',
        default_text='none')
    batch_size: int = result_option(
        128, 'images per device', parse=BATCH_SIZE, roles=Role.INEXACTLY_CHANGEABLE)
    num_epochs: int = schedule_option(400, 'passes over the training images', parse=COUNT)
    lr: float = schedule_option(0.2, 'learning rate', parse=POSITIVE)
    momentum: float = result_option(0.9, "momentum of Nesterov's method", parse=SHARE)
    wd: float = result_option(1e-4, 'weight decay', parse=FROM_ZERO)
    lr_decay: float = schedule_option(0.1, 'factor by which the learning rate decays', parse=POSITIVE)
    lr_decay_period: int = schedule_option(
        0, 'decay every N epochs instead of at --lr-decay-epoch', metavar='N', parse=COUNT_FROM_ZERO,
        roles=Role.MINOR)
    lr_decay_epoch: str = schedule_option('300,350', 'epochs at the start of which the learning rate decays')
    val_split: float = result_option(
        0.0, 'share of the training images of each class to hold out for choosing the best epoch; the '
        'test images are then used once, at the end', parse=SHARE, roles=Role.MINOR)
    val_seed: int = result_option(
        0, 'seed for choosing these images', parse=SEED,
        matters=only_with('val_split'))
    seed: int = network_option(
        0, 'seed for initial values, order, augmentation and dropout',
        parse=SEED, roles=Role.IN_ALL_FILES)
    freeze: Optional[str] = network_option(
        None, "do not train the parameters whose names match, such as 'features.*'; commas separate several "
        'patterns', metavar='PATTERN', default_text='none', roles=Role.MINOR)
    head_lr_mult: Optional[float] = network_option(
        None, 'factor on the learning rate of the last layer', parse=POSITIVE, metavar='X', default_text='1',
        roles=Role.MINOR)

    @property
    def optimizer(self) -> OptimizerSettings:
        """The parameters of NAG, {MXNet's name: value}."""
        return {'learning_rate': self.lr, 'momentum': self.momentum, 'wd': self.wd}

    @property
    def decay_epochs(self) -> list[int]:
        """The epochs at which the rate decays; FlagError if --lr-decay-epoch is not a list of epochs."""
        return decay_epochs(self.lr_decay_epoch, self.lr_decay_period, self.num_epochs)


@dataclass(frozen=True)
class Start(Section, title='start'):
    """Where a run starts, or what the script does instead of training."""

    params_flag: ClassVar[str]  # gives `params`
    initial: Optional[str] = option(
        None, 'torch: take the network from the files of --write-initial; needs no MXNet', metavar='PREFIX')
    write_initial: Optional[str] = option(
        None, 'write the network with its initial values for --seed and stop', metavar='PREFIX', parse=prefix)
    pretrained: Optional[str] = network_option(
        None, 'start from these parameters, a file, the folder of a run or a name in openatac models; if '
        'they are for other classes, the last layer starts at random', metavar='FILE',
        roles=Role.MINOR)
    resume: Literal['auto', 'never'] = option(
        'never', 'auto: continue from the newest checkpoint in --save-dir, if there is one')
    allow_inexact_resume: bool = option(
        False, 'let --resume auto continue on other devices, with another split of the batch among them or '
        'with another engine; results are then no longer bit-identical')
    evaluate: Optional[str] = option(
        None, 'only test these parameters, a file or a name as for --pretrained', metavar='FILE')
    dry_run: Optional[int] = option(
        None, 'run N batches of each part, print time and memory, keep only the log', metavar='N',
        parse=COUNT)
    print_config: bool = option(
        False, 'print each setting and where its value comes from, and stop')

    @property
    def params(self) -> Optional[str]:
        """The parameter file of the same network to start from."""
        raise NotImplementedError


@dataclass(frozen=True)
class Output(Section, title='output'):
    """The files that a run writes, and the services that it reports to."""

    save_dir: str = option('params', 'folder of this run')
    save_plot_dir: Optional[str] = option(None, 'folder for the training curves', default_text='--save-dir')
    log_interval: int = option(50, 'batches between readings of the metrics', parse=COUNT)
    export: Optional[str] = option(
        None, 'at the end write the best network to PATH-symbol.json and PATH-0000.params', metavar='PATH',
        parse=prefix)
    report: Optional[str] = option(
        None, 'folder for the report of an evaluation: accuracy of each class, confusion matrix and '
        'calibration', metavar='DIR', default_text='none')
    predictions: Optional[str] = option(
        None, 'file for the predictions of an evaluation, a row for each image', metavar='FILE.csv',
        default_text='none')
    tensorboard: Optional[str] = option(None, 'write scalars for TensorBoard', metavar='DIR')
    project: Optional[str] = option(None, 'Weights & Biases project to report to')
    name: Optional[str] = option(None, 'name of the Weights & Biases run')
