"""Check that runs are comparable, with the same recipe and the same data."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openatac.errors import OpenatacError
from openatac.options.declaration import Role, option_fields, option_values
from openatac.study.finished_runs import IMAGES_PER_STEP, FinishedRun
from openatac.training.config import CifarConfig


def shared_settings(run: FinishedRun) -> dict[str, Any]:
    """Return the settings that comparable runs share: all relevant ones except unit, depth and seed.

    The batch size is counted over all devices together.
    """
    settings = option_values(run.config)
    shared = {name: settings[name] for name, field in option_fields(type(run.config)).items()
              if field.has(Role.RESULT) and not field.has(Role.IN_NAME) and field.option.matters(settings)
              and name not in ('seed', 'batch_size')}
    return {**shared, 'data': run.data, IMAGES_PER_STEP: run.images_per_step}


def check_comparable(runs: Sequence[FinishedRun]) -> None:
    """Raise OpenatacError if ``runs`` were trained with different recipes or on different data."""
    first: dict[str, tuple[Any, FinishedRun]] = {}  # {setting: its value and the first run that has it}
    seen: dict[tuple[str, int, int], FinishedRun] = {}
    for run in runs:
        if not isinstance(run.config, CifarConfig):
            raise OpenatacError(f'{run.folder} is a run of train-imagenet: compare runs of train-cifar')
        shared = shared_settings(run)
        names = sorted(name for name, value in shared.items()
                       if first.setdefault(name, (value, run))[0] != value)
        if names:
            differences = ', '.join(f'{name} ({first[name][0]} and {shared[name]})' for name in names)
            raise OpenatacError(f'{first[names[0]][1].folder} and {run.folder} differ in {differences}: '
                                'compare only runs of one recipe on the same data')
        other = seen.setdefault((run.unit, run.blocks, run.seed), run)
        if repr(other.history) != repr(run.history):  # as text, where nan equals nan
            raise OpenatacError(f'{other.folder} and {run.folder} are both runs of {run.unit} with '
                                f'{run.blocks} blocks and seed {run.seed}: leave out one')
