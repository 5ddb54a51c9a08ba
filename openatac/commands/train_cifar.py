r"""Train a ResNet with ATAC or another unit on CIFAR, digits or your own images.

--recipe cifar10_atac or cifar100_atac applies the settings of "Attention as Activation"; without a recipe,
the defaults are those of the published script. The published command, with the labels that its script read:

    python train_cifar.py --gpus 0 --num-epochs 400 --mode hybrid -j 32 --batch-size 128 --wd 0.0001 \
        --lr 0.2 --lr-decay 0.1 --lr-decay-epoch 300,350 --dataset cifar100 --cifar100-labels coarse \
        --model atac --act-type ChaATAC --useReLU --r 2 --blocks 3
"""
from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from openatac.backends.process_group import ProcessGroup
from openatac.commands.shared.training_script import TrainingScript
from openatac.options.command_line import ParsedFlags
from openatac.options.declaration import with_changes
from openatac.training.config import CifarConfig
from openatac.training.recipes import CIFAR

if TYPE_CHECKING:
    from openatac.training.datasets.cifar import BackgroundReader
    from openatac.training.networks.build import BuiltNetwork
    from openatac.training.runs.cifar import CifarRun


class TrainCifar(TrainingScript[CifarConfig]):
    """The command ``openatac train-cifar`` and the script train_cifar.py."""

    name, config_type, recipes = 'train-cifar', CifarConfig, CIFAR
    _reader: BackgroundReader | None = None  # set by `begin_reading`

    def with_classes(self, flags: ParsedFlags[CifarConfig]) -> ParsedFlags[CifarConfig]:
        from openatac.training.datasets.cifar import own_class_names
        config, data = flags.config, flags.config.data
        if config.start.initial or not data.has_own_images or data.class_names is not None:
            return flags
        return dataclasses.replace(flags, config=with_changes(
            config, class_names=own_class_names(config), image_size=data.side))

    def begin_reading(self, config: CifarConfig) -> None:
        self._reader = _reader_for(config)

    def make_run(self, built: BuiltNetwork[CifarConfig], command: str, process_group: ProcessGroup
                 ) -> CifarRun:
        from openatac.training.runs.cifar import CifarRun
        return CifarRun(built, command, process_group, self._reader or _reader_for(built.config))


def _reader_for(config: CifarConfig) -> BackgroundReader:
    """Begin to read the images of a run: to evaluate, only the test images."""
    from openatac.training.datasets.cifar import BackgroundReader
    return BackgroundReader(config.data, only_test=bool(config.start.evaluate))


def main(argv: list[str]) -> int | None:
    """Run ``openatac train-cifar``; see the module."""
    return TrainCifar().main(argv)
