"""`openatac bench` measures all engines in turn, in processes of their own. No test looks at a speed."""
import csv
import os
import shutil

import mxnet as mx
import numpy as np
import pytest
from PIL import Image

from openatac import get_model
from openatac.commands import bench
from openatac.errors import OpenatacError
from openatac.export.exporter import export
from openatac.export.manifest import Manifest
from openatac.export.runtimes.base import RUNTIMES
from openatac.nn.registry import Registry
from openatac.study.bench import measurement
from openatac.study.bench.measurement import Measurement, verdict
from openatac.study.bench.picture import bench_figure
from openatac.study.bench.process import BenchProcess, Turn

SHORT = ['--rounds', '2', '--seconds', '0.01', '--batch-sizes', '1,3']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with the exports 'relu' and 'atac', both of the symbol form only."""
    folder = tmp_path_factory.mktemp('exports')
    for unit in ('relu', 'atac'):
        net = get_model('cifar_resnet8_v2_' + unit, classes=3)
        net.initialize(mx.init.MSRAPrelu())
        export(net, str(folder / unit), Manifest(unit, 3, (3, 16, 16), (120,) * 3, (60,) * 3))
    return folder


def rows_of(path):
    with open(path, newline='', encoding='utf-8') as handle:
        return list(csv.DictReader(handle))


def test_exports_and_engines_are_measured(folder, tmp_path, capsys):
    out = str(tmp_path / 'speed')
    assert bench.main([str(folder / 'relu'), str(folder / 'atac-symbol.json'), *SHORT, '--engines',
                       'static,fused', '--out', out]) == 0
    table = capsys.readouterr().out.splitlines()
    rows = rows_of(out + '.csv')
    combinations = [(export, engine, size) for export in ('relu', 'atac') for engine in ('static', 'fused')
                    for size in ('1', '3')]
    assert [(row['export'], row['engine'], row['batch']) for row in rows] == combinations
    assert [tuple(line.split()[:3]) for line in table[1:9]] == combinations
    for row in rows:
        assert row['rounds'] == '2' and int(row['batches']) >= 2 * 3 and float(row['difference']) < 1e-4
        assert 0 < float(row['p50_ms_low']) <= float(row['p50_ms']) <= float(row['p50_ms_high'])
        assert float(row['p50_ms']) <= float(row['p95_ms']) and float(row['images_per_second']) > 0
        assert row['device'] and int(row['threads']) > 0 and 'mxnet 1.9.1' in row['versions']
        assert row['command'].startswith('openatac bench ') and '--rounds 2' in row['command']
    assert sum('the fastest is' in line for line in table) == 4
    with Image.open(out + '.png') as picture:
        assert len(np.unique(np.asarray(picture.convert('L')))) > 20


def test_what_can_not_run_is_named_and_left_out(folder, tmp_path, capsys, monkeypatch):
    """(Of two engines only: others take long to start.)"""
    for suffix in ('.json', '-symbol.json', '-0000.params'):
        shutil.copy(str(folder / 'relu') + suffix, str(tmp_path / 'relu') + suffix)
    two = Registry('engine')
    for name in ('static', 'int8'):
        two.register(name, RUNTIMES.find(name))
    monkeypatch.setattr(measurement, 'RUNTIMES', two)
    assert bench.main([str(tmp_path / 'relu'), *SHORT]) == 0
    out = capsys.readouterr().out
    assert out.startswith('left out int8 of ') and 'relu-int8-symbol.json is missing' in out
    with pytest.raises(OpenatacError, match='in the engine int8: .*relu-int8-symbol.json is missing'):
        bench.main([str(tmp_path / 'relu'), *SHORT, '--engines', 'int8'])
    (tmp_path / 'relu-0000.params').write_bytes(b'foreign')
    with pytest.raises(OpenatacError, match='no engine can run'):
        bench.main([str(tmp_path / 'relu'), *SHORT])
    assert 'relu-0000.params' in capsys.readouterr().out


def test_a_process_that_dies_is_one_sentence(folder):
    process = BenchProcess(str(folder / 'relu'), 'static', [2])
    assert process.problem is None and process.outputs.shape == (2, 3)
    assert process.turn(2, 0).batches >= 3
    os.kill(process._process.pid, 9)
    with pytest.raises(OpenatacError, match='relu in the engine static: the process ended with code -9'):
        process.turn(2, 0)
    process.close()


@pytest.mark.parametrize('flags, words', [
    (['--batch-sizes', '1,0'], '0 is not'), (['--batch-sizes', '2,2'], 'once'),
    (['--engines', 'abacus'], 'abacus'), (['--rounds', '0'], '--rounds'), (['--seconds', '0'], '--seconds')])
def test_wrong_flags(folder, capsys, flags, words):
    with pytest.raises(SystemExit) as end:
        bench.main([str(folder / 'relu'), *flags])
    assert end.value.code == 2 and words in capsys.readouterr().err


def test_wrong_exports_and_places_are_one_sentence(folder, tmp_path, capsys):
    with pytest.raises(OpenatacError, match='there is no export'):
        bench.main([str(tmp_path / 'nowhere'), *SHORT])
    with pytest.raises(OpenatacError, match='cannot be written'):
        bench.main([str(folder / 'relu'), *SHORT, '--out', str(tmp_path / 'nowhere' / 'speed')])
    with pytest.raises(SystemExit):
        bench.main([str(folder / 'relu'), str(folder / 'relu.json')])
    assert 'named twice' in capsys.readouterr().err


# What is said of measurements.

def measured(**speeds):
    """Measurements of an export 'net' at batch 1, of {engine: images/s in each round}."""
    return [Measurement('net', name.replace('_', '-'), 1,
                        [Turn(1e3 / speed, 2e3 / speed, speed, 3) for speed in of_rounds], 0.0)
            for name, of_rounds in speeds.items()]


def test_the_verdict_compares_round_by_round():
    first, second, third, fourth = verdict(measured(
        static=[90, 100, 110], fused=[180, 240, 220], int8=[300, 300, 300], onnxruntime=[270, 360, 300],
        torch=[60, 60, 60], torch_compiled=[90, 120, 100]))
    assert first == 'net, batch 1: the fastest is int8'
    assert second.endswith('of ours, int8, is 3.00 (2.50 to 3.33) times as fast as the fastest of PyTorch, '
                           'torch-compiled')
    assert 'of ours in float32, onnxruntime, is 3.00 (3.00 to 3.00) times' in third
    assert 'of MXNet in float32, fused, is 2.00 (2.00 to 2.20) times' in fourth
    assert len(verdict(measured(static=[90], torch=[60]))) == 2
    assert verdict(measured(static=[90])) == ['net, batch 1: the fastest is static']


def test_the_picture_has_a_panel_for_each_size():
    pytest.importorskip('matplotlib')
    rows = [each.row() for each in measured(static=[90, 100], torch=[60, 70])]
    figure = bench_figure(rows + [{**row, 'batch': 64} for row in rows], 'a machine')
    assert [panel.get_title() for panel in figure.axes] == ['batch of 1', 'batch of 64']
    assert all(len(panel.patches) == 2 for panel in figure.axes)
