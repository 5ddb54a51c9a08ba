"""openatac demo trains, compares and exports."""
import pytest

from openatac import cli
from openatac.export.exported_symbol import load_block
from openatac.study import demo
from tests.helpers.paths import ROOT
from tests.helpers.processes.scripts import metrics_of


def test_demo_runs_with_one_unit_and_one_epoch(tmp_path, monkeypatch, capsys):
    pytest.importorskip('sklearn')
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    monkeypatch.setattr(demo, 'UNITS', {
        'ATAC': [*demo.UNITS['ATAC'], '--num-epochs', '1', '--lr-decay-epoch', '']})
    assert cli.main(['demo', '--folder', str(tmp_path)]) == 0
    row, = metrics_of(tmp_path / 'atac')
    lines = capsys.readouterr().out.splitlines()
    cells = next(line.split() for line in lines if line.startswith('ATAC '))
    assert cells[1:5] == ['89,578', '14,336,640', *[f'{row["val_accuracy"]:.4f}'] * 2]
    assert (tmp_path / 'curves.png').exists()
    best = demo.classify()[0]
    assert demo.TRAINED in lines[-1] and f'{best.label} {best.score:.2f}' in lines[-1]
    assert len(load_block(str(tmp_path / 'export' / 'atac')).collect_params().keys()) > 20
