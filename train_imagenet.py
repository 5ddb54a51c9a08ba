#!/usr/bin/env python3
"""Train ResNet-50 on ImageNet: ``openatac train-imagenet`` under the name of the published script."""
from openatac.commands.shared.training_script import run_and_exit
from openatac.commands.train_imagenet import TrainImagenet

_script = TrainImagenet('train_imagenet.py')
main, parser = _script.main, _script.parser  # functions: of the arguments, and of none


if __name__ == '__main__':
    run_and_exit(main)
