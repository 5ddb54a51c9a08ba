#!/usr/bin/env python3
"""Train a CIFAR network: ``openatac train-cifar`` under the name of the published script."""
from openatac.commands.train import run
from openatac.commands.train_cifar import main, parser  # noqa: F401

if __name__ == '__main__':
    run(main)
