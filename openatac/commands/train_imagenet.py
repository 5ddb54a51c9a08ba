r"""Train ResNet-50 with ATAC or another unit on ImageNet or other photographs.

--recipe imagenet_atac applies the settings of "Attention as Activation"; without a recipe, the defaults are
those of the published script.

The published command, for two GPUs:

    python train_imagenet.py --mode hybrid --lr 0.075 --lr-mode cosine --num-epochs 160 \
        --batch-size 128 --num-gpus 2 -j 48 --warmup-epochs 5 --dtype float16 --use-rec --last-gamma \
        --no-wd --label-smoothing --save-dir params_resnet50_v1b_ChaATAC_2 \
        --logging-file resnet50_v1b_ChaATAC_2.log --r 2 --act-layers 2

On several machines: see `openatac launch --help`.
"""
from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any

from openatac.backends.process_group import ProcessGroup
from openatac.commands.shared.training_script import TrainingScript
from openatac.options.command_line import ParsedFlags
from openatac.training.config import ImagenetConfig
from openatac.training.networks.network_from_flags import only_makes_network
from openatac.training.recipes import IMAGENET

if TYPE_CHECKING:
    from openatac.training.networks.build import BuiltNetwork
    from openatac.training.runs.imagenet import ImagenetRun

# The published script accepts and ignores these flags. Here they are errors: a user would expect an effect.
REFUSED_PUBLISHED_FLAGS = {
    '--use_se': 'this network has no SE branch, and neither did the published one; leave it out',
    '--batch-norm': 'it is for VGG networks, and a ResNet always has BatchNorm; leave it out',
    '--use-pretrained': 'start from a file with --pretrained',
}


class RefusedFlag(argparse.Action):
    """Ends the program with the sentence in ``const``."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any,
                 option_string: str | None = None) -> None:
        parser.error(f'argument {option_string}: {self.const}')


class TrainImagenet(TrainingScript[ImagenetConfig]):
    """The command ``openatac train-imagenet`` and the script train_imagenet.py."""

    name, config_type, recipes = 'train-imagenet', ImagenetConfig, IMAGENET

    def parser(self) -> argparse.ArgumentParser:
        p = super().parser()
        for flag, advice in REFUSED_PUBLISHED_FLAGS.items():
            p.add_argument(flag, nargs=0, help=argparse.SUPPRESS, action=RefusedFlag, const=advice)
        return p

    def with_classes(self, flags: ParsedFlags[ImagenetConfig]) -> ParsedFlags[ImagenetConfig]:
        from openatac.training.datasets.imagenet import with_classes
        config = flags.config
        if only_makes_network(config) or config.start.initial:
            return flags
        return dataclasses.replace(flags, config=with_classes(config))

    def make_run(self, built: BuiltNetwork[ImagenetConfig], command: str, process_group: ProcessGroup
                 ) -> ImagenetRun:
        from openatac.training.runs.imagenet import ImagenetRun
        return ImagenetRun(built, command, process_group)


def main(argv: list[str]) -> int | None:
    """Run ``openatac train-imagenet``; see the module."""
    return TrainImagenet().main(argv)
