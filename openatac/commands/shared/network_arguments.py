"""Arguments shared by the commands that run trained networks (predict, evaluate, serve)."""
from __future__ import annotations

import argparse
from typing import Any

from openatac.export.runtimes.base import RUNTIMES
from openatac.trained.manifest import Manifest


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add --model, which replaces EXPORT."""
    parser.add_argument('--model', metavar='NAME|RUN|FILE',
                        help='instead of EXPORT, a network by its name in openatac models, the folder of a '
                             'run, or a parameter file in it')


def add_engine(parser: argparse.ArgumentParser, default: str = 'static, or that of the file') -> None:
    """Add --engine; its value '' stands for the ``default`` that the help describes."""
    parser.add_argument('--engine', choices=list(RUNTIMES), metavar='NAME', default='',
                        help=f'the engine: {", ".join(RUNTIMES)} (default: {default})')


def add_labels(parser: Any, default: str = 'those in the export') -> None:
    """Add --labels to a parser or a group of one; see `with_labels`."""
    parser.add_argument('--labels', metavar='FILE|NAMES',
                        help='names of the classes, separated by commas, or a file with one per line, also '
                             f'as in "n01440764 tench, Tinca tinca" (default: {default})')


def with_labels(labels: str | None, manifest: Manifest) -> Manifest:
    """Return the manifest with the class names of --labels; raise FlagError if they are wrong."""
    from openatac.commands.shared.labels_flag import class_names_from_flag
    return manifest._replace(labels=class_names_from_flag(labels, manifest))
