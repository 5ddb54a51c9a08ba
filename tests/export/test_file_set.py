"""A set of files is replaced as a whole or not at all; tests/files/test_writing.py tests single files."""
import os

import pytest

from openatac.export.file_set import replace_set
from openatac.files.writing import write_text


def test_failed_file_set_keeps_link_targets(tmp_path):
    """The second of two files cannot be put in place, since its path is a folder."""
    (tmp_path / 'elsewhere').mkdir()
    real = tmp_path / 'elsewhere' / 'real'
    real.write_text('old')
    os.symlink(real, tmp_path / 'set.a')
    (tmp_path / 'set.old').write_text('old')
    (tmp_path / 'set.b').mkdir()

    def write_both():
        with replace_set(str(tmp_path / 'set'), [f'{tmp_path}/set.a', f'{tmp_path}/set.old']) as aside:
            for name in 'ab':
                write_text(f'{aside}.{name}', 'new')

    with pytest.raises(IsADirectoryError):
        write_both()
    assert real.read_text() == 'old' and (tmp_path / 'set.old').read_text() == 'old'
    assert os.listdir(tmp_path / 'elsewhere') == ['real']
    assert sorted(os.listdir(tmp_path)) == ['elsewhere', 'set.a', 'set.b', 'set.old']
