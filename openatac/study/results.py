"""Finished runs gathered into a CSV file with their logs, and the table made from it.

    openatac results results/cifar10.csv RUN...   adds runs (folders of train_cifar.py) to the file
    openatac results results/cifar10.csv          prints the table: mean, standard deviation, n
"""
import argparse
import csv
import io
import json
import os
import statistics

from openatac.errors import OpenatacError
from openatac.files import write_text

COLUMNS = ('model', 'unit', 'dataset', 'training_images', 'test_images', 'epochs', 'seed', 'best_accuracy',
           'best_epoch', 'last_accuracy', 'images_per_second', 'device', 'threads', 'openatac', 'mxnet',
           'numpy', 'python', 'command', 'log')


def main(argv):
    """``openatac results``; see the module."""
    p = argparse.ArgumentParser(prog='openatac results', description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('csv', metavar='FILE.csv')
    p.add_argument('runs', metavar='RUN', nargs='*')
    args = p.parse_args(argv)
    rows = read(args.csv) if os.path.exists(args.csv) else []
    for folder in args.runs:
        row = gather(folder, os.path.join(os.path.dirname(args.csv), 'logs'))
        rows = [old for old in rows if old['log'] != row['log']] + [row]
    if args.runs:
        write(args.csv, rows)
    if not rows:
        raise OpenatacError('there is no %s yet: name the folders of finished runs to make it' % args.csv)
    print(table(rows))
    return 0


def gather(folder, logs):
    """One finished run as a row of COLUMNS; its log is copied into the folder ``logs``.

    Paths of the machine are cut down to their last part, in the command and in the log.
    """
    try:
        summary, settings = (json.loads(_text(os.path.join(folder, name)))
                             for name in ('summary.json', 'settings.json'))
        log = _text(os.path.join(folder, 'train.log'))
    except OSError:
        raise OpenatacError('%s is not the folder of a finished run of train_cifar.py' % folder) from None

    def without_paths(text):
        for path in filter(None, (settings['data_dir'], settings['save_dir'])):
            text = text.replace(path, os.path.basename(os.path.normpath(path)))
        return text

    unit = 'global gate' if summary['act_type'] == 'ChaATAC' and summary['useGlobal'] else summary['act_type']
    if summary.get('attention'):
        unit += ' + ' + summary['attention']
    name = '%s-%s%s-seed%d.log' % (summary['dataset'], summary['model'],
                                   '-global' if unit == 'global gate' else '', summary['seed'])
    os.makedirs(logs, exist_ok=True)
    write_text(os.path.join(logs, name), without_paths(log))
    values = {**summary, **summary['versions'], 'unit': unit, 'command': without_paths(summary['command']),
              'log': 'logs/' + name}
    return {column: values[column] for column in COLUMNS}


def _text(path):
    with open(path, encoding='utf-8') as handle:
        return handle.read()


def read(path):
    """The rows of a results file, as text; OpenatacError if it is none."""
    try:
        with open(path, newline='', encoding='utf-8') as handle:
            reader = csv.DictReader(handle)
            if tuple(reader.fieldnames or ()) == COLUMNS:
                return list(reader)
    except (OSError, UnicodeDecodeError, csv.Error):
        pass
    raise OpenatacError('%s is not a results file, whose columns are %s: name another one'
                        % (path, ', '.join(COLUMNS)))


def write(path, rows):
    """Write rows of COLUMNS, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=COLUMNS, lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def table(rows):
    """Markdown: for each network and unit, best and last accuracy as mean ± deviation, and n."""
    lines = ['| network | unit | epochs | best accuracy | last accuracy | n | images/s | device |',
             '|---|---|---|---|---|---|---|---|']
    groups = {}
    for row in rows:
        groups.setdefault((row['model'], row['unit'], row['epochs']), []).append(row)
    for (model, unit, epochs), runs in groups.items():
        speed = statistics.median(float(run['images_per_second']) for run in runs)
        devices = sorted({'%s, OMP_NUM_THREADS=%s' % (run['device'], run['threads']) for run in runs})
        lines.append('| %s | %s | %s | %s | %s | %d | %.0f | %s |' % (
            model, unit, epochs, _spread(runs, 'best_accuracy'), _spread(runs, 'last_accuracy'), len(runs),
            speed, '; '.join(devices)))
    return '\n'.join(lines)


def _spread(runs, column):
    values = [float(run[column]) for run in runs]
    if len(values) == 1:
        return '%.4f' % values[0]
    return '%.4f ± %.4f' % (statistics.mean(values), statistics.stdev(values))
