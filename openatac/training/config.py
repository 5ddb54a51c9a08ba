"""The configs of train_cifar.py and train_imagenet.py: every option of a training run.

Each option is declared here once (see `openatac.options`); flags, settings.json, the check that a checkpoint
belongs to this run, the groups of a comparison and the check against the published recipe all follow from it.
"""
from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Optional, Union

from openatac.arguments import (
    FROM_ZERO,
    MAX_BATCH,
    MAX_BLOCKS,
    MAX_CLASSES,
    MAX_COUNT,
    MAX_SEED,
    MAX_SIDE,
    MIN_CROP_RATIO,
    POSITIVE,
    RATIO,
    number,
    prefix,
)
from openatac.backends.options import Compute, ImagenetCompute
from openatac.distributed.workers import KVSTORES
from openatac.options import Section, inherited, names, option, values
from openatac.training.schedule import decay_epochs

IMAGENET_FOLDER = os.path.join('~', '.mxnet', 'datasets', 'imagenet')
ATAC, ATAC_ALIAS = 'ChaATAC', 'atac'  # as `openatac.nn.activations` registers it
IMAGENET_CLASSES = 1000  # if the images do not say how many they have
PUBLISHED_CROP_RATIO = 0.875  # what the published script uses for 0

_positive = number(int, low=1, high=MAX_COUNT)
_from_zero = number(int, low=0, high=MAX_COUNT)
_share = number(float, low=0, below=1)

_result = functools.partial(option, result=True)                 # an option that the result depends on
_network = functools.partial(option, network=True, result=True)  # ... and the network with its initial values


def _has_atac(settings: Mapping[str, Any]) -> bool:
    return settings.get('act_type') == ATAC


def _has_attention(settings: Mapping[str, Any]) -> bool:
    return settings.get('attention') is not None


# ------------------------------------------------------------------------------------ network

@dataclass(frozen=True)
class Network(Section, title='network'):
    """The options of gated networks that both hosts share."""

    act_type: str = _network(
        'ChaATAC', 'relu, prelu, elu, selu, gelu, swish, mish, frelu, sine, xunit, ChaATAC or one of your '
        'own', named=True)
    attention: Optional[str] = _network(
        None, "the block that ends each main path, such as se", shown='none', named=True)
    reduction: float = _network(
        16, 'channel reduction ratio of --attention', parse=RATIO, added=True, matters=_has_attention)
    r: float = _network(2, 'channel reduction ratio of ChaATAC', parse=RATIO, matters=_has_atac)
    act_layers: int = _network(
        2, 'how many of the four stages, from the back, get --act-type; the others get relu',
        parse=number(int, low=0, high=4),
        matters=lambda settings: settings.get('act_type') != 'relu' or _has_attention(settings))
    summary: bool = option(False, 'print the layers and stop')


@dataclass(frozen=True)
class CifarNetwork(Network):
    """A pre-activation ResNet for images of 32 x 32 pixels, or another host by the name of a network."""

    model: str = option(
        'atac', 'atac, described by the flags below, or a name such as cifar_resnet20_v2_swish or '
        'cifar_resnet18_v1_atac', network=True)
    host: Optional[str] = _network(None, flags=(), added=True)
    blocks: Optional[int] = _network(
        None, 'blocks per stage', parse=number(int, low=1, high=MAX_BLOCKS), shown='3, a ResNet-20',
        named=True)
    act_type: Optional[str] = inherited(  # type: ignore[assignment]
        Network, 'act_type', None, shown='ChaATAC')
    act_layers: int = inherited(Network, 'act_layers', 4)
    useGlobal: bool = _network(
        False, 'pool globally in ChaATAC (SE as activation)', flags=('--useGlobal',), negatable=True,
        named=True, matters=_has_atac)
    useReLU: bool = _network(
        False, "ChaATAC's inner ReLU", flags=('--useReLU',), negatable=True, matters=_has_atac)
    drop_rate: float = _network(0.0, "dropout before a block's second convolution", parse=_share)


