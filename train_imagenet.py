#!/usr/bin/env python3
"""Train ResNet-50 on ImageNet: ``openatac train-imagenet`` under the name of the published script."""
from functools import partial

from openatac.commands import train_imagenet
from openatac.commands.shared import training_script

main = partial(train_imagenet.main, prog='train_imagenet.py')
parser = partial(train_imagenet.parser, 'train_imagenet.py')

if __name__ == '__main__':
    training_script.run_and_exit(main)
