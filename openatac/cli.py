"""The command ``openatac`` (or ``python -m openatac``), which dispatches to one of its sub-commands."""
from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

import openatac
from openatac.commands import completion
from openatac.commands.shared.catalogue import COMMANDS, TRAINING, overview
from openatac.console import program, streams


def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command and return its exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    name = f'openatac {arguments[0]}' if arguments and arguments[0] in COMMANDS else 'openatac'

    def fail(message: str, code: int) -> None:
        if arguments and arguments[0] in TRAINING:  # it may be one process of several
            from openatac.distributed.member_group import end_run
            end_run(message, code)
        else:
            streams.print_to_stderr(f'{name}: {message}')

    return program.run_command(lambda: _call(arguments), fail)


def _call(arguments: Sequence[str]) -> int | None:
    parser = argparse.ArgumentParser(
        prog='openatac', usage='openatac [-h] [--version] COMMAND ...',
        description='Attention as Activation in MXNet and PyTorch.',
        formatter_class=argparse.RawDescriptionHelpFormatter, epilog=overview())
    parser.add_argument('--version', action='version', version=f'openatac {openatac.__version__}')
    parser.add_argument('command', metavar='COMMAND', choices=COMMANDS, help='one of the commands below')
    if completion.COMPLETION_VARIABLE in os.environ:
        arguments = completion.answer(parser)
    elif not arguments:
        parser.exit(2, parser.format_help())
    else:
        if arguments[0] not in COMMANDS:
            _suggest(parser, arguments[0])
        parser.parse_args(arguments[:1])
    # A module of openatac.commands, imported only when called; main returns the exit code, or None for 0.
    module = importlib.import_module(f'openatac.commands.{arguments[0].replace("-", "_")}')
    return module.main(arguments[1:])


def _suggest(parser: argparse.ArgumentParser, command: str) -> None:
    """Exit with an error that suggests the most similar command, if there is one."""
    import difflib
    for near in difflib.get_close_matches(command, COMMANDS, n=1):
        parser.error(f'there is no command {command!r}; did you mean {near}?')
