"""Damaged archives are reported as such, and other errors are left alone."""
import tarfile
import zipfile

import pytest

from openatac.data.archives import open_files
from openatac.errors import DataError


@pytest.fixture(params=['zip', 'tar', 'tar.gz'])
def archive(request, tmp_path):
    """The path of an archive with one file, in a folder."""
    (tmp_path / 'a.txt').write_text('text' * 5000)
    path = tmp_path / f'x.{request.param}'
    if request.param == 'zip':
        with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as file:
            file.write(tmp_path / 'a.txt', 'folder/a.txt')
    else:
        with tarfile.open(path, 'w:gz' if request.param == 'tar.gz' else 'w') as file:
            file.add(tmp_path / 'a.txt', 'folder/a.txt')
    return path


def test_members_are_read_by_their_paths(archive):
    with open_files(str(archive), ()) as files:
        assert list(files) == ['folder/a.txt'] and files['folder/a.txt'].size == 20000
        with files['folder/a.txt'].open() as stream:
            assert stream.read() == b'text' * 5000


def test_errors_of_the_caller_are_not_blamed_on_the_archive(archive):
    for error in (ValueError('mine'), KeyError('mine'), OverflowError('mine')):
        with pytest.raises(type(error), match='mine'), open_files(str(archive), ()):
            raise error


def test_damaged_member_is_reported(archive):
    damaged = bytearray(archive.read_bytes())
    damaged[60:80] = bytes(20)
    archive.write_bytes(damaged)

    def read_all():
        with open_files(str(archive), ()) as files:
            for file in files.values():
                with file.open() as stream:
                    stream.read()

    if archive.suffix == '.tar':  # a plain tar has checksums of its headers only
        read_all()
    else:
        with pytest.raises(DataError, match=archive.name):
            read_all()
