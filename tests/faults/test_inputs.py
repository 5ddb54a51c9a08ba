"""Only regular files are opened as inputs: a FIFO or a device is an error at once."""
import ast
import io
import os
import shutil

import pytest

from openatac.commands import pack, predict
from openatac.data.images.folder import ImageFolder
from openatac.data.images.source import BadImageError
from openatac.data.records.record_file import RecordFile
from openatac.distributed.launch.clusters import read_hosts
from openatac.errors import OpenatacError
from openatac.files.csv_file import read_csv
from openatac.files.mxnet_arrays import read_params
from openatac.files.reading import check_input, open_input, read_input, read_limited, read_text
from openatac.models.weights import read_arrays
from openatac.options.command_line import DEFAULT, ParsedFlags
from openatac.options.declaration import build_config, option_fields
from openatac.study.costs.named_costs import costs_by_name_or_file
from openatac.study.finished_runs import read_run, runs_in
from openatac.trained.manifest import read_manifest
from openatac.training.config import CifarConfig
from openatac.training.networks.initial_files import read_initial_config
from openatac.training.run_folder import RunFolder
from tests.helpers.paths import ROOT

# They open the kernel's tables, standard input, and files that they have just written.
OWN = {'openatac/training/dry_run.py', 'openatac/study/bench/machine.py',
       'openatac/training/tracking/contention.py'}
OWN_FOLDERS = 'openatac/system/', 'openatac/console/', 'openatac/files/'


@pytest.fixture(params=['FIFO', '/dev/zero', 'folder', 'circular link'])
def odd(request, tmp_path):
    """A function odd(path) that creates something other than a regular file."""
    def make(path):
        if os.path.lexists(path):
            os.unlink(path)
        if request.param == 'FIFO':
            os.mkfifo(path)
        elif request.param == 'folder':
            os.mkdir(path)
        else:
            os.symlink('/dev/zero' if request.param == '/dev/zero' else path, path)
        return str(path)

    return make


@pytest.mark.parametrize('read', [
    open_input, read_text, read_csv, lambda path: check_input(path, 10), lambda path: read_input(path, 10)])
def test_every_open_function_refuses_special_files_at_once(odd, tmp_path, read):
    with pytest.raises(OSError, match=str(tmp_path / 'a')):
        read(odd(tmp_path / 'a'))


GIVEN = ParsedFlags(build_config(CifarConfig, {}), dict.fromkeys(option_fields(CifarConfig), DEFAULT))


@pytest.mark.parametrize('name, read', [
    ('a.params', read_params), ('a.params', read_arrays), ('hosts', read_hosts), ('a.rec', RecordFile),
    ('a.json', lambda path: read_manifest(path[:-5])),
    ('a.json', lambda path: costs_by_name_or_file(path, (3, 32, 32))),
    ('settings.json', lambda path: RunFolder(os.path.dirname(path)).config()),
    ('summary.json', lambda path: read_run(os.path.dirname(path))),
    ('summary.json', lambda path: runs_in(os.path.dirname(path)) or fail()),
    ('a-flags.json', lambda path: read_initial_config(path.replace('-flags.json', ''), GIVEN))])
def test_every_reader_refuses_special_files(odd, tmp_path, name, read):
    path = odd(tmp_path / name)
    if os.path.isdir(path) and name == 'summary.json':
        pytest.skip('a folder of that name is not looked at')
    with pytest.raises(OpenatacError):
        read(path)


def fail():
    raise OpenatacError('nothing was found there')


@pytest.mark.parametrize('ending', ['.rec', '.idx', '.classes', '.crc32'])
def test_special_file_among_record_files_is_refused(odd, record_prefix, ending):
    odd(record_prefix + ending)
    with pytest.raises(OpenatacError):
        pack.main(['--check', record_prefix + '.rec', '-j', '1'])


def test_every_folder_reader_skips_special_files(odd, class_folders, tmp_path, prefix, capsys):
    folder = shutil.copytree(class_folders, tmp_path / 'photos')
    bad = odd(folder / 'class0' / '003.jpg')
    source = ImageFolder(str(folder))
    assert len(source) == 12
    with pytest.raises(BadImageError):
        source.read(3)
    assert pack.main([str(folder), str(tmp_path / 'out'), '-j', '1']) == 0
    assert len(RecordFile(str(tmp_path / 'out.rec'))) == 11
    capsys.readouterr()
    code = predict.main([prefix, str(folder)])
    printed = capsys.readouterr()
    if not os.path.isdir(bad):  # a folder may hold images
        assert code == 1 and bad in printed.err
    assert printed.out.count('class1') == 6


def test_growing_file_is_read_only_up_to_the_limit(tmp_path):
    (tmp_path / 'a').write_bytes(bytes(11))
    assert len(read_input(str(tmp_path / 'a'), 11)) == 11
    with pytest.raises(OSError, match=str(tmp_path / 'a')):
        read_input(str(tmp_path / 'a'), 10)
    with open('/dev/zero', 'rb') as endless, pytest.raises(OSError):  # as standard input is
        read_limited(endless, 1000, '-')
    with pytest.raises(OSError):
        read_limited(io.BytesIO(bytes(11)), 10, '-')


def test_only_the_reading_module_opens_inputs():
    """A reader that opens a path by itself would hang at a FIFO: it must use openatac.files.reading."""
    found = []
    for path in (ROOT / 'openatac').rglob('*.py'):
        name = path.relative_to(ROOT).as_posix()
        if name in OWN or name.startswith(OWN_FOLDERS):
            continue
        for node in ast.walk(ast.parse(path.read_text('utf-8'))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ('open', 'os.open', 'np.load'):
                mode = ast.unparse(node.args[1]).strip("'") if len(node.args) > 1 else 'r'
                if not set('wax') & set(mode.lower()):
                    found.append(f'{name}: {ast.unparse(node)}')
    assert found == []
