"""Finished runs of train_cifar.py, read from their folders, and whether they may be compared."""
import math
import os
from typing import NamedTuple

from openatac.errors import OpenatacError
from openatac.files.csv_file import read_csv
from openatac.files.schema import read_json
from openatac.training.run_files import Summary

# What a run's folder must hold to be read again, without its parameters and checkpoints.
RECORD = ('settings.json', 'metrics.csv', 'train.log', 'summary.json')
# What is told of a run in a comparison, and the columns of metrics.csv that are drawn.
_TOLD = {'command', 'epochs', 'best_accuracy', 'best_epoch', 'last_accuracy', 'versions'}
_DRAWN = {'epoch', 'train_loss', 'val_accuracy'}
# Settings in which runs that are compared may differ; all others are their recipe and their data.
COMPARED = ('blocks', 'act_type', 'attention', 'useGlobal', 'seed', 'devices')
# Settings that records of MXNet's or older runs lack, and what stands for that.
_LACKING = {'host': None, 'engine': None, 'tf32': False, 'compile': False}


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
    runs = runs_in(folder)
    if not runs:
        raise OpenatacError('%s holds no finished run of train_cifar.py: name a folder that does' % folder)
    return runs


def runs_in(folder):
    """The same, or an empty list."""
    runs = [read_run(place) for place in sorted(
        place for place, _, files in os.walk(folder) if 'summary.json' in files)]
    for run in runs:
        if not _DRAWN <= set(run.history):
            raise OpenatacError('%s lacks %s: get it again' % (
                os.path.join(run.folder, 'metrics.csv'), ', '.join(sorted(_DRAWN - set(run.history)))))
    return runs


def read_run(folder):
    """The `Run` in ``folder``; OpenatacError if that is no finished run of train_cifar.py."""
    from openatac.models.zoo import unit_name
    try:
        summary = read_json(os.path.join(folder, 'summary.json'), Summary)
        settings = summary['settings']
        rows = read_csv(os.path.join(folder, 'metrics.csv'))
        history = {column: [float(row[column]) for row in rows] for column in rows[0]}
        unit = unit_name(settings['act_type'], settings['attention'], settings['useGlobal'])
        run = Run(folder, unit, settings['blocks'], settings['seed'], _recipe(settings), summary, history)
        if not _TOLD <= set(summary) or len(rows) != summary['epochs']:
            raise ValueError('something is missing')
        return run
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise OpenatacError('%s is not the folder of a finished run of train_cifar.py, or damaged or older '
                            '(%s): its command with --resume auto completes it' % (folder, error)) from None


def run_name(run):
    """The name of a run's folder in a comparison, such as 'b3-atac-seed1'."""
    host = run.recipe['host']
    return ('' if host is None else host + '-') + trained_name(run.unit, run.blocks, run.seed)


def trained_name(unit, blocks, seed):
    """The same of one of the published host."""
    return 'b%d-%s-seed%d' % (blocks, unit, seed)


def check_comparable(runs):
    """Raise OpenatacError if ``runs`` were trained by different recipes or on different data."""
    told, same = {}, {}
    for run in runs:
        names = sorted(name for name, value in run.recipe.items()
                       if told.setdefault(name, (value, run))[0] != value)
        if names:
            raise OpenatacError('%s and %s differ in %s: compare only runs of one recipe on the same data' % (
                told[names[0]][1].folder, run.folder, ', '.join(
                    '%s (%s and %s)' % (name, told[name][0], run.recipe[name]) for name in names)))
        other = same.setdefault((run.unit, run.blocks, run.seed), run)
        if repr(other.history) != repr(run.history):  # in which a nan is like another
            raise OpenatacError('%s and %s are both runs of %s with %d blocks and seed %d: leave out one'
                                % (other.folder, run.folder, run.unit, run.blocks, run.seed))


def _recipe(settings):
    """The settings that are not compared, without those that the unit does not use."""
    unused = {'batch_size'}  # of one device; what matters is that of all
    if settings['dataset'] != 'cifar100':
        unused.add('cifar100_labels')
    if settings['act_type'] != 'ChaATAC':
        unused.update(('r', 'useReLU'))
    if settings['act_type'] == 'relu' and settings['attention'] is None:
        unused.add('act_layers')
    if settings['attention'] is None:
        unused.add('reduction')
    return {**_LACKING, **{name: value for name, value in settings.items()
                             if name not in unused and name not in COMPARED},
            'images a step': settings['batch_size'] * device_count(settings['devices'])}


def device_count(devices):
    """How many devices '2 x 1 x cpu' are."""
    return math.prod(int(factor) for factor in devices.split(' x ')[:-1])

