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
    'demo': ('openatac.study.demo:main', 'train, compare and export three units on handwritten digits'),
    'evaluate-imagenet': ('openatac.training.evaluate_imagenet:main',
                          'the validation errors of trained parameters'),
    'pack': ('openatac.commands.pack:main', 'pack a folder of photographs into a record file, or check one'),
    'launch': ('openatac.commands.launch:main', 'start a training run of several processes or machines'),
    'export': ('openatac.export.export:main', 'a trained network as files that other programs load'),
    'predict': ('openatac.export.predict:main', 'what an exported network sees in images'),
    'bench': ('openatac.study.bench.bench:main', 'how fast each engine runs exported networks'),
    'costs': ('openatac.study.costs.table:main', 'parameters, multiply-adds and memory of networks'),
    'plan': ('openatac.study.plan:main', 'time and cost of the published run, from one measured speed'),
    'compare': ('openatac.study.comparison.compare:main',
                'train units at several depths and seeds, and compare them'),
    'published': ('openatac.study.published.table:main', 'the published numbers beside our costs and runs'),
    'gates': ('openatac.study.gates.gates:main', 'statistics of the gates of trained networks'),
    'doctor': ('openatac.commands.doctor:main', 'what is installed, what is missing and how to get it'),
}


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run one sub-command and return its exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    name = f'openatac {arguments[0]}' if arguments and arguments[0] in COMMANDS else 'openatac'
    return program.run(lambda: _call(arguments),
                       lambda sentence, code: streams.print_to_stderr(f'{name}: {sentence}'))


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
