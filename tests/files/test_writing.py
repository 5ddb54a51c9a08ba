"""Writing to a path where a device, a FIFO, a link, a folder or another's file already exists."""
import ast
import contextlib
import errno
import json
import os
import re
import shutil
import signal
import stat
import threading
from pathlib import Path

import pytest

from openatac import cli
from openatac.errors import OpenatacError
from openatac.export.file_set import replace_set
from openatac.files.csv_file import write_csv
from openatac.files.writing import check_prefix, remove_leftovers, replace_file, write_text, writing
from tests.helpers.paths import ROOT
from tests.helpers.processes.commands import command_error
from tests.helpers.processes.fresh_python import run_python

ROWS = [{'a': 1, 'b': 'x'}]
TEXT = 'a,b\n1,x\n'
as_root = pytest.mark.skipif(os.geteuid() != 0, reason='only root makes devices and gives files away')


def written_by_set(path):
    """Write TEXT to ``path`` as part of a file set."""
    with replace_set(path[:-len('.csv')], [path], last=path) as aside:
        write_csv(aside + '.csv', ['a', 'b'], ROWS)


def written_alone(path):
    write_csv(path, ['a', 'b'], ROWS)


both = pytest.mark.parametrize('write', [written_alone, written_by_set])


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / 'out.csv')


def reader_of(fifo):
    """Start a thread that reads a FIFO; return (the list that receives its content, the thread)."""
    found = []
    thread = threading.Thread(target=lambda: found.append(Path(fifo).read_text()), daemon=True)
    thread.start()
    return found, thread


@both
def test_fifo_is_written_to(path, write):
    os.mkfifo(path)
    found, thread = reader_of(path)
    write(path)
    thread.join(10)
    assert found == [TEXT] and stat.S_ISFIFO(os.stat(path).st_mode)


@both
@as_root
def test_device_is_written_to(path, write):
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))  # like /dev/null
    write(path)
    assert stat.S_ISCHR(os.stat(path).st_mode) and os.stat(path).st_rdev == os.makedev(1, 3)


@both
@as_root
def test_full_device_is_an_error(path, write):
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 7))  # like /dev/full
    with pytest.raises(OpenatacError, match=os.strerror(errno.ENOSPC)), writing(path):
        write(path)
    assert stat.S_ISCHR(os.stat(path).st_mode)


@both
@pytest.mark.parametrize('place', ['elsewhere', '.'])
@pytest.mark.parametrize('there', [True, False])
def test_link_is_kept_and_its_target_replaced(tmp_path, path, write, place, there):
    (tmp_path / 'elsewhere').mkdir()
    real = tmp_path / place / 'real'
    if there:
        real.write_text('old')
        real.chmod(0o640)
    os.symlink(real, tmp_path / 'middle')
    os.symlink('middle', path)
    write(path)
    assert os.readlink(path) == 'middle' and os.readlink(tmp_path / 'middle') == str(real)
    assert real.read_text() == TEXT
    assert not there or stat.S_IMODE(real.stat().st_mode) == 0o640
    names = {'out.csv', 'middle', 'elsewhere', 'real'}
    assert {name for _, folders, files in os.walk(tmp_path) for name in folders + files} == names


@both
def test_circular_link_is_refused(path, write):
    os.symlink('out.csv', path)
    with pytest.raises(OpenatacError, match='out.csv'), writing(path):
        write(path)
    assert os.readlink(path) == 'out.csv'


@both
def test_folder_is_refused(tmp_path, path, write):
    os.mkdir(path)
    with pytest.raises(OpenatacError, match='out.csv'), writing(path):
        write(path)
    assert os.listdir(tmp_path) == ['out.csv'] and not os.listdir(path)


@both
def test_mode_and_owner_are_kept(path, write):
    write_text(path, 'old')
    os.chmod(path, 0o604)
    owner = (12, 34) if os.geteuid() == 0 else (os.getuid(), os.getgid())
    os.chown(path, *owner)
    write(path)
    found = os.stat(path)
    assert Path(path).read_text() == TEXT
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o604, *owner)


