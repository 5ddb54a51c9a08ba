"""Print shell code that completes the commands, flags and file names of openatac.

Append it to the file that your shell reads when it starts. It needs the extra completion (argcomplete).
"""
from __future__ import annotations

import argparse
import os

from openatac.commands.shared.catalogue import COMMANDS, command_parser

COMPLETION_VARIABLE = '_ARGCOMPLETE'  # set by the shell's code: which word of the line is the program, from 1


def main(argv: list[str]) -> int:
    """Run ``openatac completion``; see the module."""
    p = command_parser('completion', __doc__)
    p.add_argument('shell', choices=('bash', 'zsh', 'fish'), help='the shell: %(choices)s', metavar='SHELL')
    shell = p.parse_args(argv).shell
    import argcomplete
    print(argcomplete.shellcode(['openatac'], shell=shell))
    return 0


def answer(parser: argparse.ArgumentParser) -> list[str]:
    """Answer a shell that asks how to complete its line, and end the process.

    If the line already contains a command, return [the command] instead; its own parser will answer when
    asked to parse.
    """
    import argcomplete
    from argcomplete.lexers import split_line
    words = split_line(os.environ['COMP_LINE'], int(os.environ['COMP_POINT']))[3]
    if len(words) < 2 or words[1] not in COMMANDS:
        argcomplete.autocomplete(parser)
    os.environ[COMPLETION_VARIABLE] = '2'
    for method in ('parse_args', 'parse_intermixed_args'):
        setattr(argparse.ArgumentParser, method, lambda parser, *_: argcomplete.autocomplete(parser))
    return [words[1]]
