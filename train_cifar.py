#!/usr/bin/env python3
"""Train a CIFAR network: ``openatac train-cifar`` under the name of the published script."""
from openatac.commands.shared.training_script import run_and_exit
from openatac.commands.train_cifar import TrainCifar

_script = TrainCifar('train_cifar.py')
main, parser = _script.main, _script.parser  # functions: of the arguments, and of none


if __name__ == '__main__':
    run_and_exit(main)
