"""The sections of the config of train_imagenet.py."""
from __future__ import annotations

import os
from dataclasses import dataclass
from typing import ClassVar, Literal, Optional

from openatac.backends.kvstore_names import KVSTORES, SINGLE_PROCESS_STORE
from openatac.data.images.bad_images import BAD_SHARE
from openatac.image_size import Size
from openatac.limits import MAX_CLASSES, MAX_WORKERS, MIN_CROP_RATIO
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
    schedule_option,
)
from openatac.options.flag_types import (
    COUNT_FROM_ZERO,
    FRACTION,
    FROM_ZERO,
    POSITIVE,
    SHARE,
    ImageSize,
    number,
)
from openatac.training.sections.shared import Network, Output, Start, Training

IMAGENET_FOLDER = os.path.join('~', '.mxnet', 'datasets', 'imagenet')
IMAGENET_CLASSES = 1000  # if the images do not determine the number
PUBLISHED_CROP_RATIO = 0.875  # what the published script uses for 0
SMOOTHING = 0.1  # the published script's


@dataclass(frozen=True)
class ImagenetNetwork(Network):
    """ResNet-50 for photographs."""

    r: float = inherited(
        Network, 'r', 4, help="channel reduction ratio of ChaATAC; the paper and the recipe use 2, and 4 is "
        "the published script's default")
    self_attention: Optional[str] = network_option(
        None, 'replacement of the 3x3 convolutions: aa (attention-augmented convolutions) or fa '
        '(stand-alone self-attention, which needs --last-gamma to start well)', default_text='none',
        roles=Role.IN_NAME)
    num_classes: Optional[int] = network_option(
        None, 'outputs of the network', default_text='the number of classes in the training images',
        parse=number(int, low=2, high=MAX_CLASSES), roles=Role.IN_ALL_FILES)
    use_gn: bool = exported_option(
        False, 'GroupNorm instead of BatchNorm', roles=Role.IN_ALL_FILES)
    last_gamma: bool = network_option(
        False, "start the scale of each block's last BatchNorm at zero",
        roles=Role.TRAINING_ONLY | Role.IN_ALL_FILES)

    # The published ResNet-50 is the only host, and has its own depth and channels.
    host: ClassVar[Optional[str]] = None
    blocks: ClassVar[Optional[int]] = None
    channels: ClassVar[Optional[list[int]]] = None

    @property
    def classes(self) -> int:
        """How many outputs the network has."""
        return self.num_classes or IMAGENET_CLASSES

    @property
    def useGlobal(self) -> bool:
        """Fixed: the published ResNet-50 has ATAC's local gate."""
        return False

    @property
    def useReLU(self) -> bool:
        """Fixed: ATAC's inner ReLU, as in the paper."""
        return True


@dataclass(frozen=True)
class ImagenetData(Section, title='data'):
    """Photographs in folders or record files."""

    data_dir: str = location_option(
        IMAGENET_FOLDER, 'folder with train/ and val/, each with a folder of photographs per class')
    train_labels: Optional[str] = location_option(
        None, 'list of the files in train/ and their labels (.csv, .txt or .lst) if it has no class folders',
        metavar='FILE', default_text='none')
    val_labels: Optional[str] = location_option(
        None, 'the same for val/', metavar='FILE', default_text='val_annotations.txt in val/, or none')
    class_list: Optional[str] = location_option(
        None, 'file with the class names, one per line, in the order of the labels', metavar='FILE',
        default_text='the class folders, sorted')
    class_names: Optional[list[str]] = option(None, flags=())  # noqa: RUF009 (a run keeps them)
    use_rec: bool = location_option(False, 'read record files instead of folders', negatable=True)
    rec_train: str = location_option(
        os.path.join(IMAGENET_FOLDER, 'rec', 'train.rec'), 'training record file')
    rec_train_idx: Optional[str] = location_option(
        None, 'its index', default_text='the .idx next to it, or none')
    rec_val: str = location_option(
        os.path.join(IMAGENET_FOLDER, 'rec', 'val.rec'), 'validation record file')
    rec_val_idx: Optional[str] = location_option(
        None, 'its index', default_text='the .idx next to it, or none')
    input_size: Size = network_option(  # noqa: RUF009
        224, 'size of the input images in pixels, a side or HEIGHTxWIDTH, such as 160x320',
        parse=ImageSize(low=32), roles=Role.IN_ALL_FILES)
    crop_ratio: float = result_option(
        PUBLISHED_CROP_RATIO, 'side of the centre crop in validation, as a share of the short side; 0 '
        f'means {PUBLISHED_CROP_RATIO}', parse=number(float, low=MIN_CROP_RATIO, high=1, also=[0]))
    num_workers: int = option(
        4, 'worker processes that read photographs, plus the same number for validation; 0 for none',
        parse=number(int, low=0, high=MAX_WORKERS),
        flags=('-j', '--num-data-workers', '--num_workers'), roles=Role.AFFECTS_ONLY_SPEED)
    max_bad_share: float = option(
        BAD_SHARE, 'maximum share of damaged photographs; they are reported and left out',
        parse=SHARE)

    test_name: ClassVar[str] = 'validation'  # what logs and figures call the test images
    side_flag: ClassVar[str] = '--input-size'

    @property
    def effective_crop_ratio(self) -> float:
        """The share of the short side that validation crops."""
        return self.crop_ratio or PUBLISHED_CROP_RATIO


