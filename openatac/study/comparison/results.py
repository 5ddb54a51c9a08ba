"""The results of a set of runs: for each unit and depth, the accuracy over the seeds and the costs.

The difference between two units has its 95 % interval and the p value of Welch's t test (scipy), which
assumes neither equal variances nor equal numbers of seeds.
"""
from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from openatac.console.text import for_markdown
from openatac.options import defaults
from openatac.study.comparison.comparable import check_comparable, shared_settings
from openatac.study.finished_runs import FinishedRun
from openatac.training.config import CifarConfig
from openatac.training.run_folder import RunFolder

MEASURES = ('best_accuracy', 'last_accuracy', 'test_accuracy')
# Shared settings named in other sentences, and those named only if they differ from the default.
ELSEWHERE = ('dataset', 'data', 'cifar100_labels', 'class_names')
MINOR = ('drop_rate', 'lr_decay_period', 'mode', 'dtype', 'host', 'engine', 'tf32', 'compile', 'resume_from',
         'pretrained', 'freeze', 'head_lr_mult', 'val_split')


class Group(NamedTuple):
    """The runs of one unit and depth, with different seeds.

    Attributes
    ----------
    unit : str
    blocks : int
        Per stage.
    runs : list of FinishedRun
    parameters : int
        Trainable ones.
    multiply_adds : int
        For one image.
    note : str
        On the data, for every figure; or ''.
    """

    unit: str
    blocks: int
    runs: list[FinishedRun]
    parameters: int
    multiply_adds: int
    note: str = ''

    def values(self, measure: str) -> list[float]:
        """Return one of `measures` of each run."""
        return [run.summary[measure] for run in self.runs]  # type: ignore[literal-required]

    def speeds(self) -> list[float]:
        """Return the images/s of each run that no other processes were seen to disturb."""
        return [run.summary['images_per_second'] for run in self.runs if not run.summary.get('disturbed')]


def group_runs(runs: Sequence[FinishedRun], note: str = '') -> list[Group]:
    """Return the `Group`s of runs, by depth and parameters; OpenatacError if they cannot be compared."""
    check_comparable(runs)
    members: dict[tuple[int, str], dict[int, FinishedRun]] = {}
    for run in runs:
        members.setdefault((run.blocks, run.unit), {})[run.seed] = run
    groups = []
    for (blocks, unit), by_seed in members.items():
        several = [by_seed[seed] for seed in sorted(by_seed)]
        groups.append(Group(unit, blocks, several, *_costs(several[0]), note))
    return sorted(groups, key=lambda group: (group.blocks, group.parameters, group.unit))


def _costs(run: FinishedRun) -> tuple[int, int]:
    """Return (trainable parameters, multiply-adds) of a run's network."""
    from openatac.study.costs.count import costs
    from openatac.training.network import image_shape
    net, _, config = RunFolder(run.folder).build(run.config)
    total = costs(net, image_shape(config))
    return total.trainable, total.multiply_adds


# -------------------------------------------------------------------------------------- table

def measures(groups: Sequence[Group]) -> tuple[str, ...]:
    """Return those of `MEASURES` that the runs have: ``test_accuracy`` only with a validation split."""
    return tuple(measure for measure in MEASURES
                 if all(measure in run.summary for group in groups for run in group.runs))


def accuracy_of_epochs(groups: Sequence[Group]) -> str:
    """Say on which images each epoch was evaluated: 'validation accuracy' or 'test accuracy'."""
    return f'{"validation" if "test_accuracy" in measures(groups) else "test"} accuracy'


def words(measure: str, groups: Sequence[Group]) -> str:
    """Say what a measure of the groups is."""
    return {'best_accuracy': f'best {accuracy_of_epochs(groups)} of all epochs',
            'last_accuracy': f'{accuracy_of_epochs(groups)} after the last epoch',
            'test_accuracy': 'test accuracy of the best epoch'}[measure]


def head(groups: Sequence[Group]) -> tuple[str, ...]:
    """Return the heads of the columns of `rows`."""
    accuracies = [measure.replace('_', ' ') for measure in measures(groups)]
    return 'b', 'unit', 'parameters', 'multiply-adds', *accuracies, 'n', 'images/s'


def rows(groups: Sequence[Group]) -> list[tuple[str, ...]]:
    """Return a row under `head` for each group."""
    return [(str(group.blocks), group.unit, f'{group.parameters:,}', f'{group.multiply_adds:,}',
             *(spread(group.values(measure)) for measure in measures(groups)), str(len(group.runs)),
             median_and_range(group.speeds())) for group in groups]


def spread(values: Sequence[float], form: str = '.4f') -> str:
    """Format mean and standard deviation, such as '0.7711 ± 0.0043'; a single value without the latter."""
    mean = f'{statistics.mean(values):{form}}'
    return mean if len(values) == 1 else f'{mean} ± {statistics.stdev(values):{form}}'


