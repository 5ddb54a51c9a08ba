"""Configs whose fields are flags: each declared once, with its default, its help and what depends on it.

A config is a frozen dataclass of sections, and a section is a frozen dataclass of options::

    @dataclass(frozen=True)
    class Training(Section, title='training'):
        lr: float = result_option(0.2, 'learning rate', parse=POSITIVE)

These declarations determine the flags and their help (`openatac.flags`), the JSON form of a config, and the
sets of options that a network or a result depends on. Option names are unique in a config, so {name: value}
describes it completely.
"""
from __future__ import annotations

import argparse
import dataclasses
import functools
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Callable, TypeVar

from openatac.files.schema import validate
from openatac.image_size import Size

C = TypeVar('C')
F = TypeVar('F', bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True)
class Option:
    """A field's flag on the command line, and what depends on the field.

    Attributes
    ----------
    help : str
    parse : function or None
        Converts text to a value, such as `openatac.flag_types.number`; it also checks numbers in JSON files.
    choices : function or None
        Returns the allowed words; a Literal annotation needs none.
    flags : tuple of str
        The spellings, if not ``--name``; () for a field without a flag.
    default_text : str
        How the help describes a default of None.
    network, result : bool
        Whether the network and its initial values, or the run's result, depend on it (such as ``act_type``
        and ``momentum``).
    scheduled : bool
        Whether the result depends on it only through values of the schedule at each iteration, such as the
        learning rate.
    in_name : bool
        Whether the network's name includes it, such as ``blocks``.
    in_manifest : bool
        Whether an export must record it, such as ``r``, because it changes what trained parameters compute
        and is not part of the network's name.
    training_only : bool
        Whether it affects only training, such as ``drop_rate``, and not what trained parameters compute.
    locates_images : bool
        Whether it locates the images, such as ``data_dir``; giving any such option replaces all of them.
    affects_only_speed : bool
        Whether it affects only how fast images are read.
    inexactly_changeable : bool
        Whether --allow-inexact-resume lets a run continue with another value, such as another ``engine``.
    minor : bool
        Whether a description of runs mentions it only if it differs from its default.
    matters : function
        Maps {name: value} to whether the option has any effect given the others; see `only_with`.
    newer : bool
        Whether files of older versions lack it; they then imply the default.
    """

    help: str
    parse: Callable[[str], Any] | None = None
    choices: Callable[[], Sequence[str]] | None = None
    flags: tuple[str, ...] | None = None
    metavar: str | None = None
    default_text: str = ''
    negatable: bool = False
    network: bool = False
    result: bool = False
    scheduled: bool = False
    in_name: bool = False
    in_manifest: bool = False
    training_only: bool = False
    locates_images: bool = False
    affects_only_speed: bool = False
    inexactly_changeable: bool = False
    minor: bool = False
    matters: Callable[[Mapping[str, Any]], bool] = lambda values: True
    newer: bool = False


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


result_option = functools.partial(option, result=True)
network_option = functools.partial(option, network=True, result=True)
exported_option = functools.partial(network_option, in_manifest=True)
schedule_option = functools.partial(option, result=True, scheduled=True)
place_option = functools.partial(option, locates_images=True)


def only_with(name: str, *values: Any) -> Callable[[Mapping[str, Any]], bool]:
    """Return a function for `Option.matters`: whether ``name`` has one of ``values``, or is set at all."""
    return lambda settings: settings.get(name) in values if values else bool(settings.get(name))


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
    kind: Any
    default: Any
    option: Option


@_cached
def sections(config: type) -> dict[str, type[Section]]:
    """Return {attribute: section} of a config."""
    return typing.get_type_hints(config)


@_cached
def fields(config: type) -> dict[str, Field]:
    """Return {name: Field} of all options of a config."""
    result: dict[str, Field] = {}
    for attribute, section in sections(config).items():
        for name, field in section_fields(section, attribute).items():
            assert name not in result, f'{name} is in two sections of {config.__name__}'
            result[name] = field
    return result


@_cached
def section_fields(section: type[Section], attribute: str = '') -> dict[str, Field]:
    """Return {name: Field} of the options of one section, which is the ``attribute`` of a config, if any."""
    kinds = typing.get_type_hints(section, include_extras=True)
    return {field.name: Field(attribute, kinds[field.name], field.default, field.metadata['option'])
            for field in dataclasses.fields(section)}  # type: ignore[arg-type]


def defaults(config: type) -> dict[str, Any]:
    """Return {name: default} of all options of a config."""
    return {name: field.default for name, field in fields(config).items()}


# ------------------------------------------------------------------------------------- values

def values(config: Any) -> dict[str, Any]:
    """Return {name: value} of a config."""
    return {name: getattr(getattr(config, field.section), name)
            for name, field in fields(type(config)).items()}


def build(config: type[C], given: Mapping[str, Any]) -> C:
    """Build the config from the values ``given`` by name and the defaults of all others."""
    parts: dict[str, dict[str, Any]] = {attribute: {} for attribute in sections(config)}
    for name, value in given.items():
        parts[fields(config)[name].section][name] = value
    return config(**{attribute: section(**parts[attribute])
                     for attribute, section in sections(config).items()})


def with_changes(config: C, **given: Any) -> C:
    """Return the config with new values for some of its options."""
    return build(type(config), {**values(config), **given})


def from_json(config: type[C], settings: Mapping[str, Any]) -> C:
    """Build the config from parsed JSON, such as a settings.json; anything that is not an option is ignored.

    Raises
    ------
    ValueError
        For a value that the flag would reject, or if an option is missing that a network depends on and all
        versions wrote.
    """
    given = {}
    for name, field in fields(config).items():
        if name in settings:
            given[name] = _checked(name, field, settings[name])
        elif field.option.network and not field.option.newer:
            raise ValueError(f'{name} is missing')
    return build(config, given)


def _checked(name: str, field: Field, value: Any) -> Any:
    value = validate(value, field.kind, name)
    if field.option.parse is not None and (type(value) in (int, float) or field.kind == Size):
        try:
            field.option.parse(str(value))
        except argparse.ArgumentTypeError as error:
            raise ValueError(f'{name}: {error}') from None
    return value
