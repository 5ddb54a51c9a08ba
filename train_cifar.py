#!/usr/bin/env python3
"""Train a CIFAR network: ``openatac train-cifar`` under the name of the published script."""
from functools import partial

from openatac.commands import train, train_cifar

main = partial(train_cifar.main, prog='train_cifar.py')
parser = partial(train_cifar.parser, 'train_cifar.py')

if __name__ == '__main__':
    train.run_and_exit(main)
