"""The command ``openatac`` (or ``python -m openatac``), which dispatches to one of its sub-commands."""
from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

import openatac
from openatac.console import program, streams

# {sub-command: description}. Each is a module of openatac.commands, imported when it is called; its ``main``
# takes the arguments and returns the exit code, or None for 0.
COMMANDS = {
    'demo': 'train, compare and export three units on handwritten digits',
    'train-cifar': 'train a CIFAR network',
    'train-imagenet': 'train ResNet-50 on ImageNet',
    'evaluate-imagenet': 'compute the validation errors of trained parameters',
    'pack': 'pack a folder of photographs into a record file, or check one',
    'launch': 'start a training run on several processes or machines',
    'export': 'write a trained network as files that other programs load',
    'evaluate': 'measure the accuracy of an exported network, class by class',
    'predict': 'classify images with an exported network',
    'bench': 'measure how fast each engine runs exported networks',
    'models': 'list networks by name, with trained weights and costs',
    'costs': 'count parameters, multiply-adds and memory of networks',
    'plan': 'estimate hours and cost of the published run from one speed',
    'compare': 'train units at several depths and seeds, and compare them',
    'published': 'compare the published numbers with our costs and runs',
    'gates': 'measure what the gates of trained networks do',
    'doctor': 'report what is installed and how to get the rest',
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command and return its exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    name = f'openatac {arguments[0]}' if arguments and arguments[0] in COMMANDS else 'openatac'

    def fail(message: str, code: int) -> None:
        if name.startswith('openatac train-'):  # which may be one process of several
            from openatac.distributed.workers import end_run
            end_run(message, code)
        else:
            streams.print_to_stderr(f'{name}: {message}')

    return program.run_command(lambda: _call(arguments), fail)


def _call(arguments: Sequence[str]) -> int | None:
    parser = argparse.ArgumentParser(
        prog='openatac', usage='openatac [-h] [--version] COMMAND ...',
        description='Attention as Activation in MXNet.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='commands:\n' + '\n'.join(f'  {name:<17}  {text}' for name, text in COMMANDS.items()))
    parser.add_argument('--version', action='version', version=f'openatac {openatac.__version__}')
    parser.add_argument('command', metavar='COMMAND', choices=COMMANDS, help='one of the commands below')
    command = parser.parse_args(arguments[:1]).command
    module = importlib.import_module(f'openatac.commands.{command.replace("-", "_")}')
    return module.main(arguments[1:])
