"""What a set of runs says: for each unit and depth its accuracy over the seeds, beside what it costs.

The difference of two units is stated with its 95 % interval and the p value of Welch's t test (scipy),
which takes neither equal spreads nor equal numbers of seeds for granted.
"""
import itertools
import statistics
from typing import List, NamedTuple

from openatac.console.text import for_markdown
from openatac.options import defaults
from openatac.study.comparison.runs import Run, check_comparable
from openatac.training.config import CifarConfig
from openatac.training.run_folder import RunFolder

IMAGE_SHAPE = (3, 32, 32)
MEASURES = ('best_accuracy', 'last_accuracy')
# Settings that are said elsewhere, and those that are said only where they are not the default.
ELSEWHERE = ('dataset', 'data', 'cifar100_labels')
MINOR = ('drop_rate', 'lr_decay_period', 'mode', 'dtype', 'host', 'engine', 'tf32', 'compile', 'resume_from')
HEAD = ('b', 'unit', 'parameters', 'multiply-adds', 'best accuracy', 'last accuracy', 'n', 'images/s')


class Group(NamedTuple):
    """The runs of one unit and depth, which differ in their seeds; parameters are the trained ones.

    note: what must be said of the data beside every figure.
    """

    unit: str
    blocks: int
    runs: List[Run]
    parameters: int
    multiply_adds: int
    note: str = ''

    def values(self, measure):
        """The runs' best_accuracy, last_accuracy or images_per_second."""
        return [run.summary[measure] for run in self.runs]


def group(runs, note=''):
    """The `Group`s of runs, by depth and then by parameters; OpenatacError if they can't be compared."""
    check_comparable(runs)
    members = {}
    for run in runs:
        members.setdefault((run.blocks, run.unit), {})[run.seed] = run
    groups = []
    for (blocks, unit), by_seed in members.items():
        several = [by_seed[seed] for seed in sorted(by_seed)]
        cost = _costs(several[0])
        groups.append(Group(unit, blocks, several, cost.trainable, cost.multiply_adds, note))
    return sorted(groups, key=lambda each: (each.blocks, each.parameters, each.unit))


def _costs(run):
    import mxnet as mx

    from openatac.study.costs.count import costs
    net, _, _ = RunFolder(run.folder).network_of_summary()
    net.infer_shape(mx.nd.zeros((1, *IMAGE_SHAPE)))
    return costs(net, IMAGE_SHAPE)


def rows(groups):
    """A row of strings under HEAD for each group."""
    return [(str(each.blocks), each.unit, '{:,}'.format(each.parameters), '{:,}'.format(each.multiply_adds),
             *(spread(each.values(measure)) for measure in MEASURES), str(len(each.runs)),
             '%.0f' % statistics.median(each.values('images_per_second'))) for each in groups]


def spread(values):
    """Mean and standard deviation of accuracies, such as '0.7711 ± 0.0043'."""
    if len(values) == 1:
        return '%.4f' % values[0]
    return '%.4f ± %.4f' % (statistics.mean(values), statistics.stdev(values))


def markdown(groups):
    """The table of `rows` in Markdown."""
    lines = [HEAD, ('---',) * len(HEAD), *(map(for_markdown, row) for row in rows(groups))]
    return '\n'.join('| %s |' % ' | '.join(line) for line in lines)


def circumstances(groups):
    """Sentences on what the runs have in common: data, recipe, devices, versions, and what they show."""
    runs = [run for each in groups for run in each.runs]
    first = runs[0]
    settings = {name: value for run in runs for name, value in run.recipe.items()}
    usual = defaults(CifarConfig)
    recipe = ', '.join(f'{name} {value}' for name, value in sorted(settings.items())
                       if name not in ELSEWHERE and not (name in MINOR and value == usual[name]))
    devices = sorted({'%s, OMP_NUM_THREADS=%s' % (run.summary['device'], run.summary['threads'])
                      for run in runs})
    versions = sorted({', '.join('%s %s' % pair for pair in run.summary['versions'].items()) for run in runs})
    return ['%s, %d training and %d test images.' % (data_set(groups), first.summary['training_images'],
                                                     first.summary['test_images']),
            'Recipe: %s.' % recipe, 'Device: %s.' % '; '.join(devices), 'Versions: %s.' % '; '.join(versions),
            'Accuracies are on the test images: "best" is that of the best epoch, chosen on those same '
            'images, "last" that of the last epoch. The ± is the standard deviation over n seeds.']


def data_set(groups):
    """Such as 'cifar10' or 'cifar100 (20 superclasses)', with the note on it."""
    run = groups[0].runs[0]
    labels = {'coarse': ' (20 superclasses)', 'fine': ' (100 classes)'}
    note = groups[0].note and ' (%s)' % groups[0].note
    return run.summary['dataset'] + labels.get(run.recipe.get('cifar100_labels'), '') + note


def statements(groups, measure='last_accuracy'):
    """A sentence for each two units of the same depth."""
    pairs = [pair for pair in itertools.combinations(groups, 2) if pair[0].blocks == pair[1].blocks]
    return [statement(second, first, measure) for first, second in pairs]


def statement(one, other, measure='last_accuracy'):
    """How much better the group ``one`` is than ``other``, and whether chance could have done it."""
    found, against = one.values(measure), other.values(measure)
    difference = '%s against %s, b = %d: %+.4f' % (
        one.unit, other.unit, one.blocks, statistics.mean(found) - statistics.mean(against))
    if min(len(found), len(against)) < 2:
        return difference + ' (one seed tells nothing of chance)'
    if len(set(found)) == len(set(against)) == 1:
        return difference + ' (no spread over the seeds, so no test)'
    from scipy import stats
    test = stats.ttest_ind(found, against, equal_var=False)
    low, high = test.confidence_interval()
    return '%s (95 %% interval %+.4f to %+.4f, p = %.2g, n = %d and %d)' % (
        difference, low, high, test.pvalue, len(found), len(against))
