"""Measure the speeds of exports in runtimes, in turns.

Each runtime gets a separate process for each export, since the threads of two runtimes in one process disturb
each other. All processes are warm before the first measurement. Then they take turns, round by round, so
other work on the machine affects all of them equally.
"""
from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from openatac.console.streams import on_terminal, print_to_stderr
from openatac.errors import OpenatacError
from openatac.export.runtimes.base import RUNTIMES
from openatac.study.bench.process import BenchProcess, Turn
from openatac.text import short_names
from openatac.trained.manifest import read_manifest

if TYPE_CHECKING:
    import numpy as np

T = TypeVar('T')
COLUMNS = ('p50_ms', 'p95_ms', 'images_per_second')


class Measurement(NamedTuple):
    """The speed of one export in one runtime at one batch size.

    Attributes
    ----------
    export : str
        The short name of the export.
    runtime : str
    batch : int
        Images in a batch.
    turns : list of Turn
        One for each round.
    difference : float
        The largest difference from the first runtime's outputs, relative to the largest output.
    """

    export: str
    runtime: str
    batch: int
    turns: list[Turn]
    difference: float

    @property
    def images_per_second(self) -> float:
        """The median over the rounds."""
        return statistics.median(turn.images_per_second for turn in self.turns)

    def row(self) -> dict[str, Any]:
        """Return {column: value}: for each of COLUMNS the median over the rounds, and its range."""
        row: dict[str, Any] = {'export': self.export, 'engine': self.runtime, 'batch': self.batch}
        for column in COLUMNS:
            values = [getattr(turn, column) for turn in self.turns]
            row.update({column: statistics.median(values), column + '_low': min(values),
                        column + '_high': max(values)})
        return {**row, 'rounds': len(self.turns), 'batches': sum(turn.batches for turn in self.turns),
                'difference': self.difference}


def measure(prefixes: Sequence[str], runtimes: Sequence[str] | None, sizes: Sequence[int], rounds: int,
            seconds: float) -> list[Measurement]:
    """Measure exports in runtimes.

    Print which runtimes are left out and, before the first turn, how long all take; show the progress on a
    terminal.

    Parameters
    ----------
    prefixes : sequence of str
        The common prefix of each export's files.
    runtimes : sequence of str or None
        Names of runtimes; None for all that can run an export.
    sizes : sequence of int
        Images in a batch.
    rounds : int
    seconds : float
        The minimum time of a turn.

    Returns
    -------
    list of Measurement
        By export, runtime and size.

    Raises
    ------
    OpenatacError
        If a named runtime cannot run an export, if none can, and if a process dies.
    """
    processes: dict[tuple[str, str], BenchProcess] = {}
    measured: dict[tuple[str, str, int], Measurement] = {}
    try:
        for export, prefix in zip(short_names(prefixes), prefixes):
            for runtime, process in _with_bar(_warm_processes(prefix, runtimes, sizes), 'engine'):
                processes[export, runtime] = process
        expected: dict[str, np.ndarray] = {}
        for (export, runtime), process in processes.items():
            reference = expected.setdefault(export, process.outputs)
            difference = float(abs(process.outputs - reference).max() / max(abs(reference).max(), 1e-30))
            for size in sizes:
                measured[export, runtime, size] = Measurement(export, runtime, size, [], difference)
        turns = [*itertools.product(range(rounds), sizes, processes.items())]
        print_to_stderr(f'the engines are warm: {len(turns)} turns take {len(turns) * seconds:.0f} s, or '
                        'more if a few batches take longer than a turn')
        for _, size, (key, process) in _with_bar(turns, 'turn'):
            measured[(*key, size)].turns.append(process.turn(size, seconds))
    finally:
        for process in processes.values():
            process.close()
    return list(measured.values())


def _with_bar(items: Iterable[T], unit: str) -> Iterable[T]:
    from tqdm import tqdm
    return tqdm(items, unit=unit, leave=False, disable=not on_terminal())


def _warm_processes(prefix: str, runtimes: Sequence[str] | None, sizes: Sequence[int]
                    ) -> Iterator[tuple[str, BenchProcess]]:
    """Yield (runtime, process) for the runtimes that can run an export; print why others are left out."""
    read_manifest(prefix)
    able = False
    for name in runtimes or RUNTIMES:
        problem = RUNTIMES.find(name).obstacle(prefix)
        if not problem:
            process = BenchProcess(prefix, name, sizes)
            problem = process.problem
        if not problem:
            able = True
            yield name, process
        elif runtimes:
            raise OpenatacError(f'{prefix} cannot be measured in the engine {name}: {problem}')
        else:
            print(f'left out {name} of {prefix}: {problem}', flush=True)
    if not able:
        raise OpenatacError(f'no engine can run {prefix} here')
