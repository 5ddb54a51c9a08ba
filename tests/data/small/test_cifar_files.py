"""CIFAR in all its forms: binary and Python files, in folders and archives, intact and damaged."""
import logging
import os
import pickle
import shutil
import tarfile

import numpy as np
import pytest

from openatac.data.small.cifar import load_cifar
from openatac.errors import DataError
from tests.helpers.images.cifar_archives import (
    BATCHES,
    LAYOUT,
    binary_files,
    check,
    pickle_as_python2,
    pickle_as_python3,
    python_files,
    refused,
    register_checksum,
    write_archive,
    write_folder,
)

pytestmark = pytest.mark.usefixtures('no_network')


# -------------------------------------------------- where data is found, and how it is read

def forms(name):
    yield 'binary', 0, binary_files(name)
    yield 'python2', 1, python_files(name, pickle_as_python2)
    for protocol in (2, 3, 4, 5):
        yield f'python3-protocol{protocol}', 1, python_files(name, pickle_as_python3(protocol))


@pytest.mark.parametrize('train', [True, False])
@pytest.mark.parametrize('name, form, files', [
    pytest.param(name, form, files, id=f'{name}-{label}')
    for name in LAYOUT for label, form, files in forms(name)])
def test_every_form_is_read_from_every_location(tmp_path, name, form, files, train):
    _, _, middle, folders = LAYOUT[name]
    archive = f'{middle}-{("binary", "python")[form]}.tar.gz'
    direct = write_folder(tmp_path / 'direct', files)
    write_folder(tmp_path / 'official' / folders[form], files)
    os.mkdir(tmp_path / 'archive')
    write_archive(tmp_path / 'archive' / archive, files, folders[form])
    renamed = write_archive(tmp_path / 'mine.tgz', files, '.')
    for place in (direct, tmp_path / 'official', tmp_path / 'archive', renamed):
        check(load_cifar(name, place, train=train), name, train)


@pytest.mark.parametrize('write', [None, pickle_as_python2, pickle_as_python3(5)],
                         ids=['binary', 'python2', 'python3'])
def test_coarse_labels_are_read(tmp_path, write):
    files = python_files('cifar100', write) if write else binary_files('cifar100')
    images = load_cifar('cifar100', write_folder(tmp_path / 'data', files), label_set='coarse')
    check(images, 'cifar100', True, 'coarse')
    assert len(images.class_names) == 20


def test_default_folder_is_that_of_gluon(tmp_path, monkeypatch):
    write_folder(tmp_path / 'datasets' / 'cifar10', binary_files('cifar10'))
    monkeypatch.setenv('MXNET_HOME', str(tmp_path))
    check(load_cifar('cifar10'), 'cifar10', True)
    monkeypatch.delenv('MXNET_HOME')
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    shutil.move(str(tmp_path / 'datasets'), str(tmp_path / 'home' / '.mxnet' / 'datasets'))
    check(load_cifar('cifar10'), 'cifar10', True)


def test_binary_comes_before_python_and_folders_before_archives(tmp_path):
    """The forms of lower priority are damaged, so that reading one would fail."""
    good = binary_files('cifar10')
    bad = dict.fromkeys([*good, *BATCHES, 'test_batch'], b'')
    middle, (binary, python) = LAYOUT['cifar10'][2:]
    write_folder(tmp_path / binary, good)
    write_folder(tmp_path / python, bad)
    write_archive(tmp_path / f'{middle}-binary.tar.gz', bad, binary)
    check(load_cifar('cifar10', tmp_path), 'cifar10', True)
    shutil.rmtree(tmp_path / binary)
    shutil.rmtree(tmp_path / python)
    write_folder(tmp_path / python, python_files('cifar10', pickle_as_python2))
    check(load_cifar('cifar10', tmp_path), 'cifar10', True)
    shutil.rmtree(tmp_path / python)
    write_archive(tmp_path / f'{middle}-binary.tar.gz', good, binary)
    write_archive(tmp_path / f'{middle}-python.tar.gz', bad, python)
    check(load_cifar('cifar10', tmp_path), 'cifar10', True)


def test_binary_images_are_not_copied(tmp_path):
    images = load_cifar('cifar100', write_folder(tmp_path / 'data', binary_files('cifar100'))).images
    assert not images.flags.owndata
    assert images.strides == (3074, 1024, 32, 1)


