"""Missing CIFAR data is downloaded, and unpacked completely or not at all; see also test_download.py."""
import os
import shutil

import pytest

from openatac.data.small import cifar_location
from openatac.data.small.cifar import load_cifar
from tests.helpers.images.cifar_archives import binary_files, check, refused, register_checksum, write_archive

pytestmark = pytest.mark.usefixtures('no_network')


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """The URL of a folder with a made-up CIFAR-100 archive whose checksum is accepted."""
    os.mkdir(tmp_path / 'mirror')
    files = {**binary_files('cifar100'), 'fine_label_names.txt': b'x\n' * 100, 'readme.html': b'<p>'}
    path = tmp_path / 'mirror' / 'cifar-100-binary.tar.gz'
    register_checksum(monkeypatch, write_archive(path, files, 'cifar-100-binary'))
    return path.parent.as_uri()


def test_download_unpacks_only_the_needed_files(tmp_path, mirror, caplog):
    folder = tmp_path / 'new' / 'data'
    check(load_cifar('cifar100', folder, url=mirror), 'cifar100', True)
    unpacked = os.listdir(folder / 'cifar-100-binary')
    assert sorted(unpacked) == ['fine_label_names.txt', 'test.bin', 'train.bin']
    check_tidy(folder)
    check(load_cifar('cifar100', folder, train=False), 'cifar100', False)
    assert 'MD5' not in caplog.text


def test_mirror_is_taken_from_the_environment(tmp_path, mirror, monkeypatch):
    monkeypatch.setenv('OPENATAC_DATA_URL', mirror + '/')
    check(load_cifar('cifar100', tmp_path / 'a'), 'cifar100', True)
    monkeypatch.setenv('OPENATAC_DATA_URL', 'http://127.0.0.1:9/')
    check(load_cifar('cifar100', tmp_path / 'b', url=mirror), 'cifar100', True)


def check_tidy(folder, unpacked=True):
    archive = 'cifar-100-binary.tar.gz'
    expected = {archive} | ({'cifar-100-binary'} if unpacked else set())
    assert set(os.listdir(folder)) == expected


def test_interrupted_download_leaves_no_partial_folder(tmp_path, mirror, monkeypatch):
    def stop(source, target):
        target.write(source.read(10))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cifar_location.shutil, 'copyfileobj', stop)
        with pytest.raises(KeyboardInterrupt):
            load_cifar('cifar100', tmp_path / 'data', url=mirror)
    check_tidy(tmp_path / 'data', unpacked=False)
    check(load_cifar('cifar100', tmp_path / 'data', url=mirror), 'cifar100', True)


def test_data_unpacked_by_another_process_is_used(tmp_path, mirror, monkeypatch):
    rename, folder = os.rename, tmp_path / 'data'

    def late_rename(source, target):
        shutil.copytree(source, target)
        rename(source, target)

    monkeypatch.setattr(cifar_location.os, 'rename', late_rename)
    check(load_cifar('cifar100', folder, url=mirror), 'cifar100', True)
    check_tidy(folder)


def test_failed_download_names_folder_and_url(tmp_path, mirror):
    folder = tmp_path / 'data'
    refused(f'{folder} .*http://127.0.0.1:9/cifar-100-binary.tar.gz', 'cifar100', folder)
    folder.mkdir()
    refused(f'{folder} .*cifar-10-batches-bin', 'cifar10', folder, url=mirror)


def test_downloaded_archive_with_a_wrong_md5_is_refused(tmp_path, mirror, monkeypatch):
    monkeypatch.setitem(cifar_location.MD5, 'cifar-100-binary.tar.gz', '0' * 32)
    refused('MD5', 'cifar100', tmp_path / 'data', url=mirror)
    assert not os.path.exists(tmp_path / 'data')
