"""However `openatac export` is stopped, it leaves complete new files or the previous ones."""
import fcntl
import os
import signal

import pytest

from openatac.errors import OpenatacError
from openatac.export import exported_symbol
from openatac.graph import fusion
from openatac.trained.manifest import read_manifest
from tests.helpers.exports.exporting import export
from tests.helpers.folder_contents import contents
from tests.helpers.networks.trained_network import ATAC, describe, trained_network
from tests.helpers.processes.fresh_python import run_python
from tests.helpers.processes.full_disk import limit_file_size

# --------------------------------------------------- complete new files, or the previous ones


def test_forms_of_the_previous_network_are_removed(net, tmp_path):
    prefix = str(tmp_path / 'net')
    export(net, prefix, describe(), ('symbol', 'fused'))
    (tmp_path / 'net-notes.txt').write_text('mine')
    export(trained_network('cifar_resnet8_v2_relu'), prefix, describe('cifar_resnet8_v2_relu'))
    assert sorted(contents(tmp_path)) == ['net-0000.params', 'net-notes.txt', 'net-symbol.json', 'net.json']


def test_disagreement_changes_nothing(net, tmp_path, monkeypatch):
    prefix = str(tmp_path / 'net')
    export(net, prefix, describe())
    before = contents(tmp_path)
    monkeypatch.setattr(fusion, 'fuse', lambda symbol: symbol.get_backend_symbol('MKLDNN'))  # MXNet's own
    with pytest.raises(OpenatacError, match='fused'):
        export(net, prefix, describe(), ('symbol', 'fused'))
    assert contents(tmp_path) == before


def test_file_that_cannot_be_put_in_place_changes_nothing(net, tmp_path):
    prefix = str(tmp_path / 'net')
    export(net, prefix, describe())
    before = contents(tmp_path)
    (tmp_path / 'net-fused-symbol.json').mkdir()
    with pytest.raises(OpenatacError, match=prefix):
        export(net, prefix, describe(), ('symbol', 'fused'))
    (tmp_path / 'net-fused-symbol.json').rmdir()
    assert contents(tmp_path) == before


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_export_stopped_midway_changes_nothing(net, refused, params, tmp_path, monkeypatch, number):
    export(net, str(tmp_path / 'net'), describe())
    before, handler = contents(tmp_path), signal.getsignal(number)

    def stop(path, **rest):
        assert os.path.exists(path + '-symbol.json')
        os.kill(os.getpid(), number)

    monkeypatch.setattr(exported_symbol, 'load_block', stop)
    assert number.name in refused(
        128 + number, ATAC, params, tmp_path / 'net')
    assert contents(tmp_path) == before and signal.getsignal(number) is handler


def test_signal_while_replacing_files_waits_for_the_export(net, tmp_path, monkeypatch):
    """The export finishes first."""
    export(net, str(tmp_path / 'net'), describe())
    rename = os.rename

    def stop(*paths):
        os.kill(os.getpid(), signal.SIGTERM)
        rename(*paths)

    monkeypatch.setattr(os, 'rename', stop)
    export(net, str(tmp_path / 'net'), describe(labels=list('abcde')))
    assert sorted(contents(tmp_path)) == ['net-0000.params', 'net-symbol.json', 'net.json']
    assert read_manifest(str(tmp_path / 'net')).labels == list('abcde')


KILL = """
import os, sys
from openatac import cli
from openatac.export import exported_symbol
exported_symbol.load_block = lambda path, **rest: os.kill(os.getpid(), 9)
cli.main(['export', *sys.argv[1:]])
"""


def test_export_killed_midway_changes_nothing(net, params, tmp_path):
    """A killed export cannot clean up; the next one does."""
    export(net, str(tmp_path / 'net'), describe())
    before = contents(tmp_path)
    assert run_python('-c', KILL, ATAC, params, tmp_path / 'net', OMP_NUM_THREADS='1').returncode == -9
    assert (tmp_path / '.net.part' / 'new' / 'net-symbol.json').exists()
    assert contents(tmp_path) == before
    export(net, str(tmp_path / 'net'), describe())
    assert sorted(os.listdir(tmp_path)) == sorted(before)


def test_full_disk_changes_nothing(net, refused, params, tmp_path):
    export(net, str(tmp_path / 'net'), describe())
    before = contents(tmp_path)
    with limit_file_size(200000):
        assert str(tmp_path / 'net') in refused(1, ATAC, params, tmp_path / 'net')
    assert contents(tmp_path) == before


def test_second_concurrent_export_is_refused(refused, params, tmp_path):
    aside = tmp_path / '.net.part'
    aside.mkdir()
    with open(aside / 'lock', 'w') as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert str(tmp_path / 'net') in refused(1, ATAC, params, tmp_path / 'net')
        assert aside.exists()