@both
def test_new_file_mode_follows_the_umask(path, write):
    before = os.umask(0o027)
    try:
        write(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o640


@both
def test_umask_is_not_changed(path, write, monkeypatch):
    monkeypatch.setattr(os, 'umask', lambda mask: pytest.fail(f'the umask became {mask:o}'))
    write(path)
    assert Path(path).read_text() == TEXT


def test_replacement_of_a_private_file_is_private(path):
    write_text(path, 'old')
    os.chmod(path, 0o600)
    with replace_file(path) as temporary:
        assert stat.S_IMODE(os.stat(temporary).st_mode) == 0o600


def test_command_writes_to_a_fifo(tmp_path, path, capsys):
    os.mkfifo(path)
    found, thread = reader_of(path)
    (tmp_path / 'results').mkdir()
    shutil.copytree(ROOT / 'results' / 'cifar10_b1' / 'runs' / 'b1-relu-seed1', tmp_path / 'results' / 'run')
    assert cli.main(['published', str(tmp_path / 'results'), '--network', 'cifar_resnet8_v2_relu',
                     '--csv', path]) == 0
    thread.join(10)
    assert found and found[0].startswith('network,')
    assert stat.S_ISFIFO(os.stat(path).st_mode)


def test_standard_output_redirected_to_a_file_is_not_replaced(tmp_path):
    """With --csv /dev/stdout > FILE, both the rows and the printed text are in FILE."""
    code = ('import os, sys\nos.dup2(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT), 1)\n'
            'from openatac.files.writing import write_text\nprint("before")\n'
            'write_text("/dev/stdout", "rows\\n")\nprint("after")')
    assert run_python('-c', code, tmp_path / 'all').returncode == 0
    assert (tmp_path / 'all').read_text() == 'before\nrows\nafter\n'


def test_file_replacement_is_atomic(tmp_path):
    path = tmp_path / 'file'
    path.write_text('old')
    with contextlib.suppress(KeyError), replace_file(str(path)) as temporary:
        with open(temporary, 'w') as handle:
            handle.write('half of the n')
        raise KeyError
    assert path.read_text() == 'old' and os.listdir(tmp_path) == ['file']
    write_text(str(path), 'new')
    assert path.read_text() == 'new' and os.listdir(tmp_path) == ['file']


# ----------------------------------------------------------------- prefixes of output files

@pytest.mark.parametrize('path', ['.', '', 'folder/', './folder/..'])
def test_folder_is_refused_as_a_file_prefix(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    os.mkdir('folder')
    with pytest.raises(ValueError, match=re.escape(repr(path))):
        check_prefix(path)
    for beside in ('folder/x', 'folder'):  # folder.json lies beside the folder
        assert check_prefix(beside) == beside


@pytest.mark.parametrize('command', [
    ['pack', 'photos', 'folder/'], ['bench', 'x', '--out', 'folder/'], ['gates', 'x', '--out', 'folder/.'],
    ['export', 'cifar_resnet8_v2_relu', 'x.params', 'folder/']])
def test_commands_refuse_a_folder_as_prefix(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    os.mkdir('folder')
    os.mkdir('photos')
    assert repr(command[-1]) in command_error(capsys, command[0], 2, *command[1:])
    assert not os.listdir('folder')


# ------------------------------------------------------- all modules write through this one

WRITERS = {'files/writing.py', 'data/small/cifar_location.py', 'data/small/download.py',
           'data/records/pack.py', 'export/file_set.py', 'training/checkpoints/checkpoint.py'}


def test_only_the_writing_modules_rename_files():
    """Only `openatac.files.writing` and modules that write whole folders or sets may rename files."""
    for source in (ROOT / 'openatac').rglob('*.py'):
        calls = {node.func.attr for node in ast.walk(ast.parse(source.read_text('utf-8')))
                 if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
                 and ast.unparse(node.func.value) == 'os'}
        if str(source.relative_to(ROOT / 'openatac')) not in WRITERS:
            assert not calls & {'replace', 'rename', 'renames', 'link'}, source


def test_summary_is_written_through_a_link(tmp_path):
    from openatac.training.tracking.trackers import MetricsFiles
    (tmp_path / 'run').mkdir()
    os.symlink('../real', tmp_path / 'run' / 'summary.json')
    MetricsFiles(str(tmp_path / 'run')).finish([], {'a': 1})
    assert json.loads((tmp_path / 'real').read_text()) == {'a': 1}
    assert os.path.islink(tmp_path / 'run' / 'summary.json')


# ------------------------------------------------------------- leftovers of a killed writer

def test_next_writer_removes_leftovers_of_a_killed_one(path, tmp_path):
    process = os.fork()
    if not process:
        try:
            with replace_file(path):
                os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(process, 0)[1]) == signal.SIGKILL
    assert len(os.listdir(tmp_path)) == 1
    written_alone(path)
    assert os.listdir(tmp_path) == ['out.csv']


def test_writer_keeps_files_in_use_and_files_with_other_names(path, tmp_path):
    others = ['.out.csv.part', '.out.csv.x.12345678.part', '.other.csv.12345678.part']
    for name in others:
        (tmp_path / name).write_text('')
    (tmp_path / '.out.csv.linked12.part').symlink_to(tmp_path / 'nowhere')
    with replace_file(path) as temporary:
        written_alone(path)
        with open(temporary, 'w', encoding='utf-8') as handle:
            handle.write('last')
    assert sorted(os.listdir(tmp_path)) == sorted([*others, '.out.csv.linked12.part', 'out.csv'])
    assert (tmp_path / 'out.csv').read_text() == 'last'


def test_only_own_leftovers_are_removed(tmp_path):
    for name in ('.a.csv.abcd_123.part', '.mine.part', 'b.part'):
        (tmp_path / name).write_text('')
    (tmp_path / '.set.abcd1234.part').mkdir()
    remove_leftovers(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ['.mine.part', '.set.abcd1234.part', 'b.part']
