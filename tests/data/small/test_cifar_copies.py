"""CIFAR as people share it: image folders, parquet files, and archives under any name."""
import hashlib
import os
import re
import shutil
import tarfile
import zipfile

import numpy as np
import pytest

from openatac.data.small import cifar_location
from openatac.data.small.cifar import load_cifar
from openatac.data.small.cifar_layouts import class_names
from openatac.data.small.class_folders import find_in_archive
from openatac.errors import DataError
from tests.helpers.images.made_up_images import CIFAR100, encoded, write_cifar
from tests.helpers.processes.scripts import run_in_process, script_error

CLASSES = {  # CIFAR-100's {class: superclass}
    'apple': 'fruit_and_vegetables', 'worm': 'non-insect_invertebrates', 'bee': 'insects'}


def random_image(seed):
    return np.random.RandomState(seed).randint(0, 256, (32, 32, 3), np.uint8)


def write_images(root, folders, form='PNG'):
    """Write two training images and a test image into each folder."""
    for split, seeds in (('train', (0, 1)), ('test', (2,))):
        for number, folder in enumerate(folders):
            (root / split / folder).mkdir(parents=True)
            for seed in seeds:
                content = encoded(random_image(10 * number + seed), form)
                (root / split / folder / f'{seed:04}.{form.lower()}').write_bytes(content)
    return root


def check(images, names, all_names):
    """Check the training images of `write_images`, in the published order of the classes."""
    assert images.class_names == tuple(all_names)
    expected = {(all_names.index(name), random_image(10 * number + seed).tobytes())
                for number, name in enumerate(names) for seed in (0, 1)}
    assert {(int(label), pixels.transpose(1, 2, 0).tobytes())
            for label, pixels in zip(images.labels, images.images)} == expected
    assert len(images) == 2 * len(names)


# ------------------------------------------------------------------------ folders of images

@pytest.mark.parametrize('place', ['.', 'CIFAR-10-images', 'cifar10'])
def test_folders_of_png_files_are_read(tmp_path, place):
    names = ['truck', 'cat', 'airplane']
    write_images(tmp_path / 'data' / place, names)
    check(load_cifar('cifar10', tmp_path / 'data'), names, class_names('cifar10'))
    assert len(load_cifar('cifar10', tmp_path / 'data', train=False)) == 3


def test_cifar100_class_folders_are_read(tmp_path):
    write_images(tmp_path, CLASSES)
    check(load_cifar('cifar100', tmp_path), [*CLASSES], class_names('cifar100'))
    with pytest.raises(DataError, match="apple.*--cifar100-labels"):
        load_cifar('cifar100', tmp_path, label_set='coarse')
    with pytest.raises(DataError, match='cifar10'):
        load_cifar('cifar10', tmp_path)


def test_class_folders_inside_superclass_folders_are_read(tmp_path):
    write_images(tmp_path, [f'{coarse}/{fine}' for fine, coarse in CLASSES.items()])
    check(load_cifar('cifar100', tmp_path), [*CLASSES], class_names('cifar100'))
    check(load_cifar('cifar100', tmp_path, label_set='coarse'), [*CLASSES.values()],
          class_names('cifar100', 'coarse'))


def test_folder_of_an_unknown_class_is_named(tmp_path):
    write_images(tmp_path / 'a', ['cat', 'Dog'])
    with pytest.raises(DataError, match="'Dog'.*'dog'"):
        load_cifar('cifar10', tmp_path / 'a')
    write_images(tmp_path / 'b', ['cat', 'zebra'])
    with pytest.raises(DataError, match='zebra'):
        load_cifar('cifar10', tmp_path / 'b')


# ---------------------------------------------------------------------------- Parquet files

def write_parquet(path, columns):
    pyarrow = pytest.importorskip('pyarrow')
    from pyarrow import parquet
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table(columns), path)


