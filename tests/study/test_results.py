"""The documents show what lies in results/, and what lies there is made of the records beside it."""
import csv
import re
import runpy
import shutil

import pytest

from openatac.study.comparison.files import write_comparison
from tests.conftest import ROOT

COMPARISONS = sorted(path.parent for path in (ROOT / 'results').glob('*/runs.csv'))


@pytest.mark.parametrize('name', ['benchmark.csv', 'record_pipeline.csv'])
def test_the_tables_of_speed_show_what_was_measured(name):
    text = (ROOT / 'docs' / 'reference' / 'speed.md').read_text('utf-8')
    with open(ROOT / 'results' / name, newline='', encoding='utf-8') as handle:
        for row in csv.DictReader(handle):
            cells = ' | '.join(value for key, value in row.items() if key != 'machine')
            assert f'| {cells} |' in text


def test_the_table_of_engines_shows_what_was_measured():
    text = (ROOT / 'docs' / 'reference' / 'speed.md').read_text('utf-8')
    with open(ROOT / 'results' / 'training_engines.csv', newline='', encoding='utf-8') as handle:
        for row in csv.DictReader(handle):
            assert f'| {" | ".join([*row.values()][:6])} |' in text


@pytest.mark.parametrize('folder', COMPARISONS, ids=lambda path: path.name)
def test_comparisons_are_made_of_their_records(folder, tmp_path):
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy)
    text = write_comparison(str(copy), 'last_accuracy')
    for name in ('runs.csv', 'comparison.md'):
        assert (copy / name).read_text('utf-8') == (folder / name).read_text('utf-8')
    shown = (ROOT / 'docs' / 'results.md').read_text('utf-8')
    assert not [line for line in text.splitlines() if line.startswith('|') and line not in shown], (
        'python docs/fill_tables.py')


def test_the_table_of_inference_speeds_is_made_of_their_records():
    table = runpy.run_path(str(ROOT / 'benchmarks' / 'inference_table.py'))['main']()
    assert table in (ROOT / 'docs' / 'reference' / 'speed.md').read_text('utf-8')


def test_no_path_of_a_machine_is_in_the_results():
    for path in (ROOT / 'results').rglob('*'):
        if path.is_file() and path.suffix not in ('.png', '.params'):
            found = re.search(r'(?<![\w.])/(tmp|home|root|work|Users|mnt|data)/', path.read_text('utf-8'))
            assert not found, path


def test_there_is_a_comparison():
    assert COMPARISONS


def test_runs_have_left_no_locks():
    assert not list((ROOT / 'results').rglob('.lock'))
