"""The sections of the config of train_cifar.py."""
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Optional

from openatac.backends.kvstore_names import SINGLE_PROCESS_STORE
from openatac.data.images.bad_images import BAD_SHARE
from openatac.data.small.built_in_datasets import BUILT_IN_DATASETS, SmallDatasetName, name_with_labels
from openatac.data.small.cifar_layouts import IMAGE_SIDE
from openatac.limits import MAX_SIDE
from openatac.options.declaration import (
    Role,
    Section,
    exported_option,
    inherited,
    location_option,
    network_option,
    only_with,
    option,
    result_option,
)
from openatac.options.flag_types import BLOCKS, COUNT, COUNT_FROM_ZERO, SHARE, comma_separated, number
from openatac.training.sections.shared import ATAC, Network, Output, Start, Training

BY_FLAGS = 'atac'  # the --model that other flags describe
NEEDS_OWN_IMAGES = '--dataset folder needs the folder or archive with train/ and test/'


@dataclass(frozen=True)
class CifarNetwork(Network):
    """A pre-activation ResNet for images of 32 x 32 pixels, or another host, chosen by a network's name."""

    model: str = option(
        BY_FLAGS, f'{BY_FLAGS}, described by the flags below, or a name such as cifar_resnet20_v2_swish or '
        'cifar_resnet18_v1_atac', roles=Role.NETWORK | Role.IN_ALL_FILES)
    host: Optional[str] = network_option(None, flags=(), roles=Role.MINOR)
    blocks: Optional[int] = network_option(
        None, 'blocks per stage', parse=BLOCKS, default_text='3, a ResNet-20',
        roles=Role.IN_NAME | Role.IN_ALL_FILES)
    channels: Optional[list[int]] = network_option(  # noqa: RUF009
        None, 'channels of the stem and the stages, such as 17,17,35,68',
        parse=comma_separated(COUNT, repeats=True), metavar='C,C,...',
        default_text="the host's, 16,16,32,64 in the ResNet-20", roles=Role.IN_NAME)
    act_type: Optional[str] = inherited(  # type: ignore[assignment]
        Network, 'act_type', None, default_text=ATAC)
    act_layers: int = inherited(Network, 'act_layers', 4)
    useGlobal: bool = exported_option(
        False, 'pool globally in ChaATAC (SE as activation)', flags=('--useGlobal',), negatable=True,
        roles=Role.IN_NAME | Role.IN_ALL_FILES, matters=only_with('act_type', ATAC))
    useReLU: bool = exported_option(
        False, "ChaATAC's inner ReLU, which the paper, the recipes and ChaATAC() have", flags=('--useReLU',),
        negatable=True, roles=Role.IN_ALL_FILES, matters=only_with('act_type', ATAC))
    drop_rate: float = network_option(
        0.0, "dropout before a block's second convolution", parse=SHARE,
        roles=Role.TRAINING_ONLY | Role.MINOR | Role.IN_ALL_FILES)

    self_attention: ClassVar[Optional[str]] = None  # only the ResNet-50 for photos has it


@dataclass(frozen=True)
class CifarData(Section, title='data'):
    """Small images that fit into memory."""

    dataset: SmallDatasetName = network_option(  # noqa: RUF009
        'cifar10', 'what to train on; folder means your own images, in train/CLASS/ and test/CLASS/ of '
        '--data-dir', roles=Role.IN_ALL_FILES)
    data_dir: Optional[str] = location_option(
        None, 'folder or archive of the images; CIFAR is downloaded to a folder that is missing or empty',
        default_text="Gluon's own folder")
    image_size: Optional[int] = network_option(
        None, 'side in pixels to which images of --dataset folder are resized, ignoring their aspect '
        'ratio', parse=number(int, low=8, high=MAX_SIDE), default_text=f'{IMAGE_SIDE}',
        matters=only_with('dataset', 'folder'))
    class_list: Optional[str] = location_option(
        None, 'file with the class names of --dataset folder, one per line, in the order of the labels',
        metavar='FILE', default_text='the class folders, sorted')
    class_names: Optional[list[str]] = network_option(  # noqa: RUF009
        None, flags=(), matters=only_with('dataset', 'folder'))
    max_bad_share: float = option(
        BAD_SHARE, 'maximum share of damaged images in --dataset folder; they are reported and '
        'left out', parse=SHARE)
    data_url: Optional[str] = location_option(
        None, 'a mirror of the CIFAR archives', default_text='OPENATAC_DATA_URL, else the original site')
    cifar100_labels: Literal['fine', 'coarse'] = result_option(
        'fine', 'the 100 classes, or the 20 superclasses that the published script reads',
        matters=only_with('dataset', 'cifar100'))
    num_data_workers: int = option(
        0, 'ignored, for compatibility with the published script: one thread prepares the batches, which is '
        'faster', parse=COUNT_FROM_ZERO,
        flags=('-j', '--num-data-workers', '--num_workers'), roles=Role.AFFECTS_ONLY_SPEED)

    test_name: ClassVar[str] = 'test'  # what logs and figures call the test images
    side_flag: ClassVar[str] = '--image-size'

    @property
    def has_own_images(self) -> bool:
        """Whether the images are your own, not a built-in data set."""
        return self.dataset == 'folder'

    @property
    def dataset_with_labels(self) -> str:
        """The name of a built-in data set with its label set, one of `NAMES_WITH_LABELS`."""
        return name_with_labels(self.dataset, self.cifar100_labels)

    @property
    def side(self) -> int:
        """The side of the images in pixels."""
        return self.image_size or IMAGE_SIDE

    @property
    def classes(self) -> int:
        """The number of classes; 100 for CIFAR-100 even with its 20 superclasses, as published."""
        if self.class_names is not None:
            return len(self.class_names)
        return BUILT_IN_DATASETS[self.dataset].outputs


@dataclass(frozen=True)
class CifarTraining(Training):
    """The recipe of the paper on CIFAR."""

    lr_mode: ClassVar[str] = 'step'
    no_wd: ClassVar[bool] = False
    kvstore: ClassVar[str] = SINGLE_PROCESS_STORE
    gpus: str = option('', 'GPUs to train on, such as 0,1', default_text='the CPU')


@dataclass(frozen=True)
class CifarStart(Start):
    """The parameters that a run on CIFAR starts from."""

    params_flag: ClassVar[str] = '--resume-from'
    resume_from: Optional[str] = network_option(
        None, 'start from these parameters, which must be for the same classes', metavar='FILE',
        roles=Role.MINOR | Role.IN_ALL_FILES)

    @property
    def params(self) -> Optional[str]:
        return self.resume_from


@dataclass(frozen=True)
class CifarOutput(Output):
    """The output of a run on CIFAR."""

    save_period: int = option(
        0, 'keep the parameters every N epochs (best and last are always kept)', metavar='N',
        parse=COUNT_FROM_ZERO)