def test_class_names_are_the_published_or_listed_ones(tmp_path):
    files = binary_files('cifar100')
    published = load_cifar('cifar100', write_folder(tmp_path / 'without', files)).class_names
    assert len(set(published)) == 100 and list(published) == sorted(published)
    assert (published[0], published[99]) == ('apple', 'worm')
    listed = [f'class{k}' for k in range(100)]
    files['fine_label_names.txt'] = '\n'.join([*listed, '']).encode()
    archive = write_archive(tmp_path / 'with.tar.gz', files, 'x')
    assert load_cifar('cifar100', archive).class_names == tuple(listed)
    assert len(load_cifar('cifar100', archive, label_set='coarse').class_names) == 20
    files['fine_label_names.txt'] = b'one\ntwo\n'
    with pytest.raises(DataError, match=r'fine_label_names\.txt .*\b2\b.*\b100\b'):
        load_cifar('cifar100', write_folder(tmp_path / 'wrong', files))


def test_number_of_images_is_logged_once(tmp_path, caplog):
    folder = write_folder(tmp_path / 'data', binary_files('cifar10'))
    with caplog.at_level(logging.INFO, 'openatac'):
        load_cifar('cifar10', folder)
    message, = caplog.messages
    assert all(text in message for text in (folder, '15', '50000'))


def test_unpublished_archive_is_read_with_a_warning(tmp_path, caplog, monkeypatch):
    path = write_archive(tmp_path / 'cifar-10-binary.tar.gz', binary_files('cifar10'), 'x')
    with caplog.at_level(logging.WARNING, 'openatac'):
        load_cifar('cifar10', tmp_path)
        message, = caplog.messages
        assert path in message and 'MD5' in message
        caplog.clear()
        register_checksum(monkeypatch, path)
        load_cifar('cifar10', tmp_path)
        assert not caplog.records


# ----------------------------------------------------------------------------- refused data

def test_wrong_data_set_and_label_names_are_refused(tmp_path):
    refused("'cifar20'.*cifar100", 'cifar20', tmp_path)
    refused("cifar10 .*'coarse'", 'cifar10', tmp_path, label_set='coarse')


@pytest.mark.parametrize('words, file, content', [
    ('data_batch_3.bin', 'data_batch_3.bin', None),
    ('data_batch_2.bin', 'data_batch_2.bin', b''),
    (r'data_batch_2.bin.* 3073 ', 'data_batch_2.bin', bytes(3074)),
    (r'record 1 .*data_batch_5.bin.* 10\b', 'data_batch_5.bin',
     bytes(3073) + b'\x0a' + bytes(3072)),
])
def test_damaged_binary_file_is_refused(tmp_path, words, file, content):
    files = {**binary_files('cifar10'), file: content}
    files = {name: content for name, content in files.items() if content is not None}
    refused(words, 'cifar10', write_folder(tmp_path / 'data', files))
    refused(words, 'cifar10', write_archive(tmp_path / 'data.tar.gz', files, 'x'))


def test_cifar100_records_named_as_cifar10_are_refused(tmp_path):
    content = binary_files('cifar100')['train.bin']
    folder = write_folder(tmp_path / 'odd', {'test_batch.bin': content})
    refused('test_batch.bin.* 3073 ', 'cifar10', folder, train=False)
    fitting = (content * 1025)[:3073 * 3074]        # a whole number of records of either kind
    folder = write_folder(tmp_path / 'even', {'test_batch.bin': fitting})
    refused(r'test_batch\.bin.*label', 'cifar10', folder, train=False)


def test_both_labels_of_cifar100_are_checked(tmp_path):
    folder = write_folder(tmp_path / 'data', {'train.bin': b'\x14' + bytes(3073)})
    refused('label 20, .*0 to 19', 'cifar100', folder)


def test_unreadable_file_is_an_error(tmp_path):
    if os.geteuid() == 0:
        pytest.skip('root may read everything')
    folder = write_folder(tmp_path / 'data', binary_files('cifar10'))
    os.chmod(os.path.join(folder, 'test_batch.bin'), 0)
    refused(r'test_batch\.bin', 'cifar10', folder, train=False)