def rows(seeds, column='img', **labels):
    return {column: [{'bytes': encoded(random_image(seed), 'PNG'), 'path': None} for seed in seeds], **labels}


def test_parquet_files_of_cifar10_are_read(tmp_path):
    folder = tmp_path / 'plain_text'
    write_parquet(folder / 'train-00000-of-00002.parquet', rows([0, 1], label=[9, 9]))
    write_parquet(folder / 'train-00001-of-00002.parquet', rows([10, 11], label=[3, 3]))
    write_parquet(folder / 'test-00000-of-00001.parquet', rows([2], label=[0]))
    for place in (folder, tmp_path):
        check(load_cifar('cifar10', place), ['truck', 'cat'], class_names('cifar10'))
        assert load_cifar('cifar10', place, train=False).labels.tolist() == [0]


def test_parquet_files_of_cifar100_are_read(tmp_path):
    write_parquet(tmp_path / 'train.parquet', rows([0, 1], 'image', fine_label=[99, 99],
                                                   coarse_label=[13, 13]))
    check(load_cifar('cifar100', tmp_path), ['worm'], class_names('cifar100'))
    check(load_cifar('cifar100', tmp_path, label_set='coarse'), ['non-insect_invertebrates'],
          class_names('cifar100', 'coarse'))
    with pytest.raises(DataError, match="'train.parquet'.*test"):
        load_cifar('cifar100', tmp_path, train=False)
    with pytest.raises(DataError, match='fine_label.* label'):
        load_cifar('cifar10', tmp_path)


@pytest.mark.parametrize('columns, named', [
    ({'img': [b'no image'], 'label': [1]}, 'row 0'), ({'img': [None], 'label': [1]}, 'row 0'),
    (rows([0], label=[10]), '9'), (rows([0], label=[None]), '9'), (rows([0], label=['cat']), '9'),
    (rows([], label=[]), 'rows'),
])
def test_damaged_parquet_file_is_refused(tmp_path, columns, named):
    write_parquet(tmp_path / 'train.parquet', columns)
    with pytest.raises(DataError, match=named):
        load_cifar('cifar10', tmp_path)


def test_faulty_parquet_file_is_named(tmp_path, caplog):
    write_parquet(tmp_path / 'train-00000-of-00002.parquet', rows([0, 1, 2], label=[1, 2, 3]))
    second = tmp_path / 'train-00001-of-00002.parquet'
    write_parquet(second, {'img': [*rows([3])['img'], {'bytes': b'no image', 'path': None}], 'label': [1, 2]})
    load_cifar('cifar10', str(tmp_path), train=True)
    assert re.search('row 1 of .*train-00001-of-00002', caplog.text)
    write_parquet(second, rows([3], label=[10]))
    with pytest.raises(DataError, match='train-00001-of-00002'):
        load_cifar('cifar10', str(tmp_path), train=True)


def test_parquet_files_of_the_other_data_set_are_ignored(tmp_path):
    for folder, columns in (('cifar-10', rows([0], label=[9])),
                            ('cifar-100', rows([1], 'image', fine_label=[99], coarse_label=[13]))):
        for split in ('train', 'test'):
            write_parquet(tmp_path / folder / f'{split}.parquet', columns)
    for name, label in (('cifar10', 9), ('cifar100', 99)):
        assert load_cifar(name, str(tmp_path)).labels.tolist() == [label]
    shutil.rmtree(tmp_path / 'cifar-10')
    assert cifar_location.find_cifar('cifar10', str(tmp_path)) is None


def test_given_folder_may_be_named_as_the_other_data_set(tmp_path):
    write_parquet(tmp_path / 'cifar100-and-more' / 'train.parquet', rows([0], label=[9]))
    assert load_cifar('cifar10', str(tmp_path / 'cifar100-and-more')).labels.tolist() == [9]