@dataclass(frozen=True)
class ImagenetNetwork(Network):
    """ResNet-50 for photographs."""

    r: float = inherited(Network, 'r', 4)  # as published; the published command says 2
    self_attention: Optional[str] = _network(
        None, 'replacement of the 3x3 convolutions: aa, attention-augmented ones, or fa, stand-alone '
        'self-attention, which needs --last-gamma to start well', shown='none', named=True, added=True)
    num_classes: Optional[int] = _network(
        None, 'outputs of the network', shown='as many as the training images have classes',
        parse=number(int, low=2, high=MAX_CLASSES))
    use_gn: bool = _network(False, 'GroupNorm instead of BatchNorm')
    last_gamma: bool = _network(False, "start the scale of each block's last BatchNorm at zero")
    syncbn: bool = _result(False, 'BatchNorm over all GPUs of a machine')

    @property
    def classes(self) -> int:
        """How many outputs the network has."""
        return self.num_classes or IMAGENET_CLASSES


# --------------------------------------------------------------------------------------- data

@dataclass(frozen=True)
class CifarData(Section, title='data'):
    """Small images that fit into memory."""

    dataset: Literal['cifar10', 'cifar100', 'digits'] = _network('cifar10', 'what to train on')
    data_dir: Optional[str] = option(
        None, 'folder of the files, which are downloaded if missing', shown="Gluon's own folder")
    data_url: Optional[str] = option(
        None, 'a mirror of the CIFAR archives', shown='OPENATAC_DATA_URL, else their home')
    cifar100_labels: Literal['fine', 'coarse'] = _result(
        'fine', 'the 100 classes, or the 20 superclasses that the published script reads',
        matters=lambda settings: settings.get('dataset') == 'cifar100')
    num_data_workers: int = option(
        0, 'accepted as published; one thread makes the batches, which is faster', parse=_from_zero,
        flags=('-j', '--num-data-workers', '--num_workers'))


@dataclass(frozen=True)
class ImagenetData(Section, title='data'):
    """Photographs in folders or record files."""

    data_dir: str = option(
        IMAGENET_FOLDER, 'folder with train/ and val/, a folder of photographs for each class in both')
    train_labels: Optional[str] = option(
        None, 'list of the files in train/ and their labels (.csv, .txt or .lst) if it has no class folders',
        metavar='FILE', shown='none', added=True)
    val_labels: Optional[str] = option(
        None, 'the same for val/', metavar='FILE', shown='val_annotations.txt in val/, or none', added=True)
    class_list: Optional[str] = option(
        None, 'file with the name of a class on each line, in the order of the labels', metavar='FILE',
        shown='the class folders, sorted', added=True)
    use_rec: bool = option(False, 'read record files instead of folders')
    rec_train: str = option(os.path.join(IMAGENET_FOLDER, 'rec', 'train.rec'), 'training record file')
    rec_train_idx: Optional[str] = option(None, 'its index', shown='the .idx beside it, or none')
    rec_val: str = option(os.path.join(IMAGENET_FOLDER, 'rec', 'val.rec'), 'validation record file')
    rec_val_idx: Optional[str] = option(None, 'its index', shown='the .idx beside it, or none')
    input_size: int = _network(
        224, 'side of the square images that the network takes, in pixels',
        parse=number(int, low=32, high=MAX_SIDE))
    crop_ratio: float = _result(
        PUBLISHED_CROP_RATIO, 'side of the centre crop, as a share of the short side, in validation; 0 '
        f'means {PUBLISHED_CROP_RATIO}', parse=number(float, low=MIN_CROP_RATIO, high=1, also=[0]))
    num_workers: int = option(
        4, 'processes that read photographs, as many again for validation; 0 for none',
        parse=number(int, low=0, high=1024), flags=('-j', '--num-data-workers', '--num_workers'))
    max_bad_share: float = option(
        0.01, 'the share of photographs that may be damaged; they are named and left out', parse=_share,
        added=True)

    @property
    def centre(self) -> float:
        """The share of the short side that validation crops."""
        return self.crop_ratio or PUBLISHED_CROP_RATIO


# ------------------------------------------------------------------------------- optimisation

