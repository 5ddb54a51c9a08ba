"""Flags shared by the commands that run trained networks (predict, evaluate, serve)."""
from __future__ import annotations

import argparse

from openatac.export.runtimes.base import RUNTIMES


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add --model, which replaces EXPORT."""
    parser.add_argument('--model', metavar='NAME|RUN|FILE',
                        help='instead of EXPORT, a network by its name in openatac models, the folder of a '
                             'run, or a parameter file in it')


def add_engine(parser: argparse.ArgumentParser, default: str = 'static, or that of the file') -> None:
    """Add --engine; its value '' stands for the ``default`` that the help describes."""
    parser.add_argument('--engine', choices=list(RUNTIMES), metavar='NAME', default='',
                        help=f'the engine: {", ".join(RUNTIMES)} (default: {default})')
