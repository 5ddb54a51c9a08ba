"""`openatac bench` measures all engines in turn, each in its own process. No test checks a speed."""
import os
import signal

import numpy as np
import pytest
from PIL import Image

from openatac.commands import bench
from openatac.errors import OpenatacError
from openatac.export.forms.base import FORMS
from openatac.export.runtimes.base import RUNTIMES, Runtime, register_runtime
from openatac.registry import Registry
from openatac.study.bench import measurement
from openatac.study.bench.measurement import Measurement
from openatac.study.bench.process import BenchProcess, Turn
from openatac.study.bench.speed_figure import bench_figure
from openatac.study.bench.verdict import verdict
from openatac.trained.manifest import Manifest, write_manifest
from tests.helpers.networks.toys import InNumpy
from tests.helpers.processes.commands import command_error, rows_of

SHORT = ['--rounds', '2', '--seconds', '0.01', '--batch-sizes', '1,3']


# --------------------------------------------------------- engines that start without MXNet

# tests/export/test_registered_exports.py also measures one of MXNet's.

class Pixels(Runtime):
    """Outputs the first pixels of an image; the process dies once PREFIX.kill exists."""

    name = 'pixels'
    form = FORMS.find('symbol')

    def load(self):
        with open(self.form.files(self.prefix)[1], 'rb') as handle:
            assert handle.read() == b'parameters'

    def run(self, images):
        if os.path.exists(self.prefix + '.kill'):
            os.kill(os.getpid(), signal.SIGKILL)
        return images.reshape(len(images), -1)[:, :self.manifest.classes]


class Rounded(Pixels):
    """Outputs the same as `Pixels`, rounded to three digits."""

    name = 'rounded'

    def run(self, images):
        return super().run(images).round(3)


class OfInt8(Pixels):
    """An engine for another form."""

    name = 'of-int8'
    form = FORMS.find('int8')


@pytest.fixture(autouse=True)
def registered(restored_registries):
    for engine in (Pixels, Rounded, OfInt8):
        RUNTIMES.register(engine.name, engine)


@pytest.fixture
def folder(tmp_path):
    """A folder with the exports 'relu' and 'atac', only in the symbol form."""
    folder = tmp_path / 'exports'
    folder.mkdir()
    for name in ('relu', 'atac'):
        for path, content in zip(Pixels.form.files(str(folder / name)), (b'symbol', b'parameters')):
            with open(path, 'wb') as handle:
                handle.write(content)
        write_manifest(str(folder / f'{name}.json'), Manifest(name, 3, (3, 16, 16), (120,) * 3, (60,) * 3))
    return folder


def test_exports_and_engines_are_measured(folder, tmp_path, capsys):
    out = str(tmp_path / 'speed')
    assert bench.main([str(folder / 'relu'), str(folder / 'atac-symbol.json'), *SHORT, '--engines',
                       'pixels,rounded', '--out', out]) == 0
    printed = capsys.readouterr()
    table = printed.out.splitlines()
    assert '16 turns' in printed.err  # the expected duration
    rows = rows_of(out + '.csv')
    combinations = [(export, engine, size) for export in ('relu', 'atac') for engine in ('pixels', 'rounded')
                    for size in ('1', '3')]
    assert [(row['export'], row['engine'], row['batch']) for row in rows] == combinations
    assert [tuple(line.split()[:3]) for line in table[1:9]] == combinations
    for row in rows:
        assert row['rounds'] == '2' and int(row['batches']) >= 2 * 3
        assert (float(row['difference']) > 0) == (row['engine'] == 'rounded')
        assert 0 < float(row['p50_ms_low']) <= float(row['p50_ms']) <= float(row['p50_ms_high'])
        assert float(row['p50_ms']) <= float(row['p95_ms']) and float(row['images_per_second']) > 0
        assert row['device'] and int(row['threads']) > 0 and 'mxnet 1.9.1' in row['versions']
        assert row['command'].startswith('openatac bench ') and '--rounds 2' in row['command']
    with Image.open(out + '.png') as figure:
        assert len(np.unique(np.asarray(figure.convert('L')))) > 20


