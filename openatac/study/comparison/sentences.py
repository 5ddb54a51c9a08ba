"""Write sentences about a comparison: the properties common to its runs, and facts about each run."""
from __future__ import annotations

from collections.abc import Sequence

from openatac.options.declaration import Role, option_fields
from openatac.study.comparison.comparable import shared_settings
from openatac.study.comparison.comparison import Comparison
from openatac.study.comparison.differences import (
    POWER,
    WORTH_SHOWING,
    Difference,
    seeds_needed,
    state_findings,
)
from openatac.study.finished_runs import FinishedRun
from openatac.training.config import CifarConfig

ELSEWHERE = ('dataset', 'data', 'cifar100_labels', 'class_names')  # other sentences name these settings


def title(comparison: Comparison) -> str:
    """Return the title of a comparison."""
    return f'Units compared on {comparison.data_set}'


def conclusion(comparison: Comparison, found: Sequence[Difference]) -> list[str]:
    """Return sentences on what the differences show, and how many seeds would show more."""
    said = [state_findings(found)]
    needed = seeds_needed(comparison)
    if needed and any(each.test for each in found):
        said.append(f'At the spread seen here, detecting a difference of {WORTH_SHOWING} with a power of '
                    f'{POWER:.0%} takes about {needed} seeds of each unit.')
    return [sentence for sentence in said if sentence]


def circumstances(comparison: Comparison) -> list[str]:
    """Return sentences on the properties common to the runs: data, recipe, devices, versions and dates."""
    runs = comparison.runs
    summary = runs[0].summary
    options = option_fields(CifarConfig)
    settings = {name: value for run in runs for name, value in shared_settings(run).items()}
    recipe = ', '.join(f'{name} {value}' for name, value in sorted(settings.items())
                       if name not in ELSEWHERE and not (name in options and options[name].has(Role.MINOR)
                                                         and value == options[name].default))
    devices = {f'{run.summary["device"]}, OMP_NUM_THREADS={run.summary["threads"]}' for run in runs}
    versions = {_versions(run) for run in runs}
    return [f'{comparison.data_set}, {summary["training_images"]} training and '
            f'{summary["test_images"]} test images.',
            f'Recipe: {recipe}.', f'Device: {"; ".join(sorted(devices))}.',
            f'Versions: {"; ".join(sorted(versions))}.',
            *([f'Trained on {comparison.dates}.'] if comparison.dates else []),
            f'{_accuracies(comparison)} The ± is the standard deviation over n seeds.']


def _accuracies(comparison: Comparison) -> str:
    if comparison.images_of_epochs == 'validation':
        return ('Accuracies are on validation images, held out of the training images: "best" is that of the '
                'best epoch, chosen on them, "last" that of the last epoch. "Test" is that of the best epoch '
                'on the test images, measured once, at the end.')
    return ('Accuracies are on the test images: "best" is that of the best epoch, chosen on those same '
            'images, "last" that of the last epoch.')


def _versions(run: FinishedRun) -> str:
    return ', '.join(f'{package} {version}' for package, version in run.summary['versions'].items())


def describe_run(run: FinishedRun) -> str:
    """Return a sentence on one run: its accuracies, its speed, its device and its versions."""
    summary = run.summary
    speed = ('at a speed that other processes disturbed,' if summary.get('disturbed') else
             f'{summary["images_per_second"]:.0f} images/s')
    test = f', test {summary["test_accuracy"]:.4f}' if 'test_accuracy' in summary else ''
    inexact = ''.join(f' Resumed inexactly: {line}.' for line in summary.get('inexact_resumes', ()))
    return (f'Seed {run.seed}: best accuracy {summary["best_accuracy"]:.4f} (epoch {summary["best_epoch"]}), '
            f'last {summary["last_accuracy"]:.4f}{test}; {speed} on {summary["device"]}, '
            f'OMP_NUM_THREADS={summary["threads"]}; {_versions(run)}.{inexact}')
