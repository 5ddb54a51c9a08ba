"""Configs whose fields are flags: each declared once, with its default, its help and what depends on it.

A config is a frozen dataclass of sections, and a section is a frozen dataclass of options::

    @dataclass(frozen=True)
    class Training(Section, title='training'):
        lr: float = result_option(0.2, 'learning rate', parse=POSITIVE)

These declarations determine the flags and their help (`openatac.options.command_line`), the JSON form of a
config, and the sets of options that a network or a result depends on. Option names are unique in a config, so
{name: value} describes it completely.
"""
from __future__ import annotations

import argparse
import dataclasses
import enum
import functools
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from openatac.files.schema import validate
from openatac.image_size import Size

ConfigT = TypeVar('ConfigT')
F = TypeVar('F', bound=Callable[..., Any])


class Role(enum.Flag):
    """What depends on an option, and where it appears besides the command line.

    Attributes
    ----------
    NETWORK
        The network and its initial values depend on it; the files of --write-initial record it.
    RESULT
        The run's result depends on it: the run cannot resume with another value, and is only compared with
        runs of the same value.
    SCHEDULED
        Its result depends on it only through the schedule: the run can resume with another value if all
        iterations so far would have been the same.
    IN_NAME
        The network's name includes it, such as ``blocks``; runs that differ in it are different rows of a
        comparison.
    IN_MANIFEST
        An export records it, such as ``r``: it changes what trained parameters compute, and is not in the
        network's name.
    TRAINING_ONLY
        It does not change what trained parameters compute, such as ``drop_rate``: --evaluate and --pretrained
        do not take it from the run of a file.
    LOCATES_IMAGES
        Such as ``data_dir``: giving one on the command line replaces all that the run of a file had.
    AFFECTS_ONLY_SPEED
        It changes only how fast images are read, and is never taken from the run of a file.
    INEXACTLY_CHANGEABLE
        --allow-inexact-resume lets a run continue with another value.
    MINOR
        Descriptions of runs mention it only if it differs from its default.
    IN_ALL_FILES
        Every version wrote it into the files of runs, which are damaged without it. Files without any other
        option imply its default.
    NOT_OF_MXNET
        The recorded settings of runs with MXNet leave it out, as they always have.
    """

    NONE = 0
    NETWORK = enum.auto()
    RESULT = enum.auto()
    SCHEDULED = enum.auto()
    IN_NAME = enum.auto()
    IN_MANIFEST = enum.auto()
    TRAINING_ONLY = enum.auto()
    LOCATES_IMAGES = enum.auto()
    AFFECTS_ONLY_SPEED = enum.auto()
    INEXACTLY_CHANGEABLE = enum.auto()
    MINOR = enum.auto()
    IN_ALL_FILES = enum.auto()
    NOT_OF_MXNET = enum.auto()


@dataclasses.dataclass(frozen=True)
class Option:
    """A field's flag on the command line, and what depends on the field.

    Attributes
    ----------
    help : str
    parse : function or None
        Converts text to a value, such as `openatac.options.flag_types.number`; it also checks numbers in JSON
        files.
    choices : function or None
        Returns the allowed words; a Literal annotation needs none.
    flags : tuple of str
        The spellings, if not ``--name``; () for a field without a flag.
    metavar : str or None
        As in argparse.
    default_text : str
        How the help describes a default of None.
    negatable : bool
        Whether a bool also has the flag ``--no-name``.
    matters : function
        Maps {name: value} to whether the option has any effect given the others; see `only_with`.
    roles : Role
    """

    help: str
    parse: Callable[[str], Any] | None = None
    choices: Callable[[], Sequence[str]] | None = None
    flags: tuple[str, ...] | None = None
    metavar: str | None = None
    default_text: str = ''
    negatable: bool = False
    matters: Callable[[Mapping[str, Any]], bool] = lambda settings: True
    roles: Role = Role.NONE


