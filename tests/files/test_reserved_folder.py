"""A folder is used by one process at a time, which first cleans it up."""
import os

import pytest

from openatac.errors import OpenatacError
from openatac.files.reserved_folder import reserved_folder
from openatac.files.writing import write_text
from tests.helpers.processes.fresh_python import run_python


def test_folder_is_reserved_for_one_process(tmp_path):
    folder = str(tmp_path / 'new' / 'run')
    with reserved_folder(folder, 'run'), \
            pytest.raises(OpenatacError, match=f'another comparison.*{folder}'), \
            reserved_folder(folder, 'comparison'):
        pytest.fail('two users have one folder')
    with reserved_folder(folder, 'run'):
        pass
    assert os.listdir(folder) == []


def test_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(OpenatacError, match=r'file.*cannot be written'), \
            reserved_folder(str(tmp_path / 'file'), 'run'):
        pytest.fail('a file is no folder')


def test_leftovers_of_a_killed_process_are_removed_by_the_next(tmp_path):
    path = str(tmp_path / 'file')
    write_text(path, 'whole')
    code = ('import os; from openatac.files.writing import replace_file\n'
            f'with replace_file({path!r}): os._exit(9)')
    assert run_python('-c', code).returncode == 9
    assert len(os.listdir(tmp_path)) == 2
    with reserved_folder(str(tmp_path), 'run'):
        assert sorted(os.listdir(tmp_path)) == ['.lock', 'file']
