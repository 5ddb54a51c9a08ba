#!/usr/bin/env python3
"""Train ResNet-50 on ImageNet: ``openatac train-imagenet`` under the name of the published script."""
from functools import partial

from openatac.commands import train, train_imagenet

main = partial(train_imagenet.main, prog='train_imagenet.py')
parser = partial(train_imagenet.parser, 'train_imagenet.py')

if __name__ == '__main__':
    train.run_and_exit(main)
