"""The files of a comparison: records of its runs, and what is made of them."""
import csv
import io
import json
import os

from openatac.files import write_text
from openatac.study import comparison
from openatac.study.accuracy_picture import write_accuracy_picture
from openatac.study.report_page import page
from openatac.study.runs import RECORD, check_comparable, find_runs, read_run, run_name
from openatac.training.checkpoint import writing_in

COLUMNS = ('unit', 'blocks', 'seed', 'parameters', 'multiply_adds', 'dataset', 'training_images',
           'test_images', 'epochs', 'best_accuracy', 'best_epoch', 'last_accuracy', 'images_per_second',
           'device', 'threads', 'openatac', 'mxnet', 'numpy', 'python', 'command', 'log')


def take_in(source, folder):
    """Copy the records of the runs in ``source`` to ``folder``, unless they are in it.

    The machine's paths in them are cut down to their last part.
    """
    home = os.path.realpath(folder)
    new = [run for run in find_runs(source)
           if os.path.commonpath([home, os.path.realpath(run.folder)]) != home]
    for run in new:
        place = os.path.join(folder, 'runs', run_name(run.unit, run.blocks, run.seed))
        there = [read_run(place)] if os.path.exists(place) else []
        check_comparable(there + [new[0], run])
        os.makedirs(place, exist_ok=True)
        for name in RECORD:
            with open(os.path.join(run.folder, name), encoding='utf-8', newline='') as handle:
                write_text(os.path.join(place, name), _without_paths(handle.read(), run.folder))


def _without_paths(text, folder):
    """``text`` with the paths in a run's settings cut down to their last part."""
    with open(os.path.join(folder, 'settings.json'), encoding='utf-8') as handle:
        settings = json.load(handle)
    for path in filter(None, (settings['data_dir'], settings['save_dir'])):
        text = text.replace(path, os.path.basename(os.path.normpath(path)))
    return text


def write_comparison(folder, measure):
    """Write the files of the comparison of the runs in ``folder``; returns the text of comparison.md."""
    groups = comparison.group(find_runs(folder))
    text = '\n'.join([*comparison.circumstances(groups), '', comparison.markdown(groups), '',
                      'Differences in %s:' % measure.replace('_', ' '), '',
                      *('- %s' % sentence for sentence in comparison.statements(groups, measure))]) + '\n'
    with writing_in(folder):
        write_text(os.path.join(folder, 'runs.csv'), _csv(groups, folder))
        write_text(os.path.join(folder, 'comparison.md'), text)
        write_accuracy_picture(os.path.join(folder, 'comparison.png'), groups, measure)
        write_text(os.path.join(folder, 'comparison.html'), page(groups, measure))
    return text


def _csv(groups, folder):
    """A line of COLUMNS for each run."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=COLUMNS, lineterminator='\n', extrasaction='ignore')
    writer.writeheader()
    for group in groups:
        for run in group.runs:
            log = os.path.relpath(os.path.join(run.folder, 'train.log'), folder)
            writer.writerow({**run.summary, **run.summary['versions'], **group._asdict(), 'seed': run.seed,
                             'log': log})
    return text.getvalue()
