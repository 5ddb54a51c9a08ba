"""The hours that a published run would take, from measured speeds."""
import math
import os
import re
import statistics
from typing import NamedTuple, Optional

from openatac.errors import OpenatacError
from openatac.files.csv_file import read_csv
from openatac.study.published import numbers
from openatac.study.published.costs import multiply_adds


class Speed(NamedTuple):
    """images_per_second: in training, of one 'GPU' or 'CPU core'; words: of whom and on what."""

    network: str
    images_per_second: float
    kind: str
    words: str


AUTHORS_SPEED = Speed(
    'resnet50_v1b_atac', numbers.AUTHORS_IMAGES_PER_SECOND / numbers.AUTHORS_GPUS, 'GPU',
    "%d on %d GPUs of a kind that is not told (the authors' log, which we did not measure)" % (
        numbers.AUTHORS_IMAGES_PER_SECOND, numbers.AUTHORS_GPUS))


def run_speeds(runs):
    """A `Speed` for each published network and kind of processor in ``runs``: the median of its runs."""
    members = {}
    for run in runs:
        if (run.network in numbers.NETWORKS and run.processors
                and numbers.built_as_published(run.settings)):
            members.setdefault((run.network, run.kind, run.processors), []).append(run.images_per_second)
    for (network, kind, processors), values in members.items():
        speed = statistics.median(values)
        yield Speed(network, speed / processors, kind, '%.0f on %d %s%s (n = %d, measured in the runs)' % (
            speed, processors, kind, 's' if processors > 1 else '', len(values)))


def benchmark_speeds(folder):
    """The `Speed`s of training in ``folder``'s benchmark.csv, if benchmarks/cifar_training.py made one."""
    path = os.path.join(folder, 'benchmark.csv')
    if not os.path.exists(path):
        return
    try:
        yield from map(_benchmark_speed, filter(None, map(_training_row, read_csv(path))))
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise OpenatacError(f'{path} is not as benchmarks/cifar_training.py writes it ({error}): write it '
                            'again, or remove it') from None


def _training_row(row):
    """(row, network, machine) of one that has the speed of a training, else None."""
    network = re.match(r'training, ResNet-(\d+) (\w+), ', row.get('measurement') or '')
    machine = re.match(r'(\d+) cores? of [^;]+', row.get('machine') or '')
    return (row, network, machine) if network and machine else None


def _benchmark_speed(found):
    row, network, machine = found
    return Speed('cifar_resnet%s_v2_%s' % (network[1], network[2].lower()),
                 float(row['ours']) / int(machine[1]), 'CPU core',
                 '%s on %s (n = %s, measured by us: results/benchmark.csv)' % (
                     row['ours'], machine[0], row['n']))


class Hours(NamedTuple):
    """hours of one ``kind`` of processor; scaled_from: the network whose speed was measured, if another."""

    hours: float
    kind: str
    scaled_from: Optional[str]
    words: str

    def __str__(self):
        digits = 0 if self.hours >= 10 else 1
        scaled = ', scaled from %s' % self.scaled_from if self.scaled_from else ''
        return 'about {:,.{}f} {} hours{}'.format(self.hours, digits, self.kind, scaled)


def training_hours(number, speeds):
    """The `Hours` of the published run of the number's network; None where no speed is known.

    Taken is the first speed of that network, or the speed of the network of the same data whose
    multiply-adds are nearest, in proportion to them.
    """
    from openatac.models.zoo import find_model
    family = find_model(number.network)[0].data
    speeds = [speed for speed in speeds if find_model(speed.network)[0].data == family]
    if not speeds:
        return None
    ratios = [multiply_adds(number.network) / multiply_adds(speed.network) for speed in speeds]
    speed, ratio = min(zip(speeds, ratios),
                       key=lambda pair: (pair[0].network != number.network, abs(math.log(pair[1]))))
    epochs, images = numbers.images_to_train(number.data)
    return Hours(epochs * images / (speed.images_per_second / ratio) / 3600, speed.kind,
                 None if speed.network == number.network else speed.network, speed.words)
