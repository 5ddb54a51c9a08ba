"""A small record file; the tests of this folder damage copies of it."""
import shutil

import pytest

from openatac.commands import pack
from tests.helpers.images.made_up_images import write_photos


@pytest.fixture(scope='session')
def class_folders(tmp_path_factory):
    """A folder of twelve photographs of two classes."""
    return write_photos(tmp_path_factory.mktemp('photos'), classes=2, images=6)


@pytest.fixture(scope='session')
def packed(class_folders, tmp_path_factory):
    """The folder of the record file 'out', made from these photographs."""
    folder = tmp_path_factory.mktemp('records')
    pack.main([class_folders, str(folder / 'out'), '-j', '1'])
    return folder


@pytest.fixture
def record_prefix(packed, tmp_path):
    """The path, without .rec, of a copy of that record file, which a test may damage."""
    shutil.copytree(packed, tmp_path / 'records')
    return str(tmp_path / 'records' / 'out')
