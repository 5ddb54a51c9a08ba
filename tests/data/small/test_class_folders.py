"""Images in train/CLASS/* and test/CLASS/*, or in an archive of these, become an image set."""
import re
import shutil
import tarfile
import zipfile

import numpy as np
import pytest

from openatac.data.images.decoding import decode
from openatac.data.images.resizing import resize_exactly
from openatac.data.small.class_folders import load_class_folders
from openatac.errors import DataError
from tests.helpers.images.class_folders import CLASSES, write_archive_of, write_class_folders
from tests.helpers.images.made_up_images import encoded, plain


@pytest.fixture
def folders(tmp_path):
    return write_class_folders(tmp_path / 'photos')


def test_images_are_resized_by_the_same_rule_everywhere(folders):
    images = load_class_folders(str(folders), 32, train=True)
    path = folders / 'train' / 'dog' / '1.jpeg'
    expected = resize_exactly(decode(path.read_bytes()), 32, 32).transpose(2, 0, 1)
    assert images.class_names == CLASSES and images.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    np.testing.assert_array_equal(images.images[5], expected)


def test_zip_file_with_windows_paths_is_read(folders, tmp_path):
    with zipfile.ZipFile(tmp_path / 'windows.zip', 'w') as archive:
        for path in sorted(folders.rglob('*')):
            name = str(path.relative_to(folders.parent)).replace('/', '\\')
            archive.writestr(name + '\\' * path.is_dir(), path.read_bytes() if path.is_file() else b'')
    images = load_class_folders(str(tmp_path / 'windows.zip'), 32, train=True)
    others = load_class_folders(str(folders), 32, train=True)
    assert images.class_names == others.class_names
    np.testing.assert_array_equal(images.images, others.images)


@pytest.mark.parametrize('name', ['C:/train/a/1.png', 'C:1.png', '\\\\server\\train\\a\\1.png', '..\\1.png'])
def test_zip_file_with_paths_outside_it_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / 'elsewhere.zip', 'w') as archive:
        archive.writestr(name, b'')
    with pytest.raises(DataError, match='elsewhere.zip'):
        load_class_folders(str(tmp_path / 'elsewhere.zip'), 32, train=True)


def test_zip_file_names_are_utf8_even_without_the_flag(tmp_path):
    photos = write_class_folders(tmp_path / 'photos', ('cat', 'über', '猫'))
    flagged = write_archive_of(photos, '.zip')
    raw = flagged.read_bytes()
    with zipfile.ZipFile(flagged) as archive:
        members = archive.infolist()
    plain = bytearray(raw)
    for start in (*(member.header_offset + 6 for member in members), *(
            found.start() + 8 for found in re.finditer(b'PK\x01\x02', raw))):
        plain[start + 1] &= ~0x08  # the flag for names in UTF-8
    (tmp_path / 'plain.zip').write_bytes(plain)
    for path in (flagged, tmp_path / 'plain.zip'):
        assert load_class_folders(str(path), 32, train=True).class_names == ('cat', 'über', '猫')


@pytest.mark.parametrize('change, named', [
    (lambda root: shutil.rmtree(root / 'test'), 'test'),
    (lambda root: shutil.rmtree(root / 'test' / 'owl'), "'owl'"),
    (lambda root: (root / 'test' / 'owl').rename(root / 'test' / 'Owl'), "'Owl'.*'owl'"),
    (lambda root: (root / 'train' / 'empty').mkdir(), "'empty'"),
])
def test_wrong_class_folders_are_refused(folders, change, named):
    change(folders)
    with pytest.raises(DataError, match=named):
        [load_class_folders(str(folders), 32, CLASSES, train=train) for train in (True, False)]


def test_archive_with_paths_outside_it_is_refused(tmp_path, folders):
    with tarfile.open(tmp_path / 'x.tar', 'w') as archive:
        archive.add(folders, 'photos')
        archive.add(folders / 'train' / 'cat' / '0.png', '../escaped/cat/0.png')
    with pytest.raises(DataError, match='escaped/cat/0.png'):
        load_class_folders(str(tmp_path / 'x.tar'), 32, train=True)


def test_hidden_files_in_archives_are_ignored(tmp_path, folders):
    for name in ('train/cat/._0.png', 'train/.hidden/0.png', '__MACOSX/train/cat/0.png'):
        (folders / name).parent.mkdir(parents=True, exist_ok=True)
        (folders / name).write_bytes(encoded(plain(9), 'PNG'))
    images = load_class_folders(str(write_archive_of(folders, '.zip')), 32, train=True)
    assert len(images) == 12 and images.class_names == CLASSES
