"""The command ``openatac`` (or ``python -m openatac``), which dispatches to one of its sub-commands."""
import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Optional

import openatac
from openatac.console import program, streams

# Each sub-command: the function that takes its arguments and returns the exit code, imported when it is
# called, and a description.
COMMANDS = {
    'demo': ('openatac.commands.demo:main', 'train, compare and export three units on handwritten digits'),
    'train-cifar': ('openatac.commands.train_cifar:command', 'train a CIFAR network'),
    'train-imagenet': ('openatac.commands.train_imagenet:command', 'train ResNet-50 on ImageNet'),
    'evaluate-imagenet': ('openatac.commands.evaluate_imagenet:main',
                          'compute the validation errors of trained parameters'),
    'pack': ('openatac.commands.pack:main', 'pack a folder of photographs into a record file, or check one'),
    'launch': ('openatac.commands.launch:main', 'start a training run of several processes or machines'),
    'export': ('openatac.commands.export:main', 'write a trained network as files that other programs load'),
    'predict': ('openatac.commands.predict:main', 'classify images by an exported network'),
    'bench': ('openatac.commands.bench:main', 'measure how fast each engine runs exported networks'),
    'costs': ('openatac.commands.costs:main', 'count parameters, multiply-adds and memory of networks'),
    'plan': ('openatac.commands.plan:main', 'estimate hours and cost of the published run from one speed'),
    'compare': ('openatac.commands.compare:main',
                'train units at several depths and seeds, and compare them'),
    'published': ('openatac.commands.published:main',
                  'compare the published numbers with our costs and runs'),
    'gates': ('openatac.commands.gates:main', 'measure what the gates of trained networks do'),
    'doctor': ('openatac.commands.doctor:main', 'report what is installed and how to get the rest'),
}


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run one sub-command and return its exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    name = f'openatac {arguments[0]}' if arguments and arguments[0] in COMMANDS else 'openatac'

    def fail(sentence: str, code: int) -> None:
        if name.startswith('openatac train-'):  # which may be one process of several
            from openatac.distributed.workers import end
            end(sentence, code)
        streams.print_to_stderr(f'{name}: {sentence}')

    return program.run(lambda: _call(arguments), fail)


def _call(arguments: Sequence[str]) -> Optional[int]:
    parser = argparse.ArgumentParser(
        prog='openatac', usage='openatac [-h] [--version] COMMAND ...',
        description='Attention as Activation in MXNet.',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='commands:\n' + '\n'.join(f'  {name:<17}  {text}' for name, (_, text) in COMMANDS.items()))
    parser.add_argument('--version', action='version', version=f'openatac {openatac.__version__}')
    parser.add_argument('command', metavar='COMMAND', choices=COMMANDS, help='one of the commands below')
    command = parser.parse_args(arguments[:1]).command
    module, function = COMMANDS[command][0].split(':')
    return getattr(importlib.import_module(module), function)(arguments[1:])
