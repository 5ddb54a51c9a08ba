r"""Train ResNet-50 with ATAC on ImageNet, by the recipe of "Attention as Activation".

The published command, for two GPUs (--recipe imagenet_atac is the same):

    python train_imagenet.py --mode hybrid --lr 0.075 --lr-mode cosine --num-epochs 160 \
        --batch-size 128 --num-gpus 2 -j 48 --warmup-epochs 5 --dtype float16 --use-rec --last-gamma \
        --no-wd --label-smoothing --save-dir params_resnet50_v1b_ChaATAC_2 \
        --logging-file resnet50_v1b_ChaATAC_2.log --r 2 --act-layers 2

On several GPUs and machines: docs/how-to/several-machines.md.
"""
from __future__ import annotations

import argparse
import shlex
from typing import Any, cast

from openatac.commands.shared import training_script
from openatac.training.config import ImagenetConfig
from openatac.training.recipes import IMAGENET

# Flags that the published script accepted and ignored.
NOTHING_HERE = {
    '--use_se': 'this network has no SE branch, and neither had the published one; leave it out',
    '--batch-norm': 'it is for VGG networks, and a ResNet always has BatchNorm; leave it out',
    '--use-pretrained': 'start from a file with --pretrained',
}


class Refuse(argparse.Action):
    """Ends the program with the sentence in ``const``."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any,
                 option_string: str | None = None) -> None:
        parser.error(f'argument {option_string}: {self.const}')


PROG = 'openatac train-imagenet'


def parser(prog: str = PROG) -> argparse.ArgumentParser:
    """Return the parser of the command's flags."""
    p = training_script.parser_of(ImagenetConfig, 'train-imagenet', __doc__, prog)
    for flag, meaning in NOTHING_HERE.items():
        p.add_argument(flag, nargs=0, help=argparse.SUPPRESS, action=Refuse, const=meaning)
    return p


def check(config: ImagenetConfig) -> None:
    """Check as `training_script.check` does, and what only this command needs."""
    training_script.check(config)
    epochs = config.training.num_epochs
    for flag, value, most in (('warmup-epochs', config.training.warmup_epochs, epochs),
                              ('mixup-off-epoch', config.training.mixup_off_epoch, epochs),
                              ('resume-epoch', config.start.resume_epoch, epochs - 1)):
        if value > most:
            raise ValueError(f'argument --{flag}: {value} is more than the {most} that --num-epochs {epochs} '
                             'allows')
    if config.training.teacher_params and not config.training.teacher:
        raise ValueError('argument --teacher-params: --teacher must name the network that they are of')
    if config.compute.loss_scale and config.compute.dtype != 'float16':
        raise ValueError('argument --loss-scale: it is for --dtype float16; leave it out')
    if config.compute.dtype == 'float16' and config.training.kvstore == 'dist_async':
        raise ValueError('argument --kvstore: dist_async has no loss scale for float16; use dist_sync')


def main(argv: list[str], prog: str = PROG) -> int | None:
    """Run the command; see the module."""
    p = parser(prog)
    given = training_script.begin(p, ImagenetConfig, IMAGENET, argv, check)
    code = training_script.train_in_processes(given.config)
    if code is not None:
        return code
    cluster = training_script.join_cluster(p, given.config)
    given = training_script.with_described_network(p, given)
    config: ImagenetConfig = given.config
    from openatac.training import datasets
    from openatac.training.runs import imagenet
    if not (training_script.only_makes_network(config) or config.start.initial):
        given = given._replace(config=datasets.with_classes(config))
    made = training_script.make_network(p, given)
    if made is None:
        return None
    net, name, config = cast('tuple[Any, str, ImagenetConfig]', made)
    command = shlex.join([*p.prog.split(), *argv])
    if config.start.evaluate:
        imagenet.evaluate(net, config, command)
        return None
    imagenet.train_network(net, name, config, cluster, command)
    training_script.close_cluster(cluster, config)
    return None
