#!/usr/bin/env python3
"""Train ResNet-50 on ImageNet: ``openatac train-imagenet`` under the name of the published script."""
from openatac.commands.train import run
from openatac.commands.train_imagenet import main, parser  # noqa: F401

if __name__ == '__main__':
    run(main)