def median_and_range(speeds: Sequence[float]) -> str:
    """Format speeds, such as '1519 (1480 to 1558)'; a single one without a range."""
    if not speeds:
        return 'disturbed'
    spread = f' ({min(speeds):.0f} to {max(speeds):.0f})' if len(speeds) > 1 else ''
    return f'{statistics.median(speeds):.0f}{spread}'


def markdown(groups: Sequence[Group]) -> str:
    """Return the table of `rows` in Markdown."""
    heads = head(groups)
    lines = [heads, ('---',) * len(heads), *(map(for_markdown, row) for row in rows(groups))]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


# ---------------------------------------------------------------------------------- sentences

def circumstances(groups: Sequence[Group]) -> list[str]:
    """Return sentences on what the runs have in common: data, recipe, devices and versions."""
    runs = [run for group in groups for run in group.runs]
    summary, usual = runs[0].summary, defaults(CifarConfig)
    settings = {name: value for run in runs for name, value in shared_settings(run).items()}
    recipe = ', '.join(f'{name} {value}' for name, value in sorted(settings.items())
                       if name not in ELSEWHERE and not (name in MINOR and value == usual[name]))
    devices = {f'{run.summary["device"]}, OMP_NUM_THREADS={run.summary["threads"]}' for run in runs}
    versions = {_versions(run) for run in runs}
    return [f'{data_set(groups)}, {summary["training_images"]} training and {summary["test_images"]} test '
            'images.',
            f'Recipe: {recipe}.', f'Device: {"; ".join(sorted(devices))}.',
            f'Versions: {"; ".join(sorted(versions))}.',
            f'{_accuracies(groups)} The ± is the standard deviation over n seeds.']


def _accuracies(groups: Sequence[Group]) -> str:
    if 'test_accuracy' in measures(groups):
        return ('Accuracies are on validation images, held out of the training images: "best" is that of the '
                'best epoch, chosen on them, "last" that of the last epoch. "Test" is that of the best epoch '
                'on the test images, measured once, at the end.')
    return ('Accuracies are on the test images: "best" is that of the best epoch, chosen on those same '
            'images, "last" that of the last epoch.')


def _versions(run: FinishedRun) -> str:
    return ', '.join(f'{package} {version}' for package, version in run.summary['versions'].items())


def facts(run: FinishedRun) -> str:
    """Return a sentence on one run: its accuracies, its speed, its device and its versions."""
    summary = run.summary
    speed = ('at a speed that other processes disturbed,' if summary.get('disturbed') else
             f'{summary["images_per_second"]:.0f} images/s')
    test = f', test {summary["test_accuracy"]:.4f}' if 'test_accuracy' in summary else ''
    inexact = ''.join(f' Resumed inexactly: {line}.' for line in summary.get('inexact_resumes', ()))
    return (f'Seed {run.seed}: best accuracy {summary["best_accuracy"]:.4f} (epoch {summary["best_epoch"]}), '
            f'last {summary["last_accuracy"]:.4f}{test}; {speed} on {summary["device"]}, '
            f'OMP_NUM_THREADS={summary["threads"]}; {_versions(run)}.{inexact}')


def data_set(groups: Sequence[Group]) -> str:
    """Return the name of the data set, such as 'cifar100 (20 superclasses)', with the note on it."""
    run = groups[0].runs[0]
    shared, note = shared_settings(run), groups[0].note and f' ({groups[0].note})'
    labels = {'coarse': ' (20 superclasses)', 'fine': ' (100 classes)'}.get(shared.get('cifar100_labels', ''))
    if shared.get('class_names'):
        labels = f' ({len(shared["class_names"])} classes)'
    return run.summary['dataset'] + (labels or '') + note


def statements(groups: Sequence[Group], measure: str = 'last_accuracy') -> list[str]:
    """Return a sentence for each pair of units of the same depth."""
    pairs = [pair for pair in itertools.combinations(groups, 2) if pair[0].blocks == pair[1].blocks]
    return [statement(second, first, measure) for first, second in pairs]


def statement(one: Group, other: Group, measure: str = 'last_accuracy') -> str:
    """Say by how much the group ``one`` is better than ``other``, and whether chance may explain it."""
    own, others = one.values(measure), other.values(measure)
    difference = (f'{one.unit} against {other.unit}, b = {one.blocks}: '
                  f'{statistics.mean(own) - statistics.mean(others):+.4f}')
    if min(len(own), len(others)) < 2:
        return difference + ' (one seed says nothing about chance)'
    if len(set(own)) == len(set(others)) == 1:
        return difference + ' (no spread over the seeds, so no test)'
    from scipy import stats
    test = stats.ttest_ind(own, others, equal_var=False)
    low, high = test.confidence_interval()
    return (f'{difference} (95 % interval {low:+.4f} to {high:+.4f}, p = {test.pvalue:.2g}, '
            f'n = {len(own)} and {len(others)})')
