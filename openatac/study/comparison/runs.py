"""Finished runs of train_cifar.py, read from their folders, and whether they may be compared."""
import os
from typing import Any, Dict, NamedTuple

from openatac.errors import OpenatacError
from openatac.options import fields
from openatac.training.config import CifarConfig
from openatac.training.run_folder import RunFolder, device_count

# What a run's folder must hold to be read again, without its parameters and checkpoints.
RECORD = ('settings.json', 'metrics.csv', 'train.log', 'summary.json')
# What is told of a run in a comparison, and the columns of metrics.csv that are drawn.
_TOLD = {'command', 'epochs', 'best_accuracy', 'best_epoch', 'last_accuracy', 'versions'}
_DRAWN = {'epoch', 'train_loss', 'val_accuracy'}


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


def read_run(folder: str) -> Run:
    """The `Run` in ``folder``; OpenatacError if that is no finished run of train_cifar.py."""
    from openatac.models.zoo import unit_name
    run = RunFolder(folder)
    try:
        summary, history = run.summary(), run.history()
        settings = summary['settings']
        unit = unit_name(settings['act_type'], settings['attention'], settings['useGlobal'])
        if not _TOLD <= set(summary) or len(history['epoch']) != summary['epochs']:
            raise ValueError('something is missing')
        return Run(folder, unit, settings['blocks'], settings['seed'], _recipe(settings), summary, history)
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


def _recipe(settings: Dict[str, Any]) -> Dict[str, Any]:
    """The settings that runs must share to be compared: all that matter, but unit, depth and seed.

    Of the batch size only that of all devices together matters.
    """
    known = fields(CifarConfig)
    recipe = {name: field.default for name, field in known.items()
              if field.option.result and field.option.added}
    recipe.update(settings)
    told = {'seed', 'devices', 'batch_size'} | {name for name, field in known.items() if field.option.named}
    return {**{name: value for name, value in recipe.items()
               if name not in told and (name not in known or known[name].option.matters(settings))},
            'images a step': settings['batch_size'] * device_count(settings['devices'])}