def test_parquet_split_is_found_as_a_word_in_the_file_name(tmp_path):
    write_parquet(tmp_path / 'train-latest.parquet', rows([0], label=[1]))
    write_parquet(tmp_path / 'validation-00000.parquet', rows([1], label=[2]))
    assert load_cifar('cifar10', str(tmp_path), train=False).labels.tolist() == [2]


def test_unrelated_files_are_not_taken_for_parquet(tmp_path):
    pytest.importorskip('pyarrow')
    (tmp_path / 'train.parquet').write_bytes(b'<html>')
    with pytest.raises(DataError, match=r'train\.parquet.*download'):
        load_cifar('cifar10', tmp_path)


# --------------------------------------------------------------------------------- archives

def pack(path, folder, top='data'):
    """Archive a folder in the format of the path's extension; '.tar.gz' here is a plain tar."""
    if path.suffix == '.zip':
        with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(folder.rglob('*')):
                archive.write(file, f'{top}/{file.relative_to(folder)}')
    else:
        with tarfile.open(path, 'w:gz' if path.suffix == '.tgz' else 'w') as archive:
            archive.add(folder, top)
    return path


@pytest.mark.parametrize('name', ['cifar10.tgz', 'cifar-10-images.zip', 'CIFAR-10.tar', 'cifar10.tar.gz'])
def test_archives_of_images_are_read(tmp_path, name):
    names = ['truck', 'cat', 'airplane']
    folder = write_images(tmp_path / 'made', names)
    (tmp_path / 'data').mkdir()
    path = pack(tmp_path / 'data' / name, folder)
    pack(tmp_path / 'data' / 'cifar100.zip', folder, 'another_data_set')
    for place in (path, tmp_path / 'data'):
        check(load_cifar('cifar10', place), names, class_names('cifar10'))
    assert sorted(os.listdir(tmp_path / 'data')) == sorted({name, 'cifar100.zip'})


def test_only_archive_of_a_folder_may_have_any_name(tmp_path, caplog):
    names = ['truck', 'cat', 'airplane']
    folder = write_images(tmp_path / 'made', names)
    (tmp_path / 'data').mkdir()
    pack(tmp_path / 'data' / 'images.zip', folder)
    check(load_cifar('cifar10', tmp_path / 'data'), names, class_names('cifar10'))
    assert 'deer' in caplog.text  # one of the classes without images
    pack(tmp_path / 'data' / 'others.zip', folder)
    with pytest.raises(DataError, match='others.zip'):
        load_cifar('cifar10', tmp_path / 'data')


@pytest.mark.parametrize('name', ['cifar-100-binary.tar.gz', 'cifar-100-binary.tar', 'cifar100.zip'])
def test_archives_of_binary_files_are_read(tmp_path, name):
    folder = tmp_path / 'made'
    write_cifar(folder, CIFAR100, images=5)
    (tmp_path / 'data').mkdir()
    pack(tmp_path / 'data' / name, folder, 'cifar-100-binary')
    expected, found = (load_cifar('cifar100', place) for place in (folder, tmp_path / 'data'))
    np.testing.assert_array_equal(found.images, expected.images)
    np.testing.assert_array_equal(found.labels, expected.labels)


def test_archive_of_parquet_files_is_read(tmp_path):
    write_parquet(tmp_path / 'made' / 'train.parquet', rows([0, 1], label=[9, 9]))
    path = pack(tmp_path / 'x.zip', tmp_path / 'made')
    check(load_cifar('cifar10', path), ['truck'], class_names('cifar10'))


def damage(path, at, content):
    with open(path, 'r+b') as file:
        file.seek(at)
        file.write(content)


@pytest.mark.parametrize('change', [
    lambda path: os.truncate(path, 3000), lambda path: damage(path, 9000, bytes(50)),
    lambda path: path.write_bytes(b'7z\xbc\xaf\x27\x1c' + bytes(500)), lambda path: path.write_bytes(b''),
], ids=['cut off', 'changed', 'another kind', 'empty'])
def test_damaged_zip_is_refused(tmp_path, change):
    path = pack(tmp_path / 'x.zip', write_images(tmp_path / 'made', ['cat', 'dog']))
    change(path)
    with pytest.raises(DataError, match=r'x\.zip.*(download|folder)'):
        load_cifar('cifar10', path)