class Section:
    """A group of options; ``title`` is its heading in the help."""

    title: typing.ClassVar[str]

    def __init_subclass__(cls, title: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if title is not None:
            cls.title = title


def option(default: Any, help: str = '', **settings: Any) -> Any:
    """Declare a field of a `Section`; ``settings`` are passed to `Option`."""
    return dataclasses.field(default=default, metadata={'option': Option(help, **settings)})


def option_with(own: Role) -> Callable[..., Any]:
    """Return a function like `option` whose fields all have the role ``own``."""
    def declare(default: Any, help: str = '', roles: Role = Role.NONE, **settings: Any) -> Any:
        return option(default, help, roles=own | roles, **settings)
    return declare


result_option = option_with(Role.RESULT)
network_option = option_with(Role.NETWORK | Role.RESULT)
exported_option = option_with(Role.NETWORK | Role.RESULT | Role.IN_MANIFEST)
schedule_option = option_with(Role.RESULT | Role.SCHEDULED)
location_option = option_with(Role.LOCATES_IMAGES)


def only_with(name: str, *allowed: Any) -> Callable[[Mapping[str, Any]], bool]:
    """Return a function for `Option.matters`: whether ``name`` is one of ``allowed``, or is set at all."""
    return lambda settings: settings.get(name) in allowed if allowed else bool(settings.get(name))


def inherited(section: type[Section], name: str, default: Any, **changes: Any) -> Any:
    """Copy the option ``name`` of another section with a new default and other ``changes`` of `Option`."""
    original = section.__dataclass_fields__[name].metadata['option']  # type: ignore[attr-defined]
    return dataclasses.field(default=default, metadata={'option': dataclasses.replace(original, **changes)})


# ------------------------------------------------------------------------------------- fields

def _cached(function: F) -> F:
    """Cache as `functools.cache` does, for functions of classes, which mypy does not consider hashable."""
    return typing.cast(F, functools.cache(function))


class Field(typing.NamedTuple):
    """One option of a config: its section's attribute in the config, its annotation and its default."""

    section: str
    annotation: Any
    default: Any
    option: Option

    def has(self, role: Role) -> bool:
        """Return whether the option has a role."""
        return role in self.option.roles


@_cached
def config_sections(config_type: type) -> dict[str, type[Section]]:
    """Return {attribute: section} of a config."""
    return typing.get_type_hints(config_type)


@_cached
def option_fields(config_type: type) -> dict[str, Field]:
    """Return {name: Field} of all options of a config."""
    result: dict[str, Field] = {}
    for attribute, section in config_sections(config_type).items():
        for name, field in section_fields(section, attribute).items():
            if name in result:
                raise TypeError(f'{name} is in two sections of {config_type.__name__}')
            result[name] = field
    return result


@_cached
def section_fields(section: type[Section], attribute: str = '') -> dict[str, Field]:
    """Return {name: Field} of the options of one section, which is the ``attribute`` of a config, if any."""
    annotations = typing.get_type_hints(section, include_extras=True)
    return {field.name: Field(attribute, annotations[field.name], field.default, field.metadata['option'])
            for field in dataclasses.fields(section)}  # type: ignore[arg-type]


def options_in(config_type: type, *sections: str) -> set[str]:
    """Return the names of the options in these sections, attributes of a config; KeyError for another."""
    return {name for section in sections for name in section_fields(config_sections(config_type)[section])}


def option_defaults(config_type: type) -> dict[str, Any]:
    """Return {name: default} of all options of a config."""
    return {name: field.default for name, field in option_fields(config_type).items()}


# ------------------------------------------------------------------------------------- values

def option_values(config: Any) -> dict[str, Any]:
    """Return {name: value} of a config."""
    return {name: getattr(getattr(config, field.section), name)
            for name, field in option_fields(type(config)).items()}


def build_config(config_type: type[ConfigT], given: Mapping[str, Any]) -> ConfigT:
    """Build the config from the values ``given`` by name and the defaults of all others."""
    parts: dict[str, dict[str, Any]] = {attribute: {} for attribute in config_sections(config_type)}
    for name, value in given.items():
        parts[option_fields(config_type)[name].section][name] = value
    return config_type(**{attribute: section(**parts[attribute])
                          for attribute, section in config_sections(config_type).items()})


def with_changes(config: ConfigT, **given: Any) -> ConfigT:
    """Return the config with new values for some of its options."""
    return build_config(type(config), {**option_values(config), **given})


def from_json(config_type: type[ConfigT], settings: Mapping[str, Any]) -> ConfigT:
    """Build the config from parsed JSON, such as a settings.json; anything that is not an option is ignored.

    Raises
    ------
    ValueError
        For a value of another type, a number or an image size that the flag would reject, or if an option
        with the role IN_ALL_FILES is missing.
    """
    given = {}
    for name, field in option_fields(config_type).items():
        if name in settings:
            given[name] = _checked(name, field, settings[name])
        elif field.has(Role.IN_ALL_FILES):
            raise ValueError(f'{name} is missing')
    return build_config(config_type, given)


def _checked(name: str, field: Field, value: Any) -> Any:
    value = validate(value, field.annotation, name)
    if field.option.parse is not None and (type(value) in (int, float) or field.annotation == Size):
        try:
            field.option.parse(str(value))
        except argparse.ArgumentTypeError as error:
            raise ValueError(f'{name}: {error}') from None
    return value
