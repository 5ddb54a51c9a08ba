"""The files of a comparison: records of its runs, and what is made of them."""
import json
import os

from openatac.console.text import for_markdown, without_controls
from openatac.errors import OpenatacError
from openatac.files.csv_file import write_csv
from openatac.files.reading import read_text
from openatac.files.schema import parse_json, validate
from openatac.files.writing import write_text, writing
from openatac.study.comparison import statistics
from openatac.study.comparison.accuracy_picture import write_accuracy_picture
from openatac.study.comparison.report_page import page
from openatac.study.comparison.runs import RECORD, check_comparable, find_runs, run_name, runs_in

NOTE = 'note.txt'
ADVICE = ': make room or choose another folder'
COLUMNS = ('unit', 'blocks', 'seed', 'parameters', 'multiply_adds', 'dataset', 'training_images',
           'test_images', 'epochs', 'best_accuracy', 'best_epoch', 'last_accuracy', 'images_per_second',
           'device', 'threads', 'openatac', 'mxnet', 'torch', 'numpy', 'python', 'command', 'log')


def take_in(sources, folder):
    """Copy the records of the runs in the folders ``sources`` to ``folder``, unless they are in it.

    The machine's paths in them are cut down to their last part. Nothing is copied if not all of them can be
    compared with each other and with those in ``folder``.
    """
    home = os.path.realpath(folder)
    new = [run for source in sources for run in find_runs(source)
           if os.path.commonpath([home, os.path.realpath(run.folder)]) != home]
    check_comparable([*runs_in(folder), *new])
    records = {run_name(run): _record(run) for run in new}
    with writing(folder, ADVICE):
        for name, record in records.items():
            place = os.path.join(folder, 'runs', name)
            os.makedirs(place, exist_ok=True)
            for file in RECORD:  # of which the last marks a finished run
                write_text(os.path.join(place, file), record[file])


def _record(run):
    """{file of RECORD: its text without the machine's paths}."""
    try:
        texts = {}
        for name in RECORD:
            texts[name] = read_text(os.path.join(run.folder, name))
        settings = validate(parse_json(texts['settings.json']), dict)
    except (OSError, ValueError) as error:
        raise OpenatacError('%s lacks %s, or they are damaged (%s): name a folder with all of these files'
                            % (run.folder, ' or '.join(RECORD), error)) from None
    paths = sorted((value for value in settings.values() if isinstance(value, str) and os.path.isabs(value)
                    and os.path.basename(os.path.normpath(value))), key=len, reverse=True)
    for name, text in texts.items():
        for path in paths:
            short = os.path.basename(os.path.normpath(path))
            text = text.replace(path, short).replace(json.dumps(path)[1:-1], json.dumps(short)[1:-1])
        texts[name] = text
    return texts


def read_note(folder):
    """What was noted of the data, or an empty text."""
    try:
        return without_controls(read_text(os.path.join(folder, NOTE))).strip()
    except FileNotFoundError:
        return ''
    except (OSError, ValueError) as error:
        raise OpenatacError('%s cannot be read (%s): write it again by --note'
                            % (os.path.join(folder, NOTE), error)) from None


def write_note(folder, note):
    """Keep a note on the data for this comparison and those that are made anew of it."""
    with writing(folder, ADVICE):
        write_text(os.path.join(folder, NOTE), without_controls(note) + '\n')


def write_comparison(folder, measure):
    """Write the files of the comparison of the runs in ``folder``; returns the text of comparison.md."""
    groups = statistics.group(find_runs(folder), read_note(folder))
    sentences = ['- %s' % for_markdown(sentence) for sentence in statistics.statements(groups, measure)]
    if sentences:
        sentences = ['', 'Differences in %s:' % measure.replace('_', ' '), '', *sentences]
    text = '\n'.join([*map(for_markdown, statistics.circumstances(groups)), '',
                      statistics.markdown(groups), *sentences]) + '\n'
    document = page(groups, measure)
    with writing(folder, ADVICE):
        write_csv(os.path.join(folder, 'runs.csv'), COLUMNS, _rows(groups, folder))
        write_text(os.path.join(folder, 'comparison.md'), text)
        write_accuracy_picture(os.path.join(folder, 'comparison.png'), groups, measure)
        write_text(os.path.join(folder, 'comparison.html'), document)
    return text


def _rows(groups, folder):
    """A dict of COLUMNS, and more, for each run."""
    for group in groups:
        for run in group.runs:
            yield {**run.summary, **run.summary['versions'], **group._asdict(), 'seed': run.seed,
                   'log': os.path.relpath(os.path.join(run.folder, 'train.log'), folder)}
