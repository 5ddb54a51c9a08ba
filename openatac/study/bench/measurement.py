"""Speeds of exports in the engines that can run them, measured in turns.

Each engine has a process of its own for each export, since the threads of two of them in one process disturb
each other. All are warm before the first measurement. Then they take turns, round by round, so that other
work of the machine affects all of them alike.
"""
from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Sequence
from typing import Any, Callable, NamedTuple

from openatac.errors import OpenatacError
from openatac.export.manifest import read_manifest
from openatac.export.runtimes.base import RUNTIMES
from openatac.study.bench.process import BenchProcess, Turn

FIGURES = ('p50_ms', 'p95_ms', 'images_per_second')


class Measurement(NamedTuple):
    """One export in one engine with one size of batch.

    Attributes
    ----------
    export : str
        Its short name.
    engine : str
    batch : int
        Images in a batch.
    turns : list of Turn
        One for each round.
    difference : float
        The largest difference of its outputs from those of the first engine, over the largest output.
    """

    export: str
    engine: str
    batch: int
    turns: list[Turn]
    difference: float

    @property
    def images_per_second(self) -> float:
        """The median over the rounds."""
        return statistics.median(turn.images_per_second for turn in self.turns)

    def row(self) -> dict[str, Any]:
        """{column: value}: of each of FIGURES the median over the rounds, and its range."""
        row: dict[str, Any] = {'export': self.export, 'engine': self.engine, 'batch': self.batch}
        for figure in FIGURES:
            values = [getattr(turn, figure) for turn in self.turns]
            row.update({figure: statistics.median(values), figure + '_low': min(values),
                        figure + '_high': max(values)})
        return {**row, 'rounds': len(self.turns), 'batches': sum(turn.batches for turn in self.turns),
                'difference': self.difference}


def measure(prefixes: Sequence[str], engines: Sequence[str] | None, sizes: Sequence[int], rounds: int,
            seconds: float, skip: Callable[[str], None]) -> list[Measurement]:
    """Measure exports in engines.

    Parameters
    ----------
    prefixes : sequence of str
        What the names of each export's files begin with.
    engines : sequence of str or None
        Names; None for all that can run an export.
    sizes : sequence of int
        Images in a batch.
    rounds : int
    seconds : float
        That a turn takes at least.
    skip : function
        Is called with a sentence about each engine that None leaves out.

    Returns
    -------
    list of Measurement
        By export, engine and size.

    Raises
    ------
    OpenatacError
        If a named engine cannot run an export, if none can, and if a process dies.
    """
    processes: dict[tuple[str, str], BenchProcess] = {}
    measured: dict[tuple[str, str, int], Measurement] = {}
    try:
        for export, prefix in zip(_short_names(prefixes), prefixes):
            processes.update({(export, engine): process
                              for engine, process in _warm_processes(prefix, engines, sizes, skip)})
        expected: dict[str, Any] = {}
        for (export, engine), process in processes.items():
            reference = expected.setdefault(export, process.outputs)
            difference = float(abs(process.outputs - reference).max() / max(abs(reference).max(), 1e-30))
            for size in sizes:
                measured[export, engine, size] = Measurement(export, engine, size, [], difference)
        for _ in range(rounds):
            for size in sizes:
                for key, process in processes.items():
                    measured[(*key, size)].turns.append(process.turn(size, seconds))
    finally:
        for process in processes.values():
            process.close()
    return list(measured.values())


def _warm_processes(prefix: str, engines: Sequence[str] | None, sizes: Sequence[int],
                    skip: Callable[[str], None]) -> Iterator[tuple[str, BenchProcess]]:
    """Yield (engine, its process) for those that can run an export."""
    read_manifest(prefix)
    able = False
    for name in engines or RUNTIMES:
        problem = RUNTIMES.find(name).obstacle(prefix)
        if not problem:
            process = BenchProcess(prefix, name, sizes)
            problem = process.problem
        if not problem:
            able = True
            yield name, process
        elif engines:
            raise OpenatacError(f'{prefix} cannot be measured in the engine {name}: {problem}')
        else:
            skip(f'left out {name} of {prefix}: {problem}')
    if not able:
        raise OpenatacError(f'no engine can run {prefix} here')


def _short_names(prefixes: Sequence[str]) -> Sequence[str]:
    """The last parts of the paths, or whole paths if two are equal."""
    names = [os.path.basename(prefix) for prefix in prefixes]
    return names if len(set(names)) == len(names) else prefixes
