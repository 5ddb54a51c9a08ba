"""The sections of the config of train_cifar.py."""
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Optional

from openatac.limits import COUNT_FROM_ZERO, MAX_BLOCKS, SHARE, number
from openatac.options import Section, inherited, network_option, only_with, option, result_option
from openatac.training.sections.shared import ATAC, Network, Output, Start, Training


@dataclass(frozen=True)
class CifarNetwork(Network):
    """A pre-activation ResNet for images of 32 x 32 pixels, or another host by the name of a network."""

    model: str = option(
        'atac', 'atac, described by the flags below, or a name such as cifar_resnet20_v2_swish or '
        'cifar_resnet18_v1_atac', network=True)
    host: Optional[str] = network_option(None, flags=(), added=True)
    blocks: Optional[int] = network_option(
        None, 'blocks per stage', parse=number(int, low=1, high=MAX_BLOCKS), shown='3, a ResNet-20',
        named=True)
    act_type: Optional[str] = inherited(  # type: ignore[assignment]
        Network, 'act_type', None, shown='ChaATAC')
    act_layers: int = inherited(Network, 'act_layers', 4)
    useGlobal: bool = network_option(
        False, 'pool globally in ChaATAC (SE as activation)', flags=('--useGlobal',), negatable=True,
        named=True, matters=only_with('act_type', ATAC))
    useReLU: bool = network_option(
        False, "ChaATAC's inner ReLU, which the paper, the recipes and ChaATAC() have", flags=('--useReLU',),
        negatable=True, matters=only_with('act_type', ATAC))
    drop_rate: float = network_option(0.0, "dropout before a block's second convolution", parse=SHARE)


@dataclass(frozen=True)
class CifarData(Section, title='data'):
    """Small images that fit into memory."""

    dataset: Literal['cifar10', 'cifar100', 'digits'] = network_option('cifar10', 'what to train on')
    data_dir: Optional[str] = option(
        None, 'folder of the files, which are downloaded if missing', shown="Gluon's own folder")
    data_url: Optional[str] = option(
        None, 'a mirror of the CIFAR archives', shown='OPENATAC_DATA_URL, else their home')
    cifar100_labels: Literal['fine', 'coarse'] = result_option(
        'fine', 'the 100 classes, or the 20 superclasses that the published script reads',
        matters=only_with('dataset', 'cifar100'))
    num_data_workers: int = option(
        0, 'accepted as published; one thread makes the batches, which is faster', parse=COUNT_FROM_ZERO,
        flags=('-j', '--num-data-workers', '--num_workers'))


@dataclass(frozen=True)
class CifarTraining(Training):
    """The recipe of the paper on CIFAR."""

    gpus: str = option('', 'GPUs to train on, such as 0,1', shown='the CPU')


@dataclass(frozen=True)
class CifarStart(Start):
    """The parameters that a run on CIFAR starts from."""

    params_flag: ClassVar[str] = '--resume-from'
    resume_from: Optional[str] = network_option(None, 'start from these parameters', metavar='FILE')

    @property
    def params(self) -> Optional[str]:
        """The parameter file to start from."""
        return self.resume_from


@dataclass(frozen=True)
class CifarOutput(Output):
    """The output of a run on CIFAR."""

    save_period: int = option(
        0, 'keep the parameters every N epochs (best and last are always kept)', metavar='N',
        parse=COUNT_FROM_ZERO)
