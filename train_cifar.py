#!/usr/bin/env python3
"""Train a CIFAR network: ``openatac train-cifar`` under the name of the published script."""
from typing import Optional

from openatac.commands.shared.training_script import run_and_exit
from openatac.commands.train_cifar import TrainCifar

parser = TrainCifar('train_cifar.py').parser  # returns the ArgumentParser


def main(argv: list[str]) -> Optional[int]:
    """Run the script with the arguments of a command line."""
    return TrainCifar('train_cifar.py').main(argv)


if __name__ == '__main__':
    run_and_exit(main)
