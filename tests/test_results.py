"""Results files are made of finished runs, free of the machine's paths, and the README shows them."""
import csv
import json

import pytest

from openatac.errors import OpenatacError
from openatac.study import results
from tests.conftest import ROOT

SUMMARY = {
    'command': 'train_cifar.py --data-dir /somewhere/data --save-dir /somewhere/run, --seed 1', 'seed': 1,
    'model': 'cifar_resnet8_v2_atac', 'dataset': 'cifar10', 'act_type': 'ChaATAC', 'useGlobal': True,
    'training_images': 500, 'test_images': 100, 'device': '1 x cpu', 'threads': '2', 'epochs': 3,
    'best_accuracy': 0.5, 'best_epoch': 1, 'last_accuracy': 0.25, 'images_per_second': 100.0,
    'versions': {'openatac': '0.1.0', 'mxnet': '1.9.1', 'numpy': '1.26.4', 'python': '3.11.7'},
}


def finished_run(folder, **changes):
    folder.mkdir()
    (folder / 'summary.json').write_text(json.dumps({**SUMMARY, **changes}))
    (folder / 'settings.json').write_text(json.dumps({'data_dir': '/somewhere/data',
                                                      'save_dir': '/somewhere/run,'}))
    (folder / 'train.log').write_text('reading /somewhere/data\n')
    return str(folder)


def test_runs_become_rows_and_a_table(tmp_path, capsys):
    path = str(tmp_path / 'results' / 'x.csv')
    first, second = finished_run(tmp_path / 'a'), finished_run(tmp_path / 'b', seed=2, best_accuracy=0.7)
    results.main([path, first])
    results.main([path, second, first])  # a run that is there already takes its own place
    rows = results.read(path)
    assert [row['seed'] for row in rows] == ['2', '1']
    assert rows[0]['command'] == 'train_cifar.py --data-dir data --save-dir run, --seed 1'
    log = tmp_path / 'results' / rows[0]['log']
    assert log.read_text() == 'reading data\n'
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == ('| cifar_resnet8_v2_atac | global gate | 3 | 0.6000 ± 0.1414 | 0.2500 ± 0.0000 | 2 | 100 '
                    '| 1 x cpu, OMP_NUM_THREADS=2 |')


def test_an_unfinished_run_is_refused(tmp_path):
    with pytest.raises(OpenatacError, match='not the folder of a finished run'):
        results.main([str(tmp_path / 'x.csv'), str(tmp_path)])
    with pytest.raises(OpenatacError, match='there is no'):
        results.main([str(tmp_path / 'x.csv')])


@pytest.mark.parametrize('content', [b'', b'a,b\n1,2\n', b'\x89PNG\xff\x00'])
def test_another_file_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / 'x.csv'
    path.write_bytes(content)
    with pytest.raises(OpenatacError, match='not a results file'):
        results.main([str(path), finished_run(tmp_path / 'run')])
    assert path.read_bytes() == content


def test_the_readme_shows_the_table_of_the_results():
    table = results.table(results.read(ROOT / 'results' / 'cifar10.csv'))
    assert table in (ROOT / 'README.md').read_text('utf-8')


@pytest.mark.parametrize('name', ['benchmark.csv', 'record_pipeline.csv'])
def test_the_readme_shows_what_was_measured(name):
    readme = (ROOT / 'README.md').read_text('utf-8')
    with open(ROOT / 'results' / name, newline='', encoding='utf-8') as handle:
        for row in csv.DictReader(handle):
            assert '| %s |' % ' | '.join(value for key, value in row.items() if key != 'machine') in readme
