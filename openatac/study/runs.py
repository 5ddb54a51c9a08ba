"""Finished runs of train_cifar.py, read from their folders, and whether they may be compared."""
import csv
import json
import os
from typing import NamedTuple

from openatac.errors import OpenatacError

# What a run's folder must hold to be read again, without its parameters and checkpoints.
RECORD = ('summary.json', 'settings.json', 'metrics.csv', 'train.log')
# Settings in which runs that are compared may differ; all others are their recipe and their data.
COMPARED = ('blocks', 'act_type', 'attention', 'useGlobal', 'seed', 'devices')


class Run(NamedTuple):
    """folder; unit: its name, such as 'relu', 'se' or 'atac_global'; blocks per stage; seed;

    recipe: {setting: value} of all that is not compared, the data sets' fingerprint (``data``) included;
    summary: what summary.json says; history: {column of metrics.csv: [its value after each epoch]}.
    """

    folder: str
    unit: str
    blocks: int
    seed: int
    recipe: dict
    summary: dict
    history: dict


def find_runs(folder):
    """The finished runs in ``folder`` and its sub-folders; OpenatacError if there is none."""
    found = sorted(place for place, _, files in os.walk(folder) if 'summary.json' in files)
    runs = [read_run(place) for place in found]
    if not runs:
        raise OpenatacError('%s holds no finished run of train_cifar.py: name a folder that does' % folder)
    return runs


def read_run(folder):
    """The `Run` in ``folder``; OpenatacError if that is no finished run of train_cifar.py."""
    from openatac.models.zoo import unit_name
    try:
        summary = json.loads(_text(folder, 'summary.json'))
        settings = summary['settings']
        rows = list(csv.DictReader(_text(folder, 'metrics.csv').splitlines()))
        history = {column: [float(row[column]) for row in rows] for column in rows[0]}
        unit = unit_name(settings['act_type'], settings['attention'], settings['useGlobal'])
        return Run(folder, unit, settings['blocks'], settings['seed'], _recipe(settings), summary, history)
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        raise OpenatacError('%s is not the folder of a finished run of train_cifar.py, or of one of an older '
                            'version: the same command with --resume auto completes it' % folder) from None


def run_name(unit, blocks, seed):
    """The name of a run's folder in a comparison."""
    return 'b%d-%s-seed%d' % (blocks, unit, seed)


def check_comparable(runs):
    """Raise OpenatacError if ``runs`` were trained by different recipes or on different data."""
    first = runs[0]
    for run in runs[1:]:
        names = sorted(name for name in {*first.recipe, *run.recipe}
                       if first.recipe.get(name) != run.recipe.get(name))
        if names:
            raise OpenatacError('%s and %s differ in %s: compare only runs of one recipe on the same data' % (
                first.folder, run.folder, ', '.join('%s (%s and %s)' % (
                    name, first.recipe.get(name), run.recipe.get(name)) for name in names)))
    seen = {}
    for run in runs:
        other = seen.setdefault((run.unit, run.blocks, run.seed), run)
        if other.history != run.history:
            raise OpenatacError('%s and %s are both runs of %s with %d blocks and seed %d: leave out one'
                                % (other.folder, run.folder, run.unit, run.blocks, run.seed))


def _recipe(settings):
    recipe = {name: value for name, value in settings.items() if name not in COMPARED}
    if settings['dataset'] != 'cifar100':
        del recipe['cifar100_labels']
    recipe['images a step'] = settings['batch_size'] * _count(settings['devices'])
    return recipe


def _count(devices):
    """How many devices '2 x 1 x cpu' are."""
    count = 1
    for factor in devices.split(' x ')[:-1]:
        count *= int(factor)
    return count


def _text(folder, name):
    with open(os.path.join(folder, name), encoding='utf-8', newline='') as handle:
        return handle.read()
