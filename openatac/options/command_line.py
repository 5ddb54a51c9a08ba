"""The command line of a config: a flag for each option, its default in the help, and the values given."""
from __future__ import annotations

import argparse
import contextlib
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal

from openatac.errors import FlagError, UsageError
from openatac.options.declaration import (
    ConfigT,
    Field,
    Option,
    Section,
    build_config,
    option_fields,
    option_values,
    section_fields,
)

DEFAULT, COMMAND_LINE = 'default', 'command line'  # where a value comes from


def flag_of(name: str) -> str:
    """Return the flag of an option that declares no other spelling, such as '--act-type'."""
    return '--' + name.replace('_', '-')


@contextlib.contextmanager
def naming(flag: str) -> Iterator[None]:
    """Name the flag of a UsageError that the body raises."""
    try:
        yield
    except UsageError as error:
        raise FlagError(flag, str(error)) from None


def flag_spellings(name: str, field: Field) -> tuple[str, ...]:
    """Return the spellings of an option on the command line."""
    return (flag_of(name),) if field.option.flags is None else field.option.flags


def add_section(parser: argparse.ArgumentParser, section: type[Section],
                only: Sequence[str] | None = None) -> None:
    """Add the flags of a section, or ``only`` some of them, under its title."""
    add_flags(parser.add_argument_group(section.title), section, only)


def add_flags(group: argparse._ArgumentGroup, section: type[Section], only: Sequence[str] | None) -> None:
    """Add the flags of a section, or ``only`` some of them, to a group of a parser.

    The parsed namespace contains only flags that were given; `from_arguments` adds the defaults.
    """
    for name, field in section_fields(section).items():
        if flag_spellings(name, field) and (only is None or name in only):
            _add_flag(group, name, field)


def _add_flag(group: argparse._ArgumentGroup, name: str, field: Field) -> None:
    option = field.option
    settings: dict[str, Any] = {'dest': name, 'default': argparse.SUPPRESS,
                                'help': option.help.replace('%', '%%') or None}
    if field.annotation is bool:
        settings['action'] = argparse.BooleanOptionalAction if option.negatable else 'store_true'
    else:
        if option.parse is not None:
            settings['type'] = option.parse
        settings['choices'] = option.choices() if option.choices else _literals(field.annotation)
        settings['metavar'] = option.metavar
    group.add_argument(*flag_spellings(name, field), **settings)


def _literals(annotation: Any) -> tuple[str, ...] | None:
    """Return the choices of Literal['a', 'b'] or Optional[Literal['a', 'b']]; None for other annotations."""
    for part in (annotation, *typing.get_args(annotation)):
        if typing.get_origin(part) is Literal:
            return typing.get_args(part)
    return None


def show_defaults(parser: argparse.ArgumentParser, config_type: type, recipe: Mapping[str, Any]) -> None:
    """Add the default of each flag to its help: the recipe's, or else its own."""
    for action in parser._actions:
        field = option_fields(config_type).get(action.dest)
        if field is not None and action.help is not argparse.SUPPRESS:
            text = _default_text(recipe.get(action.dest, field.default), field.option)
            action.help = f'{action.help or ""} (default: {text})'.strip() if text else action.help


def _default_text(value: Any, option: Option) -> str:
    if value is None or value == '':
        return option.default_text
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    return str(value).replace('%', '%%')


@dataclass(frozen=True)
class ParsedFlags(Generic[ConfigT]):
    """A config from a command line, and where the value of each option came from."""

    config: ConfigT
    origins: dict[str, str]

    def is_given(self, name: str) -> bool:
        """Return whether the command line, or its recipe, gave the option a value."""
        return self.origins[name] != DEFAULT


def from_arguments(config_type: type[ConfigT], arguments: argparse.Namespace, recipe: Mapping[str, Any],
                   recipe_name: str) -> ParsedFlags[ConfigT]:
    """Build `ParsedFlags` from parsed flags: their values, else the recipe's, else the defaults."""
    given = {name: value for name, value in vars(arguments).items() if name in option_fields(config_type)}
    origins = {name: COMMAND_LINE if name in given else f'recipe {recipe_name}' if name in recipe else DEFAULT
               for name in option_fields(config_type)}
    return ParsedFlags(build_config(config_type, {**recipe, **given}), origins)


def describe(flags: ParsedFlags[Any]) -> Iterator[str]:
    """Yield a line for each option: its name, its value and where that came from."""
    for name, value in option_values(flags.config).items():
        if option_fields(type(flags.config))[name].option.flags != ():
            yield f'{name} = {value!r}  ({flags.origins[name]})'
