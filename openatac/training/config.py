"""What a training run is: the configs of train_cifar.py and train_imagenet.py.

Each option is declared here once (see `openatac.options`); flags, settings.json, the check that a checkpoint
is of this run, the groups of a comparison and the check against the published recipe all follow from it.
"""
from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Optional, Union

from openatac.arguments import (
    BATCH,
    BLOCKS,
    CLASSES,
    COUNT,
    CROP_RATIO,
    FROM_ZERO,
    POSITIVE,
    RATIO,
    SEED,
    SIDE,
    number,
    prefix,
)
from openatac.backends.base import Compute, ImagenetCompute
from openatac.distributed.workers import KVSTORES
from openatac.options import Section, inherited, names, option, values

IMAGENET_FOLDER = os.path.join('~', '.mxnet', 'datasets', 'imagenet')
PUBLISHED_CROP_RATIO = 0.875  # what the published script takes for 0

_positive = number(int, low=1, high=COUNT)
_from_zero = number(int, low=0, high=COUNT)
_share = number(float, low=0, below=1)


def _has_atac(settings: Mapping[str, Any]) -> bool:
    return settings.get('act_type') == 'ChaATAC'


def _has_attention(settings: Mapping[str, Any]) -> bool:
    return settings.get('attention') is not None


# ------------------------------------------------------------------------------------ network

@dataclass(frozen=True)
class Network(Section, title='network'):
    """The options of the gated networks that both hosts have."""

    act_type: str = option(
        'ChaATAC', 'relu, prelu, elu, selu, gelu, swish, mish, frelu, sine, xunit, ChaATAC or one of your '
        'own', network=True, result=True, named=True)
    attention: Optional[str] = option(
        None, "the block that ends each main path, such as se", shown='none', network=True, result=True,
        named=True)
    reduction: float = option(
        16, 'channel reduction ratio of --attention', parse=RATIO, network=True, result=True, added=True,
        matters=_has_attention)
    r: float = option(
        2, 'channel reduction ratio of ChaATAC', parse=RATIO, network=True, result=True, matters=_has_atac)
    act_layers: int = option(
        2, 'how many of the four stages, from the back, have --act-type; the others have relu',
        parse=number(int, low=0, high=4), network=True, result=True,
        matters=lambda settings: settings.get('act_type') != 'relu' or _has_attention(settings))
    summary: bool = option(False, 'print the layers and stop')


@dataclass(frozen=True)
class CifarNetwork(Network):
    """A pre-activation ResNet for images of 32 x 32 pixels, or another host by the name of a network."""

    model: str = option(
        'atac', 'atac, which the flags below describe, or a name such as cifar_resnet20_v2_swish or '
        'cifar_resnet18_v1_atac', network=True)
    host: Optional[str] = option(None, flags=(), network=True, result=True, added=True)
    blocks: Optional[int] = option(
        None, 'blocks per stage', parse=number(int, low=1, high=BLOCKS), shown='3, a ResNet-20', network=True,
        result=True, named=True)
    act_type: Optional[str] = inherited(  # type: ignore[assignment]
        Network, 'act_type', None, shown='ChaATAC')
    act_layers: int = inherited(Network, 'act_layers', 4)
    useGlobal: bool = option(
        False, 'pool globally in ChaATAC (SE as activation)', flags=('--useGlobal',), negatable=True,
        network=True, result=True, named=True, matters=_has_atac)
    useReLU: bool = option(
        False, "ChaATAC's inner ReLU", flags=('--useReLU',), negatable=True, network=True, result=True,
        matters=_has_atac)
    drop_rate: float = option(
        0.0, "dropout before a block's second convolution", parse=_share, network=True, result=True)


@dataclass(frozen=True)
class ImagenetNetwork(Network):
    """ResNet-50 for photographs."""

    r: float = inherited(Network, 'r', 4)  # as published; the published command says 2
    self_attention: Optional[str] = option(
        None, 'in the place of the 3x3 convolutions: aa, attention-augmented ones, or fa, stand-alone '
        'self-attention, which needs --last-gamma to start well', shown='none', network=True, result=True,
        named=True, added=True)
    num_classes: int = option(
        1000, 'outputs of the network', parse=number(int, low=2, high=CLASSES), network=True, result=True)
    use_gn: bool = option(
        False, 'GroupNorm in the place of BatchNorm', network=True, result=True)
    last_gamma: bool = option(
        False, "start the scale of each block's last BatchNorm at zero", network=True, result=True)
    syncbn: bool = option(False, 'BatchNorm over all GPUs of a machine', result=True)


