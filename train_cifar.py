#!/usr/bin/env python3
"""Train a CIFAR network: ``openatac train-cifar`` under the name of the published script."""
from functools import partial

from openatac.commands import train_cifar
from openatac.commands.shared import training_script

main = partial(train_cifar.main, prog='train_cifar.py')
parser = partial(train_cifar.parser, 'train_cifar.py')

if __name__ == '__main__':
    training_script.run_and_exit(main)