@dataclass(frozen=True)
class Training(Section, title='training'):
    """Nesterov's accelerated gradient and its learning rate."""

    recipe: Optional[str] = option(None, 'take the settings of a recipe', shown='none')
    batch_size: int = _result(128, 'images per device', parse=number(int, low=1, high=MAX_BATCH))
    num_epochs: int = _result(400, 'passes over the training images', parse=_positive)
    lr: float = _result(0.2, 'learning rate', parse=POSITIVE)
    momentum: float = _result(0.9, "momentum of Nesterov's method", parse=_share)
    wd: float = _result(1e-4, 'weight decay', parse=FROM_ZERO)
    lr_decay: float = _result(0.1, 'factor by which the rate decays', parse=POSITIVE)
    lr_decay_period: int = _result(
        0, 'decay every N epochs instead of at --lr-decay-epoch', metavar='N', parse=_from_zero)
    lr_decay_epoch: str = _result('300,350', 'epochs at whose start the rate decays')
    seed: int = _network(
        0, 'seed of the initial values, order, augmentation and dropout',
        parse=number(int, low=0, high=MAX_SEED))

    @property
    def optimizer(self) -> dict[str, float]:
        """{name: value} of the parameters of NAG, as MXNet calls them."""
        return {'learning_rate': self.lr, 'momentum': self.momentum, 'wd': self.wd}

    @property
    def decay_epochs(self) -> list[int]:
        """The epochs at which the rate decays; ValueError if --lr-decay-epoch is not a list of epochs."""
        return decay_epochs(self.lr_decay_epoch, self.lr_decay_period, self.num_epochs)


@dataclass(frozen=True)
class CifarTraining(Training):
    """The recipe of the paper on CIFAR."""

    gpus: str = option('', 'GPUs to train on, such as 0,1', shown='the CPU')


def _has_steps(settings: Mapping[str, Any]) -> bool:
    return settings.get('lr_mode') == 'step'


def _has_mixup(settings: Mapping[str, Any]) -> bool:
    return bool(settings.get('mixup'))


def _has_teacher(settings: Mapping[str, Any]) -> bool:
    return settings.get('teacher') is not None


@dataclass(frozen=True)
class ImagenetTraining(Training):
    """The recipe of the paper on ImageNet, and its published options."""

    batch_size: int = inherited(Training, 'batch_size', 32)
    num_epochs: int = inherited(Training, 'num_epochs', 3)
    lr: float = inherited(Training, 'lr', 0.1)
    lr_decay: float = inherited(Training, 'lr_decay', 0.1, matters=_has_steps)
    lr_decay_period: int = inherited(Training, 'lr_decay_period', 0, matters=_has_steps)
    lr_decay_epoch: str = inherited(Training, 'lr_decay_epoch', '40,60', matters=_has_steps)
    no_wd: bool = _result(False, 'no weight decay for biases, gammas and betas')
    lr_mode: Literal['step', 'poly', 'cosine'] = _result('step', 'how the rate falls')
    warmup_lr: float = _result(0.0, 'the rate at the start of the warm-up', parse=FROM_ZERO)
    warmup_epochs: int = _result(0, 'epochs over which the rate grows to --lr', parse=_from_zero)
    label_smoothing: bool = _result(False, 'spread 0.1 of each label over all classes')
    mixup: bool = _result(False, 'mix each batch with itself reversed')
    mixup_alpha: float = _result(
        0.2, 'alpha of the beta distribution of the shares', parse=POSITIVE, matters=_has_mixup)
    mixup_off_epoch: int = _result(
        0, 'no mixup in the last N epochs', metavar='N', parse=_from_zero, matters=_has_mixup)
    teacher: Optional[str] = _result(
        None, "a network of GluonCV's zoo, or ours, to distil from", shown='none')
    teacher_params: Optional[str] = _result(
        None, "the teacher's parameters", metavar='FILE.params', shown="GluonCV's own", matters=_has_teacher)
    temperature: float = _result(
        20.0, "temperature that softens the teacher's outputs", parse=POSITIVE, matters=_has_teacher)
    hard_weight: float = _result(
        0.5, "the labels' share of the loss; the teacher has the rest", parse=number(float, low=0, high=1),
        matters=_has_teacher)
    num_gpus: int = option(
        0, 'how many GPUs to use, from GPU 0 on; 0 is the CPU', parse=number(int, low=0, high=64))
    kvstore: str = option(
        'device', "MXNet's key-value store that adds up gradients; dist_... for `openatac launch`",
        choices=lambda: KVSTORES)

    @property
    def gpus(self) -> str:
        """The GPUs as in `CifarTraining`, such as '0,1'."""
        return ','.join(map(str, range(self.num_gpus)))


# ----------------------------------------------------------------------------- start and output

