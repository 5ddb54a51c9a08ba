r"""Train a CIFAR network with ATAC or another activation, by the recipe of "Attention as Activation".

The published command works unchanged:

    python train_cifar.py --gpus 0 --num-epochs 400 --mode hybrid -j 32 --batch-size 128 --wd 0.0001 \
        --lr 0.2 --lr-decay 0.1 --lr-decay-epoch 300,350 --dataset cifar100 --model atac \
        --act-type ChaATAC --useReLU --r 2 --blocks 3
"""
from __future__ import annotations

import argparse
import shlex
from typing import Any, cast

from openatac.commands.shared import training_script
from openatac.flags import flag_of
from openatac.options import changed
from openatac.training.config import CifarConfig
from openatac.training.recipes import CIFAR

PROG = 'openatac train-cifar'


def parser(prog: str = PROG) -> argparse.ArgumentParser:
    """Return the parser of the command's flags."""
    return training_script.parser_of(CifarConfig, 'train-cifar', __doc__, prog)


def check(config: CifarConfig) -> None:
    """Check as `training_script.check` does, and what only this command needs."""
    training_script.check(config)
    data = config.data
    if data.dataset != 'folder':
        for name in ('image_size', 'class_list'):
            if getattr(data, name) is not None:
                raise ValueError(f'argument {flag_of(name)}: it is for --dataset folder; leave it out')
    elif not data.data_dir and not config.start.evaluate:  # a run knows where its images were
        raise ValueError('argument --data-dir: --dataset folder needs the folder or archive with train/ and '
                         'test/; name it')


def main(argv: list[str], prog: str = PROG) -> int | None:
    """Run the command; see the module."""
    p = parser(prog)
    given = training_script.begin(p, CifarConfig, CIFAR, argv, check)
    code = training_script.train_in_processes(given.config)
    if code is not None:
        return code
    cluster = training_script.join_cluster(p, given.config)
    given = training_script.with_described_network(p, given)
    from openatac.training.datasets import BackgroundReader, folder_classes
    config: CifarConfig = given.config
    if config.data.dataset == 'folder' and config.data.class_names is None and not config.start.initial:
        config = changed(config, class_names=folder_classes(config), image_size=config.data.side)
        given = given._replace(config=config)
    splits = (False,) if config.start.evaluate else (True, False)
    reads_later = training_script.only_makes_network(config) or config.start.initial
    reader = None if reads_later else BackgroundReader(config.data, splits)
    made = training_script.make_network(p, given)
    if made is None:
        return None
    net, name, config = cast('tuple[Any, str, CifarConfig]', made)
    reader = reader or BackgroundReader(config.data, splits)  # of the data set that --initial names
    from openatac.training.runs import cifar
    if config.start.evaluate:
        cifar.evaluate(net, config, reader)
        return None
    cifar.train_network(net, name, config, reader, shlex.join([*p.prog.split(), *argv]), cluster)
    training_script.close_cluster(cluster, config)
    return None