# --------------------------------------------------------------------------------------- data

@dataclass(frozen=True)
class CifarData(Section, title='data'):
    """Small images that fit into memory."""

    dataset: Literal['cifar10', 'cifar100', 'digits'] = option(
        'cifar10', 'what to train on', network=True, result=True)
    data_dir: Optional[str] = option(None, 'where the files are, or are put', shown="Gluon's own folder")
    data_url: Optional[str] = option(
        None, 'a mirror of the CIFAR archives', shown='OPENATAC_DATA_URL, else their home')
    cifar100_labels: Literal['fine', 'coarse'] = option(
        'fine', 'the 100 classes, or the 20 superclasses that the published script reads', result=True,
        matters=lambda settings: settings.get('dataset') == 'cifar100')
    num_data_workers: int = option(
        0, 'accepted as published; batches are made by one thread, which is faster', parse=_from_zero,
        flags=('-j', '--num-data-workers', '--num_workers'))


@dataclass(frozen=True)
class ImagenetData(Section, title='data'):
    """Photographs in folders or record files."""

    data_dir: str = option(
        IMAGENET_FOLDER, 'folder with train/ and val/, a folder of photographs for each class in both')
    use_rec: bool = option(False, 'read record files instead of folders')
    rec_train: str = option(os.path.join(IMAGENET_FOLDER, 'rec', 'train.rec'), 'the training images')
    rec_train_idx: Optional[str] = option(None, 'their index', shown='the .idx beside it, or none')
    rec_val: str = option(os.path.join(IMAGENET_FOLDER, 'rec', 'val.rec'), 'the validation images')
    rec_val_idx: Optional[str] = option(None, 'their index', shown='the .idx beside it, or none')
    input_size: int = option(
        224, 'side of the square images that the network takes, in pixels',
        parse=number(int, low=32, high=SIDE), network=True, result=True)
    crop_ratio: float = option(
        PUBLISHED_CROP_RATIO, 'side of the centre crop, as a share of the short side, in validation; 0 means '
        f'{PUBLISHED_CROP_RATIO}', parse=number(float, low=CROP_RATIO, high=1, also=[0]), result=True)
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
    batch_size: int = option(128, 'images per device', parse=number(int, low=1, high=BATCH), result=True)
    num_epochs: int = option(400, 'passes over the training images', parse=_positive, result=True)
    lr: float = option(0.2, 'learning rate', parse=POSITIVE, result=True)
    momentum: float = option(0.9, "of Nesterov's method", parse=_share, result=True)
    wd: float = option(1e-4, 'weight decay', parse=FROM_ZERO, result=True)
    lr_decay: float = option(0.1, 'the factor of a decay', parse=POSITIVE, result=True)
    lr_decay_period: int = option(
        0, 'decay every so many epochs instead of at --lr-decay-epoch', parse=_from_zero, result=True)
    lr_decay_epoch: str = option('300,350', 'epochs at whose start the rate decays', result=True)
    seed: int = option(
        0, 'of initial values, order, augmentation and dropout', parse=number(int, low=0, high=SEED),
        network=True, result=True)


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
    no_wd: bool = option(False, 'no weight decay for biases, gammas and betas', result=True)
    lr_mode: Literal['step', 'poly', 'cosine'] = option('step', 'how the rate falls', result=True)
    warmup_lr: float = option(0.0, 'the rate at the start of the warm-up', parse=FROM_ZERO, result=True)
    warmup_epochs: int = option(0, 'over which the rate grows to --lr', parse=_from_zero, result=True)
    label_smoothing: bool = option(False, 'spread 0.1 of each label over all classes', result=True)
    mixup: bool = option(False, 'mix each batch with itself reversed', result=True)
    mixup_alpha: float = option(
        0.2, 'of the beta distribution that says how much', parse=POSITIVE, result=True, matters=_has_mixup)
    mixup_off_epoch: int = option(
        0, 'no mixup in the last so many epochs', parse=_from_zero, result=True, matters=_has_mixup)
    teacher: Optional[str] = option(
        None, "a network of GluonCV's zoo, or ours, to distil from", shown='none', result=True)
    teacher_params: Optional[str] = option(
        None, 'its parameters', metavar='FILE.params', shown="GluonCV's own", result=True,
        matters=_has_teacher)
    temperature: float = option(
        20.0, 'by which its answers are softened', parse=POSITIVE, result=True, matters=_has_teacher)
    hard_weight: float = option(
        0.5, "the labels' share of the loss beside the teacher's", parse=number(float, low=0, high=1),
        result=True, matters=_has_teacher)
    num_gpus: int = option(
        0, 'how many GPUs to use, from GPU 0 on; 0 is the CPU', parse=number(int, low=0, high=64))
    kvstore: str = option(
        'device', 'where gradients meet; dist_... for the workers of `openatac launch`',
        choices=lambda: KVSTORES)

    @property
    def gpus(self) -> str:
        """The GPUs as `CifarTraining` has them, such as '0,1'."""
        return ','.join(map(str, range(self.num_gpus)))


