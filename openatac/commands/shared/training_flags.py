"""The flags that train-cifar and train-imagenet share: parsing with a recipe, and checks."""
from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from typing import Any

from openatac.backends.devices import parse_gpus
from openatac.backends.registered_backends import check_backend
from openatac.commands.shared.catalogue import command_parser
from openatac.errors import FlagError, ParameterFileError
from openatac.limits import FLOAT32_MAX, FLOAT32_MIN
from openatac.options.command_line import ParsedFlags, add_section, flag_of, from_arguments, show_defaults
from openatac.options.declaration import config_sections
from openatac.training.config import AnyConfig, Config
from openatac.training.sections.cifar import BY_FLAGS
from openatac.training.sections.shared import Start
from openatac.zoo.weights.pretrained import resolve_parameter_file


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


# -------------------------------------------------------------------------------------- checks

def check(config: Config) -> None:
    """Raise UsageError, with a one-sentence message, for options that cannot be combined.

    This function has the rules of both scripts. The rules of one script are in its command, those of a
    backend in `openatac.backends.unsupported`, those that show only when the network is built in
    `openatac.training.networks.build`, and those on the number of processes in
    `openatac.commands.shared.training_processes`.
    """
    training = config.training
    parse_gpus(training.gpus)  # FlagError if this is not a list of GPUs
    decays = sum(epoch < training.num_epochs for epoch in training.decay_epochs)
    if training.lr_mode == 'step':
        _check_rates(training.lr, training.lr_decay, decays)
    if training.val_seed and not training.val_split:
        raise FlagError('--val-seed', 'it has no effect without --val-split; add --val-split, or '
                        'leave out --val-seed')
    for flag in ('report', 'predictions'):
        if getattr(config.output, flag) and not config.start.evaluate:
            raise FlagError(flag_of(flag), 'it needs --evaluate FILE')
    if config.start.initial and (config.network.summary or config.start.write_initial):
        raise FlagError('--initial', '--summary and --write-initial use the network that the flags '
                        'describe; leave it out')
    if config.output.export:
        from openatac.export.forms.base import check_export_name
        check_export_name(config.output.export)
    if config.start.pretrained:
        _check_pretrained(config.start.pretrained, config.start)
    check_backend(config)


def _check_pretrained(name: str, start: Start) -> None:
    for other in ('evaluate', 'resume_from', 'resume_params'):
        if getattr(start, other, None):
            raise FlagError('--pretrained', f'{flag_of(other)} names the parameters too; leave out '
                            'one of the two')
    try:
        resolve_parameter_file(name)
    except ParameterFileError as error:
        raise FlagError('--pretrained', str(error)) from None


def _check_rates(lr: float, factor: float, decays: int) -> None:
    last = math.log10(lr) + decays * math.log10(factor)
    if not math.log10(FLOAT32_MIN) < last < math.log10(FLOAT32_MAX):
        raise FlagError('--lr-decay', f'{decays} times {factor:g} takes --lr {lr:g} beyond the range '
                        'of float32; decay less often, or by a factor nearer to 1')
