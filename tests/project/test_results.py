"""The documents show the files in results/, generated from the records beside them, which still load."""
import json
import re
import runpy
import shutil

import pytest

from openatac.files.schema import read_json
from openatac.options.declaration import option_values
from openatac.study.comparison.comparison_report import write_comparison
from openatac.study.finished_runs import runs_in
from openatac.training.run_folder import RunFolder, Summary
from openatac.zoo.weights.pretrained import model_card, pretrained_names
from tests.helpers.paths import ROOT
from tests.helpers.processes.commands import rows_of

COMPARISONS = sorted(path.parent for path in (ROOT / 'results').glob('*/runs.csv'))


@pytest.mark.parametrize('name', ['benchmark.csv', 'record_pipeline.csv'])
def test_speed_tables_equal_the_measurements(name):
    text = (ROOT / 'docs' / 'reference' / 'speed.md').read_text('utf-8')
    left_out = 'machine', 'cores', 'network'
    for row in rows_of(ROOT / 'results' / name):
        cells = ' | '.join(value for key, value in row.items() if key not in left_out)
        assert f'| {cells} |' in text


def test_engine_table_equals_the_measurements():
    text = (ROOT / 'docs' / 'reference' / 'speed.md').read_text('utf-8')
    for row in rows_of(ROOT / 'results' / 'training_engines.csv'):
        assert f'| {" | ".join([*row.values()][:6])} |' in text


@pytest.mark.parametrize('folder', COMPARISONS, ids=lambda path: path.name)
def test_comparisons_equal_their_records(folder, tmp_path):
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy)
    text = write_comparison(str(copy), 'last_accuracy')
    for name in ('runs.csv', 'comparison.md'):
        assert (copy / name).read_text('utf-8') == (folder / name).read_text('utf-8')
    shown = (ROOT / 'docs' / 'results.md').read_text('utf-8')
    assert not [line for line in text.splitlines() if line.startswith('|') and line not in shown], (
        'python docs/fill_tables.py')


@pytest.mark.parametrize('name', pretrained_names())
def test_model_card_lists_the_accuracies_of_all_recorded_seeds(name):
    rows = {row['seed']: row for row in rows_of(ROOT / 'results' / 'cifar10_40_epochs' / 'runs.csv')
            if name == f'cifar_resnet{6 * int(row["blocks"]) + 2}_v2_{row["unit"]}'}
    assert model_card(name).accuracies == [float(rows[seed]['last_accuracy']) for seed in sorted(rows)]


def test_inference_speed_table_equals_the_records():
    table = runpy.run_path(str(ROOT / 'benchmarks' / 'inference_table.py'))['main']()
    assert table in (ROOT / 'docs' / 'reference' / 'speed.md').read_text('utf-8')


def test_results_contain_no_machine_paths():
    for path in (ROOT / 'results').rglob('*'):
        if path.is_file() and path.suffix not in ('.png', '.params'):
            found = re.search(r'(?<![\w.])/(tmp|home|root|work|Users|mnt|data)/', path.read_text('utf-8'))
            assert not found, path


def test_results_contain_a_comparison():
    assert COMPARISONS


def test_results_contain_no_lock_files():
    assert not list((ROOT / 'results').rglob('.lock'))


def test_results_of_this_repository_still_load():
    paths = sorted((ROOT / 'results').rglob('summary.json'))
    assert len(paths) >= 10
    for path in paths:
        written = json.loads(path.read_text('utf-8'))
        assert read_json(str(path), Summary) == written
        config = option_values(RunFolder(str(path.parent)).config())
        for name, value in written['settings'].items():
            assert name in ('devices', 'data', 'kvstore') or config[name] == value


def test_runs_in_results_are_read():
    assert len(runs_in(str(ROOT / 'results'))) >= 10