@pytest.mark.parametrize('name, mode, named', [
    ('../train/cat/x.png', 0o100644, r'\.\./train/cat/x\.png'),
    ('/train/cat/x.png', 0o100644, "'?/train/cat/x\\.png"),
    ('train/cat/x.png', 0o120777, r'train/cat/x\.png.*link'),
])
def test_zip_members_outside_the_archive_are_refused(tmp_path, name, mode, named):
    with zipfile.ZipFile(tmp_path / 'x.zip', 'w') as archive:
        member = zipfile.ZipInfo(name)
        member.external_attr = mode << 16
        archive.writestr(member, b'/etc/passwd')
    with pytest.raises(DataError, match=named):
        load_cifar('cifar10', tmp_path / 'x.zip')


# --------------------------------------------------------------- whether data is downloaded

@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """The URL of a folder with a made-up CIFAR-100 archive whose checksum is accepted."""
    write_cifar(tmp_path / 'made', CIFAR100, images=8)
    (tmp_path / 'mirror').mkdir()
    path = tmp_path / 'mirror' / 'cifar-100-binary.tar.gz'
    with tarfile.open(path, 'w:gz') as archive:
        archive.add(tmp_path / 'made', 'cifar-100-binary')
    monkeypatch.setitem(cifar_location.MD5, path.name, hashlib.md5(path.read_bytes()).hexdigest())
    return path.parent.as_uri()


FLAGS = '--dataset', 'cifar100', '--blocks', 1, '--batch-size', 4, '--dry-run', 1


def test_unrelated_folder_is_not_downloaded_into(tmp_path, mirror, capsys):
    (tmp_path / 'data' / 'holiday').mkdir(parents=True)
    error = script_error(capsys, 1, *FLAGS, '--data-dir', tmp_path / 'data', '--data-url', mirror,
                         '--save-dir', tmp_path / 'run')
    assert all(words in error for words in ("'holiday'", 'train/CLASS/', 'parquet', 'test.bin', 'zip'))
    assert os.listdir(tmp_path / 'data') == ['holiday']


@pytest.mark.parametrize('before', [
    None, [], ['cifar-100-binary.tar.gz.part', 'cifar-100-binary.tar.gz.lock'], ['cifar-10-binary.tar.gz']])
def test_missing_and_empty_folders_are_downloaded_into(tmp_path, mirror, before):
    if before is not None:
        (tmp_path / 'data').mkdir()
        for name in before:
            (tmp_path / 'data' / name).write_bytes(b'')
    assert run_in_process(*FLAGS, '--data-dir', tmp_path / 'data', '--data-url', mirror,
                          '--save-dir', tmp_path / 'run') == 0


def test_gluons_folder_is_downloaded_into_regardless_of_content(tmp_path, mirror, monkeypatch):
    monkeypatch.setenv('MXNET_HOME', str(tmp_path))
    (tmp_path / 'datasets' / 'cifar100').mkdir(parents=True)
    (tmp_path / 'datasets' / 'cifar100' / 'notes.txt').write_text('')
    assert len(load_cifar('cifar100', url=mirror)) == 8
    shutil.rmtree(tmp_path / 'datasets' / 'cifar100' / 'cifar-100-binary')
    assert len(load_cifar('cifar100', tmp_path / 'datasets' / 'cifar100', url=mirror)) == 8


def test_the_same_folder_of_an_archive_is_read_each_time():
    paths = [f'{folder}/train/cat/1.png' for folder in 'cab'] + ['deeper/down/train/cat/1.png']
    assert find_in_archive(paths, ['train']) == 'a/train'
