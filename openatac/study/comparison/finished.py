"""Finished runs of both scripts, as the published numbers are held to them."""
import os
from typing import Dict, NamedTuple

from openatac.errors import OpenatacError
from openatac.study.comparison.runs import read_run
from openatac.study.published import numbers
from openatac.training.run_folder import RunFolder, device_count


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


def given_runs(folders):
    """Those in ``folders``; OpenatacError for a folder without any."""
    runs = []
    for folder in dict.fromkeys(folders):
        found = finished_runs(folder)
        if not found:
            raise OpenatacError('%s holds no finished run: name a folder that does' % folder)
        runs += found
    return runs


def _read(folder):
    run = RunFolder(folder)
    try:
        summary = run.summary()
        return (_read_imagenet if summary['dataset'] == 'imagenet' else _read_cifar)(run, summary)
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise OpenatacError('%s is not the folder of a finished run, or of an older version (%s): the same '
                            'command with --resume auto completes it' % (folder, error)) from None


def _read_cifar(folder, summary):
    from openatac.models.zoo import PUBLISHED_CIFAR_HOST, find_host
    run = read_run(folder.path)
    name = summary['model']
    if run.recipe.get('host') is None:
        name = f'{find_host(PUBLISHED_CIFAR_HOST).title_of(run.blocks)}_{run.unit}'
    return _finished(folder.path, name, summary, {numbers.ACCURACY: summary['best_accuracy']})


def _read_imagenet(folder, summary):
    history = folder.history()
    top1, top5 = history['val_accuracy'], history['val_top5_accuracy']
    best = top1.index(max(top1))
    values = {measure: 100 * (1 - accuracies[epoch]) for measure, accuracies, epoch in (
        (numbers.TOP1, top1, best), (numbers.TOP5, top5, best),
        (numbers.LAST_TOP1, top1, -1), (numbers.LAST_TOP5, top5, -1))}
    return _finished(folder.path, summary['model'], summary, values)


def _finished(folder, network, summary, values):
    settings = {name: value for name, value in summary['settings'].items() if name not in ('seed', 'devices')}
    settings.update({name: summary[name] for name in ('dataset', 'training_images', 'test_images')})
    settings['images a step'] = settings['batch_size'] * device_count(summary['device'])
    gpu = summary['device'].endswith('gpu')
    threads = 1 if gpu else int(summary['threads']) if summary['threads'].isdigit() else 0
    return Finished(folder, network, summary['seed'], settings, values, summary['images_per_second'],
                    device_count(summary['device']) * threads, 'GPU' if gpu else 'CPU core')
