#!/usr/bin/env python3
"""Train ResNet-50 on ImageNet: ``openatac train-imagenet`` under the name of the published script."""
from typing import Optional

from openatac.commands.shared.training_script import run_and_exit
from openatac.commands.train_imagenet import TrainImagenet

parser = TrainImagenet('train_imagenet.py').parser  # returns the ArgumentParser


def main(argv: list[str]) -> Optional[int]:
    """Run the script with the arguments of a command line."""
    return TrainImagenet('train_imagenet.py').main(argv)


if __name__ == '__main__':
    run_and_exit(main)