def test_unrunnable_engine_is_named_and_skipped(folder, capsys, monkeypatch):
    two = Registry('engine', hyphens=True)
    for engine in (Pixels, OfInt8):
        two.register(engine.name, engine)
    monkeypatch.setattr(measurement, 'RUNTIMES', two)
    relu = str(folder / 'relu')
    assert bench.main([relu, *SHORT]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert 'of-int8' in first and 'relu-int8-symbol.json' in first
    with pytest.raises(OpenatacError, match=r'of-int8: .*relu-int8-symbol\.json'):
        bench.main([relu, *SHORT, '--engines', 'of-int8'])
    (folder / 'relu-0000.params').write_bytes(b'foreign')
    with pytest.raises(OpenatacError, match=relu):
        bench.main([relu, *SHORT])
    assert relu in capsys.readouterr().out


def test_dead_process_is_one_error(folder):
    measured = BenchProcess(str(folder / 'relu'), 'pixels', [2])
    assert measured.problem is None and measured.outputs.shape == (2, 3)
    assert measured.turn(2, 0).batches >= 3
    (folder / 'relu.kill').touch()
    with pytest.raises(OpenatacError, match='relu .*pixels.* SIGKILL'):
        measured.turn(2, 0)
    measured.close()


@pytest.mark.parametrize('flags, words', [
    (['--batch-sizes', '1,0'], '--batch-sizes: 0'), (['--batch-sizes', '1,2,3,4,5,6,7,8,9'], '8'),
    (['--engines', 'abacus'], 'abacus'), (['--rounds', '0'], '--rounds'), (['--seconds', '0'], '--seconds')])
def test_wrong_flags_are_refused(folder, capsys, flags, words):
    assert words in command_error(capsys, 'bench', 2, folder / 'relu', *flags)


def test_wrong_exports_and_destinations_are_refused(folder, tmp_path, capsys):
    with pytest.raises(OpenatacError, match='nowhere'):
        bench.main([str(tmp_path / 'nowhere'), *SHORT])
    with pytest.raises(OpenatacError, match='nowhere'):
        bench.main([str(folder / 'relu'), *SHORT, '--out', '/proc/nowhere/speed'])
    assert 'relu' in command_error(capsys, 'bench', 2, folder / 'relu', folder / 'relu.json')


# -------------------------------------------------------------- the verdict on measurements

def measured(**speeds):
    """Return measurements of the export 'net' at batch 1 from {engine: images/s in each round}."""
    return [Measurement('net', name.replace('_', '-'), 1,
                        [Turn(1e3 / speed, 2e3 / speed, speed, 3) for speed in of_rounds], 0.0)
            for name, of_rounds in speeds.items()]


def test_verdict_compares_round_by_round():
    first, second, third, fourth = verdict(measured(
        static=[90, 100, 110], fused=[180, 240, 220], int8=[300, 300, 300], onnxruntime=[270, 360, 300],
        torch=[60, 60, 60], torch_compiled=[90, 120, 100]))
    assert first.startswith('net, batch 1') and first.endswith('int8')
    for line, names, ratios in ((second, ('int8', 'torch-compiled'), '3.00 (2.50 to 3.33)'),
                                (third, ('onnxruntime', 'torch-compiled'), '3.00 (3.00 to 3.00)'),
                                (fourth, ('fused', 'torch-compiled'), '2.00 (2.00 to 2.20)')):
        assert ratios in line and all(name in line for name in names)
    assert len(list(verdict(measured(static=[90], torch=[60])))) == 2
    only, = verdict(measured(static=[90]))
    assert only.endswith('static')


def test_verdict_takes_no_other_runtime_for_mxnets(restored_registries):
    register_runtime(InNumpy)
    *_, last = verdict(measured(static=[90], numpy_loop=[300], torch=[60]))
    assert 'MXNet' in last and 'static' in last


def test_figure_has_a_panel_for_each_size():
    pytest.importorskip('matplotlib')
    rows = [each.row() for each in measured(static=[90, 100], torch=[60, 70])]
    figure = bench_figure(rows + [{**row, 'batch': 64} for row in rows], 'a machine')
    assert [panel.get_title().split()[-1] for panel in figure.axes] == ['1', '64']
    assert all(len(panel.patches) == 2 for panel in figure.axes)
