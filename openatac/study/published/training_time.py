"""Estimate the training time of a published run from measured speeds."""
from __future__ import annotations

import math
import os
import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from openatac.errors import OpenatacError
from openatac.files.csv_file import read_csv
from openatac.study.finished_runs import FinishedRun
from openatac.study.published.numbers import AUTHORS_GPUS, AUTHORS_IMAGES_PER_SECOND, NETWORKS, Published
from openatac.study.published.our_costs import network_costs
from openatac.study.published.recipe_check import built_as_published, images_to_train
from openatac.text import counted


class Speed(NamedTuple):
    """Training images per second of one ``kind`` of processor, 'GPU' or 'CPU core', and their ``source``."""

    network: str
    images_per_second: float
    kind: str
    source: str


AUTHORS_SPEED = Speed(
    'resnet50_v1b_atac', AUTHORS_IMAGES_PER_SECOND / AUTHORS_GPUS, 'GPU',
    f"{AUTHORS_IMAGES_PER_SECOND} on {AUTHORS_GPUS} GPUs of an unnamed kind (the authors' log, which "
    'we did not measure)')


def run_speeds(runs: Sequence[FinishedRun]) -> Iterator[Speed]:
    """Yield the median `Speed` for each published network and kind of processor in ``runs``.

    Runs that other processes disturbed do not count.
    """
    members: dict[tuple[str, str, int], list[float]] = {}
    for run in runs:
        kind, processors = _processors(run)
        disturbed = run.summary.get('disturbed')
        if run.network in NETWORKS and processors and built_as_published(run) and not disturbed:
            members.setdefault((run.network, kind, processors), []).append(run.summary['images_per_second'])
    for (network, kind, processors), values in members.items():
        speed = statistics.median(values)
        yield Speed(network, speed / processors, kind, f'{speed:.0f} on {counted(processors, kind)} '
                    f'(n = {len(values)}, measured in the runs)')


def _processors(run: FinishedRun) -> tuple[str, int]:
    """Return ('GPU' or 'CPU core', the number in use, or 0 if it is unknown)."""
    if run.devices.are_gpus:
        return 'GPU', run.devices.total
    threads = run.summary['threads']
    return 'CPU core', run.devices.total * int(threads) if threads.isdecimal() else 0


def benchmark_speeds(folder: str) -> Iterator[Speed]:
    """Yield the training `Speed`s in ``folder``/benchmark.csv, if benchmarks/cifar_training.py wrote it."""
    path = os.path.join(folder, 'benchmark.csv')
    if not os.path.exists(path):
        return
    try:
        yield from filter(None, (_benchmark_speed(row, path) for row in read_csv(path)))
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise OpenatacError(f'{path} is not as benchmarks/cifar_training.py writes it ({error}): write it '
                            'again, or remove it') from None


def _benchmark_speed(row: dict[str, str], path: str) -> Speed | None:
    """Return the speed in a row of the benchmark; None if the row is not about training a network."""
    if not row['network']:
        return None
    machine = row['machine'].partition(';')[0]
    return Speed(row['network'], float(row['ours']) / int(row['cores']), 'CPU core',
                 f'{row["ours"]} on {machine} (n = {row["n"]}, measured by us: {path})')


class TrainingTime(NamedTuple):
    """``hours`` of one ``kind`` of processor, from a ``source``, possibly scaled from another network."""

    hours: float
    kind: str
    scaled_from: str | None
    source: str

    def __str__(self) -> str:
        scaled = f', scaled from {self.scaled_from}' if self.scaled_from else ''
        return f'about {self.hours:,.{0 if self.hours >= 10 else 1}f} {self.kind} hours{scaled}'


def training_time(number: Published, speeds: Sequence[Speed]) -> TrainingTime | None:
    """Estimate the `TrainingTime` of the published run of the number's network; None if no speed is known.

    It is based on the first speed of that network. Without one, it is scaled, in proportion to
    multiply-adds, from the network on the same data with the nearest count.
    """
    from openatac.zoo.names import host_of
    family = host_of(number.network).data
    speeds = [speed for speed in speeds if host_of(speed.network).data == family]
    if not speeds:
        return None
    own = network_costs(number.network).multiply_adds
    ratios = [own / network_costs(speed.network).multiply_adds for speed in speeds]
    speed, ratio = min(zip(speeds, ratios),
                       key=lambda pair: (pair[0].network != number.network, abs(math.log(pair[1]))))
    epochs, images = images_to_train(number.data)
    return TrainingTime(epochs * images / (speed.images_per_second / ratio) / 3600, speed.kind,
                        None if speed.network == number.network else speed.network, speed.source)