@dataclass(frozen=True)
class Start(Section, title='start'):
    """Where a run starts, or what the script does instead of training."""

    initial: Optional[str] = option(
        None, 'torch: take the network from the files of --write-initial; needs no MXNet', metavar='PREFIX')
    write_initial: Optional[str] = option(
        None, 'write the network with its initial values for --seed and stop', metavar='PREFIX', parse=prefix)
    resume: Literal['auto', 'never'] = option(
        'never', 'auto: continue from the newest checkpoint in --save-dir, if there is one')
    evaluate: Optional[str] = option(None, 'only test these parameters', metavar='FILE.params')
    dry_run: Optional[int] = option(
        None, 'run N batches of each part, print time and memory, keep only the log', metavar='N',
        parse=_positive)
    print_config: bool = option(
        False, 'print each setting and where its value comes from, and stop', added=True)


@dataclass(frozen=True)
class CifarStart(Start):
    """The parameters that a run on CIFAR starts from."""

    resume_from: Optional[str] = _network(None, 'start from these parameters', metavar='FILE.params')

    @property
    def params(self) -> Optional[str]:
        """The parameter file to start from."""
        return self.resume_from


@dataclass(frozen=True)
class ImagenetStart(Start):
    """The epoch, parameters and optimizer states that a run on ImageNet starts from."""

    resume_epoch: int = _result(
        0, 'begin at this epoch, with --resume-params and --resume-states', parse=_from_zero)
    resume_params: Optional[str] = _network(None, 'start from these parameters', metavar='FILE.params')
    resume_states: Optional[str] = _result(
        None, 'start from these optimizer states', metavar='FILE.states')

    @property
    def params(self) -> Optional[str]:
        """The parameter file to start from."""
        return self.resume_params


@dataclass(frozen=True)
class Output(Section, title='output'):
    """The files that a run writes, and the services that it reports to."""

    save_dir: str = option('params', 'folder of this run')
    save_plot_dir: Optional[str] = option(None, 'folder of the history picture', shown='--save-dir')
    log_interval: int = option(50, 'batches between readings of the metrics', parse=_positive)
    export: Optional[str] = option(
        None, 'at the end write the best network to PATH-symbol.json and PATH-0000.params', metavar='PATH',
        parse=prefix)
    tensorboard: Optional[str] = option(None, 'write scalars for TensorBoard', metavar='DIR')
    project: Optional[str] = option(None, 'Weights & Biases project to report to')
    name: Optional[str] = option(None, 'name of the Weights & Biases run')


@dataclass(frozen=True)
class CifarOutput(Output):
    """The output of a run on CIFAR."""

    save_period: int = option(
        0, 'keep the parameters every N epochs (best and last are always kept)', metavar='N',
        parse=_from_zero)


@dataclass(frozen=True)
class ImagenetOutput(Output):
    """The output of a run on ImageNet."""

    log_interval: int = inherited(
        Output, 'log_interval', 50, help='batches between readings of the metrics, 0 for none',
        parse=_from_zero)
    save_frequency: int = option(
        10, 'keep parameters and optimizer states every N epochs', metavar='N', parse=_from_zero)
    logging_file: str = option('train_imagenet.log', 'the log, in the format of the published script')


# -------------------------------------------------------------------------------------- configs

@dataclass(frozen=True)
class CifarConfig:
    """A run of train_cifar.py."""

    network: CifarNetwork
    data: CifarData
    training: CifarTraining
    compute: Compute
    output: CifarOutput
    start: CifarStart


@dataclass(frozen=True)
class ImagenetConfig:
    """A run of train_imagenet.py."""

    network: ImagenetNetwork
    data: ImagenetData
    training: ImagenetTraining
    compute: ImagenetCompute
    output: ImagenetOutput
    start: ImagenetStart


Config = Union[CifarConfig, ImagenetConfig]


def network_settings(config: Config) -> dict[str, Any]:
    """Return {name: value} of everything that the network and its initial values depend on."""
    found = values(config)
    return {name: found[name] for name in names(type(config), lambda known: known.network)}


def result_settings(config: Config, devices: str, data: str) -> dict[str, Any]:
    """Return {name: value} of everything that the run's result depends on.

    devices : such as '2 x gpu'; data : a text that identifies the contents of the data sets
    """
    found = values(config)
    chosen = names(type(config), lambda known: known.result)
    if config.compute.engine == 'mxnet':  # its checkpoints predate the choice
        chosen = [name for name in chosen if name not in ('engine', 'tf32', 'compile')]
    return {**{name: found[name] for name in chosen}, 'devices': devices, 'data': data}
