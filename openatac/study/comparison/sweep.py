"""The training runs of a comparison: units x depths x seeds, all with one recipe."""
from __future__ import annotations

import contextlib
import difflib
import glob
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from openatac.errors import OpenatacError, UsageError
from openatac.files.run_file_names import SETTINGS
from openatac.files.schema import read_json
from openatac.files.writing import write_text
from openatac.options.command_line import flag_spellings
from openatac.options.declaration import Role, option_fields, options_in
from openatac.study.comparison.folder_names import folder_name
from openatac.study.comparison.training_queue import TRAIN_CIFAR, QueuedRun
from openatac.training.config import CifarConfig
from openatac.zoo.host_arguments import check_cifar_channels
from openatac.zoo.hosts import HOSTS, PUBLISHED_CIFAR_HOST
from openatac.zoo.names import parse_unit, units_of


@dataclass(frozen=True)
class Sweep:
    """Training runs in a folder that records their recipe and flags.

    Attributes
    ----------
    folder : str
    units : sequence of str
        In any letter case.
    blocks : sequence of int
        Per stage.
    seeds : sequence of int
    recipe : str
        A recipe of train_cifar.py; units and depths override the recipe's.
    flags : sequence of str
        Additional flags of train_cifar.py.
    """

    folder: str
    units: Sequence[str]
    blocks: Sequence[int]
    seeds: Sequence[int]
    recipe: str
    flags: Sequence[str] = ()

    def runs(self) -> list[QueuedRun]:
        """Return a `QueuedRun` for each seed, depth and unit; raise UsageError for an unknown unit."""
        flags = {unit.lower(): unit_flags(unit) for unit in self.units}
        runs = []
        for seed, blocks, unit in itertools.product(self.seeds, self.blocks, flags):
            name = folder_name(unit, blocks, seed)
            folder = os.path.join(self.folder, 'runs', name)
            runs.append(QueuedRun(name, folder, [
                *TRAIN_CIFAR, '--recipe', self.recipe, *self.flags, *flags[unit], '--blocks', str(blocks),
                '--seed', str(seed), '--save-dir', folder, '--resume', 'auto']))
        return runs

    def record_recipe(self) -> None:
        """Record recipe and flags in the folder; raise OpenatacError if it has runs with different ones."""
        path = os.path.join(self.folder, 'recipe.json')
        words = ['--recipe', self.recipe, *self.flags]
        before = None
        if glob.glob(os.path.join(glob.escape(self.folder), 'runs', '*', SETTINGS)):
            with contextlib.suppress(OSError, ValueError):
                before = read_json(path, list[str])
            if before not in (None, words):
                raise OpenatacError(f'{self.folder} holds runs with "{" ".join(before)}", not with '
                                    f'"{" ".join(words)}": choose another folder, or the same flags')
        write_text(path, json.dumps(words) + '\n')


def unit_flags(unit: str) -> list[str]:
    """Return train_cifar.py's flags for ``unit``; raise UsageError for an invalid unit or channels."""
    host = HOSTS.find(PUBLISHED_CIFAR_HOST)
    settings = parse_unit(host, unit)
    if settings is None:
        near = difflib.get_close_matches(unit.lower(), units_of(host), n=5, cutoff=0.3)
        hint = f'the nearest are {", ".join(near)}' if near else 'valid units include relu, swish_se and atac'
        raise UsageError(f'there is no unit {unit!r}; {hint}')
    if 'channels' in settings:
        check_cifar_channels(settings['channels'])
    flags = []
    for name, value in settings.items():
        flags.append(flag_spellings(name, option_fields(CifarConfig)[name])[0])
        if value is not True:
            flags.append(','.join(map(str, value)) if isinstance(value, list) else value)
    return flags


def reserved_flags() -> Iterator[str]:
    """Yield the flags of train_cifar.py that a comparison sets itself.

    These are the flags for unit, depth and seed, and the flags that determine how a run starts and where its
    files go, but not its result.
    """
    of_run = options_in(CifarConfig, 'network', 'start', 'output')
    for name, field in option_fields(CifarConfig).items():
        own = name in ('seed', 'recipe') or field.has(Role.IN_NAME)
        handles_run = name in of_run and not field.has(Role.RESULT)
        if own or (handles_run and name not in ('log_interval', 'save_period')):
            for flag in flag_spellings(name, field):
                yield from (flag, '--no-' + flag[2:])