@pytest.mark.parametrize('words, batch', [
    ('test_batch .*dictionary', [1]),
    ("test_batch .*'data'", {b'labels': [1]}),
    ("test_batch .*'data'", {b'labels': [1], b'data': np.zeros((1, 3073), np.uint8)}),
    ("test_batch .*'data'", {b'labels': [1], b'data': np.zeros((1, 3072), np.int64)}),
    ("test_batch .*'data'", {b'labels': [1], b'data': np.array(1, np.uint8)}),
    ("test_batch .*'labels'", {b'data': np.zeros((1, 3072), np.uint8)}),
    ("test_batch .*'labels'", {b'labels': [1, 2], b'data': np.zeros((1, 3072), np.uint8)}),
    ("test_batch .*'labels'", {b'labels': ['cat'], b'data': np.zeros((1, 3072), np.uint8)}),
    ("test_batch .*'labels'", {b'labels': [2 ** 70], b'data': np.zeros((1, 3072), np.uint8)}),
    ("test_batch .*'labels'", {b'labels': [], b'data': np.zeros((0, 3072), np.uint8)}),
    ('test_batch .*label 10', {b'labels': [10], b'data': np.zeros((1, 3072), np.uint8)}),
    ('test_batch .*label -1', {b'labels': np.array([-1]), b'data': np.zeros((1, 3072), np.uint8)}),
])
def test_damaged_python_file_is_refused(tmp_path, words, batch):
    folder = write_folder(tmp_path / 'data', {'test_batch': pickle.dumps(batch, 2)})
    refused(words, 'cifar10', folder, train=False)


def test_incomplete_archive_is_refused(tmp_path):
    whole = write_archive(tmp_path / 'whole.tar.gz', binary_files('cifar10'), 'x')
    with open(whole, 'rb') as file:
        content = file.read()
    damages = {'empty': b'', 'text': b'<html>', 'half': content[:len(content) // 2], 'almost': content[:-6],
               'flipped': content[:5000] + b'\0\0\0\0' + content[5004:]}
    for label, damage in damages.items():
        path = tmp_path / f'{label}.tar.gz'
        path.write_bytes(damage)
        refused(f'{label}.tar.gz .*download', 'cifar10', path)
    endless = tarfile.TarInfo('x/endless')
    endless.size = 2 ** 70
    with tarfile.open(tmp_path / 'endless.tar.gz', 'w:gz', format=tarfile.GNU_FORMAT) as archive:
        archive.fileobj.write(endless.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    refused('endless.tar.gz .*download', 'cifar10', tmp_path / 'endless.tar.gz')
    nested = tmp_path / 'nested.tar'
    with tarfile.open(nested, 'w') as archive:
        archive.add(whole, 'whole')
    refused("nested.tar .*'whole'", 'cifar10', nested)


def member(name, kind=tarfile.REGTYPE, target=''):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize('words, extra', [
    ('/etc/data_batch_1.bin', member('/etc/data_batch_1.bin')),
    ('x/../../data_batch_1.bin', member('x/../../data_batch_1.bin')),
    ('x/readme.*(link|device)', member('x/readme', tarfile.SYMTYPE, '/etc/passwd')),
    ('x/readme.*(link|device)', member('x/readme', tarfile.LNKTYPE, 'x/test_batch.bin')),
    ('x/readme.*(link|device)', member('x/readme', tarfile.CHRTYPE)),
    ('x/readme.*(link|device)', member('x/readme', tarfile.FIFOTYPE)),
    ('x/readme.*(link|device)', member('x/readme', tarfile.GNUTYPE_SPARSE)),
])
def test_archive_with_unpublished_members_is_refused(tmp_path, words, extra):
    refused(words, 'cifar10', write_archive(tmp_path / 'a.tar.gz', binary_files('cifar10'), 'x', [extra]))


def test_unrelated_archive_is_refused(tmp_path):
    path = write_archive(tmp_path / 'a.tar.gz', binary_files('cifar100'), 'x')
    refused("a.tar.gz .*'x'.*test_batch.bin", 'cifar10', path)
    refused(r'mistyped\.tar\.gz', 'cifar10', tmp_path / 'mistyped.tar.gz')
