"""Names of the runs' folders in a comparison."""
from __future__ import annotations

from openatac.study.finished_runs import FinishedRun


def folder_name(unit: str, blocks: int, seed: int, host: str | None = None) -> str:
    """Return the name of a run's folder, such as 'b3-atac-seed1'; a given ``host`` comes first in it."""
    name = f'b{blocks}-{unit}-seed{seed}'
    return name if host is None else f'{host}-{name}'


def folder_name_of(run: FinishedRun) -> str:
    """Return the folder name of a finished run."""
    return folder_name(run.unit, run.blocks, run.seed, run.config.network.host)