# ----------------------------------------------------------------------------- start and output

@dataclass(frozen=True)
class Start(Section, title='start'):
    """Where a run starts, and what is done instead of it."""

    initial: Optional[str] = option(
        None, 'torch: the network in the files of --write-initial; no MXNet is needed', metavar='PREFIX')
    write_initial: Optional[str] = option(
        None, 'write the network with its initial values for --seed and stop', metavar='PREFIX', parse=prefix)
    resume: Literal['auto', 'never'] = option(
        'never', 'auto: go on from the newest checkpoint in --save-dir, if there is one')
    evaluate: Optional[str] = option(None, 'only test these parameters', metavar='FILE.params')
    dry_run: Optional[int] = option(
        None, 'do N batches of each part, print what they take, leave only the log', metavar='N',
        parse=_positive)
    print_config: bool = option(
        False, 'print each setting and where its value comes from, and stop', added=True)


@dataclass(frozen=True)
class CifarStart(Start):
    """The parameters that a run on CIFAR starts from."""

    resume_from: Optional[str] = option(
        None, 'start from these parameters', metavar='FILE.params', network=True, result=True)

    @property
    def params(self) -> Optional[str]:
        """The parameter file to start from."""
        return self.resume_from


@dataclass(frozen=True)
class ImagenetStart(Start):
    """The epoch, parameters and optimizer states that a run on ImageNet starts from."""

    resume_epoch: int = option(
        0, 'begin at this epoch, with --resume-params and --resume-states', parse=_from_zero, result=True)
    resume_params: Optional[str] = option(
        None, 'start from these parameters', metavar='FILE.params', network=True, result=True)
    resume_states: Optional[str] = option(
        None, 'and these states of the optimizer', metavar='FILE.states', result=True)

    @property
    def params(self) -> Optional[str]:
        """The parameter file to start from."""
        return self.resume_params


@dataclass(frozen=True)
class Output(Section, title='output'):
    """What a run leaves, and whom it reports to."""

    save_dir: str = option('params', 'folder of this run')
    save_plot_dir: Optional[str] = option(None, 'folder of the history picture', shown='--save-dir')
    log_interval: int = option(50, 'batches between two readings of the metrics', parse=_positive)
    export: Optional[str] = option(
        None, 'at the end write the best network to PATH-symbol.json and PATH-0000.params', metavar='PATH',
        parse=prefix)
    tensorboard: Optional[str] = option(None, 'write scalars for TensorBoard', metavar='DIR')
    project: Optional[str] = option(None, 'Weights & Biases project')
    name: Optional[str] = option(None, 'Weights & Biases run')


@dataclass(frozen=True)
class CifarOutput(Output):
    """What a run on CIFAR leaves."""

    save_period: int = option(
        0, 'keep the parameters every so many epochs (best and last are always kept)', parse=_from_zero)


@dataclass(frozen=True)
class ImagenetOutput(Output):
    """What a run on ImageNet leaves."""

    log_interval: int = inherited(
        Output, 'log_interval', 50, help='batches between two readings of the metrics, 0 for none',
        parse=_from_zero)
    save_frequency: int = option(
        10, 'keep parameters and optimizer states every so many epochs', parse=_from_zero)
    logging_file: str = option('train_imagenet.log', 'the log, in the form of the published script')


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
    """{name: value} of all that the network and its initial values depend on."""
    found = values(config)
    return {name: found[name] for name in names(type(config), lambda known: known.network)}


def result_settings(config: Config, devices: str, data: str) -> dict[str, Any]:
    """{name: value} of all that the run's result depends on.

    devices : such as '2 x gpu'; data : a text that stands for the contents of the data sets
    """
    found = values(config)
    chosen = names(type(config), lambda known: known.result)
    if config.compute.engine == 'mxnet':  # whose checkpoints are older than the choice
        chosen = [name for name in chosen if name not in ('engine', 'tf32', 'compile')]
    return {**{name: found[name] for name in chosen}, 'devices': devices, 'data': data}
