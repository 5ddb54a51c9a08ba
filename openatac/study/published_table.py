"""The published numbers beside our costs and our runs: reproduced, how much they differ, or not run.

    openatac published                             runs in results/, here or in the checkout
    openatac published RUNS... --csv published.csv
    openatac published RUNS... --network resnet50_v1b_atac cifar_resnet20_v2_atac

RUNS are folders of finished runs of train_cifar.py and train_imagenet.py, or folders of such folders. Only
runs of the published recipe on the published data are held to the published numbers; all others are listed
with the reason. What was not run has the hours that it would take, from measured speeds.
"""
import argparse
import csv
import functools
import io
import json
import math
import os
import re
import statistics
from typing import Dict, NamedTuple, Optional

from openatac.errors import OpenatacError
from openatac.files import write_text
from openatac.study import published
from openatac.study.published import CIFAR100, COSTS, IMAGENET, judge
from openatac.study.runs import device_count, read_run
from openatac.study.text_table import text_table

CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NETWORKS = tuple(dict.fromkeys(number.network for number in IMAGENET + CIFAR100))


def main(argv):
    """``openatac published``; see the module."""
    p = argparse.ArgumentParser(prog='openatac published', description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('runs', metavar='RUNS', nargs='*', help='folders (default: results)')
    p.add_argument('--network', metavar='NAME', nargs='+', default=NETWORKS,
                   help='only these, such as resnet50_v1b_atac')
    p.add_argument('--csv', metavar='FILE', help='write all rows, with sources and uncertainties')
    args = p.parse_args(argv)
    for name in args.network:
        if name not in NETWORKS:
            p.error('argument --network: nothing is published for %r; choose from %s' % (
                name, ', '.join(NETWORKS)))
    results = 'results' if os.path.isdir('results') else os.path.join(CHECKOUT, 'results')
    runs = _given(args.runs) if args.runs else finished_runs(results)
    speeds = [*run_speeds(runs), *benchmark_speeds(results), AUTHORS_SPEED]
    rows = [make_row(number, runs, speeds) for number in IMAGENET + CIFAR100
            if number.network in args.network]
    if args.csv:
        write_csv(args.csv, rows)
    print('\n\n'.join(report(rows, runs, speeds)))
    return 0


# ------------------------------------------------------------------------------------- runs

class Finished(NamedTuple):
    """A finished run. network: its name; settings: all that its result depends on but ``seed``.

    values: {measure: what it reached}; images_per_second: in training, of all devices.
    processors: how many 'GPU's or 'CPU core's those are; 0 where that is not known.
    """

    folder: str
    network: str
    seed: int
    settings: dict
    values: Dict[str, float]
    images_per_second: float
    processors: int
    kind: str


def finished_runs(folder):
    """The `Finished` runs in ``folder`` and its sub-folders; OpenatacError for what is none."""
    return [_read(place) for place, _, files in sorted(os.walk(folder)) if 'summary.json' in files]


def _given(folders):
    """Those in ``folders``; OpenatacError for a folder without any."""
    runs = []
    for folder in dict.fromkeys(folders):
        found = finished_runs(folder)
        if not found:
            raise OpenatacError('%s holds no finished run: name a folder that does' % folder)
        runs += found
    return runs


def _read(folder):
    try:
        with open(os.path.join(folder, 'summary.json'), encoding='utf-8') as handle:
            summary = json.load(handle)
        return (_read_imagenet if summary['dataset'] == 'imagenet' else _read_cifar)(folder, summary)
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise OpenatacError('%s is not the folder of a finished run, or of an older version of it: the same '
                            'command with --resume auto completes it' % folder) from None


def _read_cifar(folder, summary):
    run = read_run(folder)
    name = summary['model']
    if run.recipe.get('host') is None:  # the published one
        name = 'cifar_resnet%d_v2_%s' % (6 * run.blocks + 2, run.unit)
    return _finished(folder, name, run.recipe, summary, {published.ACCURACY: summary['best_accuracy']})


def _read_imagenet(folder, summary):
    with open(os.path.join(folder, 'metrics.csv'), encoding='utf-8', newline='') as handle:
        epochs = [{column: float(value) for column, value in row.items()} for row in csv.DictReader(handle)]
    best, last = max(epochs, key=lambda row: row['val_accuracy']), epochs[-1]
    values = {measure: 100 * (1 - row[column]) for measure, row, column in (
        (published.TOP1, best, 'val_accuracy'), (published.TOP5, best, 'val_top5_accuracy'),
        (published.LAST_TOP1, last, 'val_accuracy'), (published.LAST_TOP5, last, 'val_top5_accuracy'))}
    settings = summary['settings']
    step = settings['batch_size'] * device_count(summary['device'])
    return _finished(folder, summary['model'], {**settings, 'images a step': step}, summary, values)


def _finished(folder, network, settings, summary, values):
    settings = {**settings, **{name: summary[name] for name in ('dataset', 'training_images', 'test_images')}}
    gpu = summary['device'].endswith('gpu')
    threads = 1 if gpu else int(summary['threads']) if summary['threads'].isdigit() else 0
    return Finished(folder, network, summary['seed'], settings, values, summary['images_per_second'],
                    device_count(summary['device']) * threads, 'GPU' if gpu else 'CPU core')


def _values(number, runs):
    """What comparable runs of the number's network reached, one value a seed."""
    by_seed = {}
    for run in runs:
        if run.network == number.network and not published.not_comparable(run.network, run.settings):
            other = by_seed.setdefault(run.seed, run)
            if other.values != run.values:
                raise OpenatacError('%s and %s are two runs of %s with seed %d: leave out one of them' % (
                    other.folder, run.folder, run.network, run.seed))
    return tuple(run.values[number.measure] for run in by_seed.values())


# ------------------------------------------------------------------------- what it would take

class Speed(NamedTuple):
    """images_per_second: in training, of one 'GPU' or 'CPU core'; words: of whom and on what."""

    network: str
    images_per_second: float
    kind: str
    words: str


AUTHORS_SPEED = Speed(
    'resnet50_v1b_atac', published.AUTHORS_IMAGES_PER_SECOND / published.AUTHORS_GPUS, 'GPU',
    "%d on %d GPUs of a kind that is not told (the authors' log, which we did not measure)" % (
        published.AUTHORS_IMAGES_PER_SECOND, published.AUTHORS_GPUS))


def run_speeds(runs):
    """A `Speed` for each published network and kind of processor in ``runs``: the median of its runs."""
    members = {}
    for run in runs:
        if (run.network in NETWORKS and run.processors
                and published.built_as_published(run.network, run.settings)):
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
    with open(path, encoding='utf-8', newline='') as handle:
        for row in csv.DictReader(handle):
            network = re.match(r'training, ResNet-(\d+) (\w+), ', row.get('measurement') or '')
            machine = re.match(r'(\d+) cores? of [^;]+', row.get('machine') or '')
            if network and machine:
                yield Speed('cifar_resnet%s_v2_%s' % (network[1], network[2].lower()),
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
    imagenet = number.data == 'ImageNet'
    speeds = [speed for speed in speeds if speed.network.startswith('resnet50') == imagenet]
    if not speeds:
        return None
    ratios = [multiply_adds(number.network) / multiply_adds(speed.network) for speed in speeds]
    speed, ratio = min(zip(speeds, ratios),
                       key=lambda pair: (pair[0].network != number.network, abs(math.log(pair[1]))))
    epochs, images = published.images_to_train(number.data)
    return Hours(epochs * images / (speed.images_per_second / ratio) / 3600, speed.kind,
                 None if speed.network == number.network else speed.network, speed.words)


# ------------------------------------------------------------------------------------- rows

class Row(NamedTuple):
    """A published number and what we have: values of ours, a verdict in words, or the hours to get them."""

    number: published.Published
    values: tuple
    difference: Optional[float]
    tolerance: Optional[float]
    verdict: str
    hours: Optional[Hours] = None


def make_row(number, runs, speeds):
    """The `Row` of a published number."""
    values = (counted(number),) if number.measure in COSTS else _values(number, runs)
    if not values:
        hours = training_hours(number, speeds)
        return Row(number, (), None, None, 'not run: %s' % str(hours or 'no speed was measured'), hours)
    verdict = judge(number, values)
    words = verdict.words if number.our_recipe or number.measure in COSTS else (
        'not judged, another recipe (%+.2f)' % verdict.difference)
    return Row(number, values, verdict.difference, verdict.tolerance, words)


@functools.lru_cache(maxsize=None)
def network_costs(network, as_published=False):
    """The `costs` of a network by name, at its data's image size."""
    from openatac.study.cost_table import measure
    cifar = network.startswith('cifar')
    return measure(network, (3, 32, 32) if cifar else (3, 224, 224), 100 if cifar else 1000, as_published)[0]


def multiply_adds(network):
    """As we count them."""
    return network_costs(network).multiply_adds


def counted(number):
    """Our parameters in M or operations in G, counted as the number's source counts them."""
    found, counting = network_costs(number.network, number.counting.dense), number.counting
    if number.measure == published.PARAMETERS:
        return (found.parameters if counting.running_statistics else found.trainable) / 1e6
    return counting.operations * found.multiply_adds / 1e9


# ------------------------------------------------------------------------------------ words

COST_HEAD = ('network', 'published as', 'parameters', 'ours', '', 'operations', 'ours', '')
COST_NOTE = """\
Parameters in M and operations in G, ours counted as the source counts; reproduced: to its last digit. ATAC:
running statistics too, a dense layer as 2 x inputs x outputs - inputs + outputs (openatac costs --published).
AA and FA: two operations for a multiply-add. The others: trained parameters, multiply-adds; their 3.86 and
3.87 G have the stride in a block's first 1x1 convolution, ours, as the authors' code, in its 3x3. With
running statistics too, GE has its 33.7 M."""
ERROR_HEAD = ('published as', 'top-1', 'top-5', 'ours')
ERROR_NOTE = """\
Errors in %, of the epoch with the lowest top-1 error unless it says last. All rows but ATAC's are quoted by
the paper from those of the networks, which trained by other recipes; hours are those of ATAC's recipe."""
SCALED_NOTE = """\
Scaled hours are estimates in proportion to multiply-adds, which leave out much: they are too low for
self-attention (AA, FA) and depthwise convolutions (GE, xUnit), too high for ReLU scaled from ATAC."""
FIGURE_HEAD = ('network', 'published as', 'accuracy', 'ours', 'n', 'verdict')


def report(rows, runs, speeds):
    """Yield the paragraphs that the command prints."""
    imagenet = [row for row in rows if row.number.data == 'ImageNet']
    costs = [row for row in imagenet if row.number.measure in COSTS]
    errors = [row for row in imagenet if row.number.measure not in COSTS]
    figure = [row for row in rows if row.number.measure == published.ACCURACY]
    if costs:
        yield 'ImageNet, costs of one image of 224 x 224 pixels\n\n' + _table(COST_HEAD, _cost_lines(costs))
        yield COST_NOTE
        yield 'ImageNet, validation errors\n\n' + _table(ERROR_HEAD, _error_lines(errors))
        yield ERROR_NOTE
    if figure:
        yield '%s, best test accuracy of all epochs, read off to ±%g\n\n%s' % (
            figure[0].number.data, figure[0].number.uncertainty, _table(FIGURE_HEAD, _figure_lines(figure)))
    yield published.RULE
    others = list(_left_out(runs))
    if others:
        yield '\n'.join(['Not comparable with any of these, and left out:', *others])
    yield '\n'.join(_speed_lines(rows, speeds))


def _cost_lines(rows):
    for parameters, operations in zip(rows[::2], rows[1::2]):
        yield (parameters.number.network, parameters.number.title, *_cost_cells(parameters, '%.1f'),
               *_cost_cells(operations, '%.3g'))


def _cost_cells(row, form):
    value, (ours,) = row.number.value, row.values
    same = row.verdict.startswith('reproduced')
    return form % value, '%.2f' % ours, 'reproduced' if same else '%+.1f %%' % (100 * row.difference / value)


def _error_lines(rows):
    pairs = {}
    for row in rows:
        pairs.setdefault((row.number.title, 'last' in row.number.measure), []).append(row)
    for (title, last), pair in pairs.items():
        errors = ['%.2f' % row.number.value for row in pair] + ['-'] * (2 - len(pair))
        words = ['%s: %s' % (_spread(row, '%.2f'), row.verdict) for row in pair if row.values]
        yield title + (', last epoch' if last else ''), *errors, '; '.join(words) or pair[0].verdict


def _figure_lines(rows):
    for row in rows:
        yield (row.number.network, row.number.title, '%.3f' % row.number.value, _spread(row, '%.4f'),
               str(len(row.values)), row.verdict)


def _spread(row, form):
    """Mean and standard deviation of our values."""
    if not row.values:
        return '-'
    mean = form % statistics.mean(row.values)
    return mean if len(row.values) == 1 else '%s ± %s' % (mean, form % statistics.stdev(row.values))


def _table(head, lines):
    """A table whose last column begins at the left as well."""
    lines = [head, *lines]
    width = max(len(line[-1]) for line in lines)
    text = text_table([(*line[:-1], line[-1].ljust(width)) for line in lines])
    return '\n'.join(line.rstrip() for line in text.splitlines())


def _left_out(runs):
    """A line for each kind of runs that can't be compared."""
    kinds = {}
    for run in runs:
        reasons = published.not_comparable(run.network, run.settings)
        if reasons:
            kinds.setdefault(', '.join(reasons), []).append(run.network)
    for reasons, networks in kinds.items():
        yield '- %d run%s: %s (%s)' % (len(networks), '' if len(networks) == 1 else 's', reasons,
                                       ', '.join(sorted(set(networks))))


def _speed_lines(rows, speeds):
    """What the hours come from."""
    used = dict.fromkeys((row.hours.scaled_from or row.number.network, row.hours.words)
                         for row in rows if row.hours)
    if used:
        yield 'Hours are epochs x training images / images per second, without testing; images per second:'
        yield from ('- %s: %s' % pair for pair in used)
    if any(row.hours and row.hours.scaled_from for row in rows):
        yield SCALED_NOTE
    if not any(speed.kind == 'GPU' and speed is not AUTHORS_SPEED for speed in speeds):
        yield 'No GPU of ours has run anything: hours on GPUs rest on the speed that the authors printed.'


# ------------------------------------------------------------------------------------- file

COLUMNS = ('network', 'published_as', 'data', 'measure', 'published', 'uncertainty', 'source', 'ours',
           'deviation', 'n', 'difference', 'tolerance', 'verdict', 'hours', 'hours_of', 'images_per_second')


def write_csv(path, rows):
    """Write the rows as lines of COLUMNS; OpenatacError if ``path`` can't be written."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(COLUMNS)
    writer.writerows(_csv_line(row) for row in rows)
    try:
        write_text(path, text.getvalue())
    except OSError as error:
        raise OpenatacError('--csv: %s cannot be written (%s); choose another'
                            % (path, error.strerror)) from None


def _csv_line(row):
    number, values = row.number, row.values
    return (number.network, number.title, number.data, number.measure, number.value, number.uncertainty,
            number.source, '%.6g' % statistics.mean(values) if values else '',
            '%.6g' % statistics.stdev(values) if len(values) > 1 else '',
            '' if number.measure in COSTS else len(values),
            '' if row.difference is None else '%.6g' % row.difference,
            '' if row.tolerance is None else '%.6g' % row.tolerance, row.verdict,
            '%.4g' % row.hours.hours if row.hours else '', row.hours.kind if row.hours else '',
            '%s: %s' % (row.hours.scaled_from or number.network, row.hours.words) if row.hours else '')
