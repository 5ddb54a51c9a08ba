"""The command line of train-cifar and train-imagenet, parsed with a recipe."""
from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from openatac.commands.shared.catalogue import command_parser
from openatac.options.command_line import ParsedFlags, add_section, from_arguments, show_defaults
from openatac.options.declaration import config_sections
from openatac.training.config import AnyConfig
from openatac.training.sections.cifar import BY_FLAGS


def parser_of(config_type: type, command: str, description: str | None, prog: str) -> argparse.ArgumentParser:
    """Return the parser of all flags of a config, for a command or the script ``prog``."""
    # Flags must be written in full, since parse() finds --recipe by its full name. A usage line with all
    # flags would make an error fill the screen.
    parser = command_parser(command, description, prog=prog, usage='%(prog)s [flags]', allow_abbrev=False)
    for section in config_sections(config_type).values():
        add_section(parser, section)
    return parser


def parse(parser: argparse.ArgumentParser, config_type: type[AnyConfig],
          recipes: Mapping[str, Mapping[str, Any]], argv: list[str]) -> ParsedFlags[AnyConfig]:
    """Return the `ParsedFlags` of a command line; a recipe replaces the defaults, also in the help."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument('--recipe')
    early.add_argument('--model', default=BY_FLAGS)
    known = early.parse_known_args(argv)[0]
    recipe: dict[str, Any] = {}
    if known.recipe is not None:
        if known.recipe not in recipes:
            parser.error(f'argument --recipe: there is no recipe {known.recipe!r}; choose from '
                         f'{", ".join(recipes)}')
        recipe = dict(recipes[known.recipe])
        if known.model != BY_FLAGS:  # a network's name gives its depth and unit
            recipe.update(blocks=None, act_type=None)
    show_defaults(parser, config_type, recipe)
    return from_arguments(config_type, parser.parse_args(argv), recipe, str(known.recipe))