@dataclass(frozen=True)
class ImagenetTraining(Training):
    """The recipe of the paper on ImageNet, and its published options."""

    batch_size: int = inherited(Training, 'batch_size', 32)
    num_epochs: int = inherited(Training, 'num_epochs', 3)
    lr: float = inherited(Training, 'lr', 0.1)
    lr_decay: float = inherited(Training, 'lr_decay', 0.1, matters=only_with('lr_mode', 'step'))
    lr_decay_period: int = inherited(Training, 'lr_decay_period', 0, matters=only_with('lr_mode', 'step'))
    lr_decay_epoch: str = inherited(Training, 'lr_decay_epoch', '40,60', matters=only_with('lr_mode', 'step'))
    no_wd: bool = result_option(False, 'no weight decay for biases, gammas and betas')
    lr_mode: Literal['step', 'poly', 'cosine'] = schedule_option('step', 'learning-rate decay')
    warmup_lr: float = schedule_option(0.0, 'learning rate at the start of the warm-up', parse=FROM_ZERO)
    warmup_epochs: int = schedule_option(
        0, 'epochs over which the learning rate grows to --lr', parse=COUNT_FROM_ZERO)
    label_smoothing: bool = result_option(False, f'spread {SMOOTHING} of each label over all classes')
    mixup: bool = result_option(False, 'mix each batch with itself reversed')
    mixup_alpha: float = result_option(
        0.2, 'alpha of the beta distribution of mixing weights', parse=POSITIVE, matters=only_with('mixup'))
    mixup_off_epoch: int = schedule_option(
        0, 'no mixup in the last N epochs', metavar='N', parse=COUNT_FROM_ZERO, matters=only_with('mixup'))
    teacher: Optional[str] = result_option(
        None, "teacher network to distil from, GluonCV's or ours", default_text='none')
    teacher_params: Optional[str] = result_option(
        None, "the teacher's parameters", metavar='FILE', default_text="GluonCV's own",
        matters=only_with('teacher'))
    temperature: float = result_option(
        20.0, "temperature that softens the teacher's outputs", parse=POSITIVE, matters=only_with('teacher'))
    hard_weight: float = result_option(
        0.5, "the labels' share of the loss; the teacher has the rest", parse=FRACTION,
        matters=only_with('teacher'))
    freeze: Optional[str] = inherited(
        Training, 'freeze', None,
        help="do not train the parameters whose names match, such as 'layer[12].*'; commas separate several "
        'patterns')
    num_gpus: int = option(
        0, 'number of GPUs to use, from GPU 0 on; 0 means the CPU', parse=number(int, low=0, high=64))
    kvstore: str = option(
        SINGLE_PROCESS_STORE, "MXNet's key-value store for summing gradients; dist_... for `openatac launch`",
        choices=lambda: KVSTORES, roles=Role.INEXACTLY_CHANGEABLE)

    @property
    def gpus(self) -> str:
        """The GPUs as in `CifarTraining`, such as '0,1'."""
        return ','.join(map(str, range(self.num_gpus)))


@dataclass(frozen=True)
class ImagenetStart(Start):
    """The epoch, parameters and optimizer states that a run on ImageNet starts from."""

    params_flag: ClassVar[str] = '--resume-params'
    resume_epoch: int = result_option(
        0, 'begin at this epoch, with --resume-params and --resume-states', parse=COUNT_FROM_ZERO)
    resume_params: Optional[str] = network_option(
        None, 'start from these parameters, which must be for the same classes', metavar='FILE',
        roles=Role.IN_ALL_FILES)
    resume_states: Optional[str] = result_option(
        None, 'start from these optimizer states', metavar='FILE.states')

    @property
    def params(self) -> Optional[str]:
        return self.resume_params


@dataclass(frozen=True)
class ImagenetOutput(Output):
    """The output of a run on ImageNet."""

    log_interval: int = inherited(
        Output, 'log_interval', 50, help='batches between readings of the metrics, 0 for none',
        parse=COUNT_FROM_ZERO)
    save_frequency: int = option(
        10, 'keep parameters and optimizer states every N epochs', metavar='N', parse=COUNT_FROM_ZERO)
    logging_file: str = option('train_imagenet.log', 'the log, in the format of the published script')
