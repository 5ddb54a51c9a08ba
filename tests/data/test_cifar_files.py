"""CIFAR in all its forms: binary and Python files, in folders and archives, whole and damaged."""
import contextlib
import hashlib
import io
import logging
import os
import pickle
import shutil
import struct
import tarfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from openatac.data.small import cifar_files, download
from openatac.data.small.cifar import load_cifar
from openatac.data.small.plain_pickle import read_plain_pickle
from openatac.errors import DataError

PER_FILE = 3
BATCHES = [f'data_batch_{k}' for k in range(1, 6)]
LAYOUT = {      # name: (training files, test file, archives' middle, folder of each form)
    'cifar10': (BATCHES, 'test_batch', 'cifar-10', ('cifar-10-batches-bin', 'cifar-10-batches-py')),
    'cifar100': (['train'], 'test', 'cifar-100', ('cifar-100-binary', 'cifar-100-python')),
}


def made_up(name, file):
    """Images and labels (by their key in the Python files), always the same for a file."""
    random = np.random.RandomState(sum(map(ord, name + file)))
    images = random.randint(0, 256, (PER_FILE, 3072), np.uint8)
    if name == 'cifar10':
        return images, {'labels': random.randint(0, 10, PER_FILE)}
    return images, {'coarse_labels': random.randint(0, 20, PER_FILE),
                    'fine_labels': random.randint(0, 100, PER_FILE)}


def binary_files(name):
    """File name -> content, with the listing of the fine classes."""
    train, test, _, _ = LAYOUT[name]
    files = {}
    for file in [*train, test]:
        images, labels = made_up(name, file)
        files[file + '.bin'] = np.column_stack([*labels.values(), images]).astype(np.uint8).tobytes()
    return files


def python_files(name, write):
    train, test, _, _ = LAYOUT[name]
    files = {}
    for file in [*train, test]:
        images, labels = made_up(name, file)
        files[file] = write(images, {key: value.tolist() for key, value in labels.items()})
    return files


def by_python3(protocol):
    def write(images, labels):
        return pickle.dumps({b'data': images, **{key.encode(): value for key, value in labels.items()},
                             b'filenames': ['a.png'] * len(images)}, protocol)
    return write


def by_python2(images, labels):
    """The bytes of cPickle.dump(..., 2) in Python 2 with NumPy 1, as in the published files."""
    def string(text):
        return b'U' + bytes([len(text)]) + text

    content = images.tobytes()
    out = b'\x80\x02}q\x01(' + string(b'batch_label') + b'q\x02' + string(b'training batch 1 of 5') + b'q\x03'
    for number, (key, values) in enumerate(labels.items()):
        out += string(key.encode()) + b']q' + bytes([20 + number]) + b'('
        out += b''.join(b'K' + bytes([value]) for value in values) + b'e'
    out += string(b'data') + b'q\x05cnumpy.core.multiarray\n_reconstruct\nq\x06'
    out += b'cnumpy\nndarray\nq\x07K\x00\x85' + string(b'b') + b'\x87Rq\x08(K\x01'
    out += b'K' + bytes([len(images)]) + b'M\x00\x0c\x86cnumpy\ndtype\nq\x09'
    out += string(b'u1') + b'K\x00K\x01\x87Rq\x0a(K\x03' + string(b'|')
    out += b'NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T' + struct.pack('<i', len(content)) + content
    return out + b'tb' + string(b'filenames') + b']' + string(b'a.png') + b'au.'


def write_folder(folder, files):
    os.makedirs(folder)
    for name, content in files.items():
        with open(os.path.join(folder, name), 'wb') as file:
            file.write(content)
    return str(folder)


def write_archive(path, files, folder, extra=()):
    """In reverse order, since the published archives are in no order either."""
    with tarfile.open(path, 'w:gz') as archive:
        for name in reversed(list(files)):
            member = tarfile.TarInfo(f'{folder}/{name}')
            member.size = len(files[name])
            archive.addfile(member, io.BytesIO(files[name]))
        for member in extra:
            archive.addfile(member)
    return str(path)


def check(images, name, train, kind='fine'):
    files = LAYOUT[name][0] if train else [LAYOUT[name][1]]
    key = 'labels' if name == 'cifar10' else f'{kind}_labels'
    pixels, labels = zip(*(made_up(name, file) for file in files))
    assert images.images.dtype == np.uint8 and images.labels.dtype == np.int32
    np.testing.assert_array_equal(images.images.reshape(-1, 3072), np.concatenate(pixels))
    assert images.images.shape[1:] == (3, 32, 32)
    np.testing.assert_array_equal(images.labels, np.concatenate([each[key] for each in labels]))
    assert images.mirror is True


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Nothing is downloaded by mistake."""
    monkeypatch.setattr(cifar_files, 'HOME', 'http://127.0.0.1:9/')
    monkeypatch.setattr(download, 'PAUSE', 0)
    monkeypatch.setenv('no_proxy', '*')
    monkeypatch.delenv('OPENATAC_DATA_URL', raising=False)


# Where the data is found, and what is read.

def forms(name):
    yield 'binary', 0, binary_files(name)
    yield 'python2', 1, python_files(name, by_python2)
    for protocol in (2, 3, 4, 5):
        yield f'python3-protocol{protocol}', 1, python_files(name, by_python3(protocol))


@pytest.mark.parametrize('train', [True, False])
@pytest.mark.parametrize('name, form, files', [
    pytest.param(name, form, files, id=f'{name}-{label}')
    for name in LAYOUT for label, form, files in forms(name)])
def test_each_form_is_read_from_each_place(tmp_path, name, form, files, train):
    _, _, middle, folders = LAYOUT[name]
    archive = f'{middle}-{("binary", "python")[form]}.tar.gz'
    direct = write_folder(tmp_path / 'direct', files)
    write_folder(tmp_path / 'official' / folders[form], files)
    os.mkdir(tmp_path / 'archive')
    write_archive(tmp_path / 'archive' / archive, files, folders[form])
    renamed = write_archive(tmp_path / 'mine.tgz', files, '.')
    for place in (direct, tmp_path / 'official', tmp_path / 'archive', renamed):
        check(load_cifar(name, place, train), name, train)


@pytest.mark.parametrize('write', [None, by_python2, by_python3(5)], ids=['binary', 'python2', 'python3'])
def test_coarse_labels(tmp_path, write):
    files = python_files('cifar100', write) if write else binary_files('cifar100')
    images = load_cifar('cifar100', write_folder(tmp_path / 'data', files), labels='coarse')
    check(images, 'cifar100', True, 'coarse')
    assert len(images.class_names) == 20


def test_default_place_is_gluons(tmp_path, monkeypatch):
    write_folder(tmp_path / 'datasets' / 'cifar10', binary_files('cifar10'))
    monkeypatch.setenv('MXNET_HOME', str(tmp_path))
    check(load_cifar('cifar10'), 'cifar10', True)
    monkeypatch.delenv('MXNET_HOME')
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    shutil.move(str(tmp_path / 'datasets'), str(tmp_path / 'home' / '.mxnet' / 'datasets'))
    check(load_cifar('cifar10'), 'cifar10', True)


def test_binary_comes_before_python_and_folders_before_archives(tmp_path):
    """Each later form is damaged, and so would fail if it were read."""
    good = binary_files('cifar10')
    bad = dict.fromkeys([*good, *BATCHES, 'test_batch'], b'')
    middle, (binary, python) = LAYOUT['cifar10'][2:]
    write_folder(tmp_path / binary, good)
    write_folder(tmp_path / python, bad)
    write_archive(tmp_path / f'{middle}-binary.tar.gz', bad, binary)
    check(load_cifar('cifar10', tmp_path), 'cifar10', True)
    shutil.rmtree(tmp_path / binary)
    shutil.rmtree(tmp_path / python)
    write_folder(tmp_path / python, python_files('cifar10', by_python2))
    check(load_cifar('cifar10', tmp_path), 'cifar10', True)
    shutil.rmtree(tmp_path / python)
    write_archive(tmp_path / f'{middle}-binary.tar.gz', good, binary)
    write_archive(tmp_path / f'{middle}-python.tar.gz', bad, python)
    check(load_cifar('cifar10', tmp_path), 'cifar10', True)


def test_binary_images_are_not_copied(tmp_path):
    images = load_cifar('cifar100', write_folder(tmp_path / 'data', binary_files('cifar100'))).images
    assert not images.flags.owndata
    assert images.strides == (3074, 1024, 32, 1)


def test_class_names(tmp_path):
    files = binary_files('cifar100')
    published = load_cifar('cifar100', write_folder(tmp_path / 'without', files)).class_names
    assert len(set(published)) == 100 and list(published) == sorted(published)
    assert (published[0], published[99]) == ('apple', 'worm')
    listed = [f'class{k}' for k in range(100)]
    files['fine_label_names.txt'] = '\n'.join([*listed, '']).encode()
    archive = write_archive(tmp_path / 'with.tar.gz', files, 'x')
    assert load_cifar('cifar100', archive).class_names == tuple(listed)
    assert len(load_cifar('cifar100', archive, labels='coarse').class_names) == 20
    files['fine_label_names.txt'] = b'one\ntwo\n'
    with pytest.raises(DataError, match=r'fine_label_names\.txt .*\b2\b.*\b100\b'):
        load_cifar('cifar100', write_folder(tmp_path / 'wrong', files))


def test_number_of_images_is_told_once(tmp_path, caplog):
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
        publish(monkeypatch, path)
        load_cifar('cifar10', tmp_path)
        assert not caplog.records


# What is refused.

def refused(words, name, folder, **arguments):
    with pytest.raises(DataError, match=words) as failure:
        load_cifar(name, folder, **arguments)
    assert '\n' not in str(failure.value)


def test_wrong_names(tmp_path):
    refused("'cifar20'.*cifar100", 'cifar20', tmp_path)
    refused("cifar10 .*'coarse'", 'cifar10', tmp_path, labels='coarse')


@pytest.mark.parametrize('words, file, content', [
    ('data_batch_3.bin', 'data_batch_3.bin', None),
    ('data_batch_2.bin', 'data_batch_2.bin', b''),
    (r'data_batch_2.bin.* 3073 ', 'data_batch_2.bin', bytes(3074)),
    (r'record 1 .*data_batch_5.bin.* 10\b', 'data_batch_5.bin',
     bytes(3073) + b'\x0a' + bytes(3072)),
])
def test_damaged_binary_file(tmp_path, words, file, content):
    files = {**binary_files('cifar10'), file: content}
    files = {name: content for name, content in files.items() if content is not None}
    refused(words, 'cifar10', write_folder(tmp_path / 'data', files))
    refused(words, 'cifar10', write_archive(tmp_path / 'data.tar.gz', files, 'x'))


def test_cifar100_records_under_a_cifar10_name(tmp_path):
    content = binary_files('cifar100')['train.bin']
    folder = write_folder(tmp_path / 'odd', {'test_batch.bin': content})
    refused('test_batch.bin.* 3073 ', 'cifar10', folder, train=False)
    fitting = (content * 1025)[:3073 * 3074]        # a whole number of records of either kind
    folder = write_folder(tmp_path / 'even', {'test_batch.bin': fitting})
    refused('has the label', 'cifar10', folder, train=False)


def test_both_labels_of_cifar100_are_checked(tmp_path):
    folder = write_folder(tmp_path / 'data', {'train.bin': b'\x14' + bytes(3073)})
    refused('label 20, .*0 to 19', 'cifar100', folder)


def test_file_that_cannot_be_opened(tmp_path):
    if os.geteuid() == 0:
        pytest.skip('root may read everything')
    folder = write_folder(tmp_path / 'data', binary_files('cifar10'))
    os.chmod(os.path.join(folder, 'test_batch.bin'), 0)
    refused('test_batch.bin: Permission denied', 'cifar10', folder, train=False)


@pytest.mark.parametrize('words, batch', [
    ('test_batch is not a dictionary', [1]),
    ("test_batch has no 'data'", {b'labels': [1]}),
    ("test_batch has no 'data'", {b'labels': [1], b'data': np.zeros((1, 3073), np.uint8)}),
    ("test_batch has no 'data'", {b'labels': [1], b'data': np.zeros((1, 3072), np.int64)}),
    ("test_batch has no 'data'", {b'labels': [1], b'data': np.array(1, np.uint8)}),
    ("test_batch has no 'labels'", {b'data': np.zeros((1, 3072), np.uint8)}),
    ("test_batch has no 'labels'", {b'labels': [1, 2], b'data': np.zeros((1, 3072), np.uint8)}),
    ("test_batch has no 'labels'", {b'labels': ['cat'], b'data': np.zeros((1, 3072), np.uint8)}),
    ("test_batch has no 'labels'", {b'labels': [2 ** 70], b'data': np.zeros((1, 3072), np.uint8)}),
    ("test_batch has no 'labels'", {b'labels': [], b'data': np.zeros((0, 3072), np.uint8)}),
    ('has the label 10', {b'labels': [10], b'data': np.zeros((1, 3072), np.uint8)}),
    ('has the label -1', {b'labels': np.array([-1]), b'data': np.zeros((1, 3072), np.uint8)}),
])
def test_damaged_python_file(tmp_path, words, batch):
    folder = write_folder(tmp_path / 'data', {'test_batch': pickle.dumps(batch, 2)})
    refused(words, 'cifar10', folder, train=False)


def test_a_file_that_is_no_whole_archive_is_refused(tmp_path):
    whole = write_archive(tmp_path / 'whole.tar.gz', binary_files('cifar10'), 'x')
    with open(whole, 'rb') as file:
        content = file.read()
    damages = {'empty': b'', 'text': b'<html>', 'half': content[:len(content) // 2], 'almost': content[:-6],
               'flipped': content[:5000] + b'\0\0\0\0' + content[5004:]}
    for label, damage in damages.items():
        path = tmp_path / f'{label}.tar.gz'
        path.write_bytes(damage)
        refused(f'{label}.tar.gz .*download it again', 'cifar10', path)
    endless = tarfile.TarInfo('x/endless')
    endless.size = 2 ** 70
    with tarfile.open(tmp_path / 'endless.tar.gz', 'w:gz', format=tarfile.GNU_FORMAT) as archive:
        archive.fileobj.write(endless.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    refused('endless.tar.gz .*download it again', 'cifar10', tmp_path / 'endless.tar.gz')
    nested = tmp_path / 'nested.tar'
    with tarfile.open(nested, 'w') as archive:
        archive.add(whole, 'whole')
    refused("nested.tar .*'whole'", 'cifar10', nested)


def member(name, kind=tarfile.REGTYPE, target=''):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize('words, extra', [
    ('points out', member('/etc/data_batch_1.bin')),
    ('points out', member('x/../../data_batch_1.bin')),
    ('link or a device', member('x/readme', tarfile.SYMTYPE, '/etc/passwd')),
    ('link or a device', member('x/readme', tarfile.LNKTYPE, 'x/test_batch.bin')),
    ('link or a device', member('x/readme', tarfile.CHRTYPE)),
    ('link or a device', member('x/readme', tarfile.FIFOTYPE)),
    ('link or a device', member('x/readme', tarfile.GNUTYPE_SPARSE)),
])
def test_archive_with_members_that_no_published_one_has(tmp_path, words, extra):
    refused(words, 'cifar10', write_archive(tmp_path / 'a.tar.gz', binary_files('cifar10'), 'x', [extra]))


def test_archive_of_something_else(tmp_path):
    path = write_archive(tmp_path / 'a.tar.gz', binary_files('cifar100'), 'x')
    refused("a.tar.gz .*'x'.*test_batch.bin", 'cifar10', path)
    refused('there is no archive', 'cifar10', tmp_path / 'mistyped.tar.gz')


# Downloads. fetch() itself is tested in test_download.py.

def publish(monkeypatch, path):
    with open(path, 'rb') as file:
        monkeypatch.setitem(cifar_files.MD5, os.path.basename(path), hashlib.md5(file.read()).hexdigest())


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """The URL of a folder with a made-up CIFAR-100 archive that counts as the published one."""
    os.mkdir(tmp_path / 'mirror')
    files = {**binary_files('cifar100'), 'fine_label_names.txt': b'x\n' * 100, 'readme.html': b'<p>'}
    path = tmp_path / 'mirror' / 'cifar-100-binary.tar.gz'
    publish(monkeypatch, write_archive(path, files, 'cifar-100-binary'))
    return path.parent.as_uri()


def test_download_unpacks_what_is_needed(tmp_path, mirror, caplog):
    folder = tmp_path / 'new' / 'data'
    check(load_cifar('cifar100', folder, url=mirror), 'cifar100', True)
    unpacked = os.listdir(folder / 'cifar-100-binary')
    assert sorted(unpacked) == ['fine_label_names.txt', 'test.bin', 'train.bin']
    check_tidy(folder)
    check(load_cifar('cifar100', folder, train=False), 'cifar100', False)
    assert 'MD5' not in caplog.text


def test_mirror_from_the_environment(tmp_path, mirror, monkeypatch):
    monkeypatch.setenv('OPENATAC_DATA_URL', mirror + '/')
    check(load_cifar('cifar100', tmp_path / 'a'), 'cifar100', True)
    monkeypatch.setenv('OPENATAC_DATA_URL', 'http://127.0.0.1:9/')
    check(load_cifar('cifar100', tmp_path / 'b', url=mirror), 'cifar100', True)


def check_tidy(folder, unpacked=True):
    archive = 'cifar-100-binary.tar.gz'
    expected = {archive} | ({'cifar-100-binary'} if unpacked else set())
    assert set(os.listdir(folder)) == expected


def test_download_that_is_cut_short_leaves_nothing_half_done(tmp_path, mirror, monkeypatch):
    def stop(source, target):
        target.write(source.read(10))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cifar_files.shutil, 'copyfileobj', stop)
        with pytest.raises(KeyboardInterrupt):
            load_cifar('cifar100', tmp_path / 'data', url=mirror)
    check_tidy(tmp_path / 'data', unpacked=False)
    check(load_cifar('cifar100', tmp_path / 'data', url=mirror), 'cifar100', True)


def test_another_process_may_be_faster(tmp_path, mirror, monkeypatch):
    rename, folder = os.rename, tmp_path / 'data'

    def late_rename(source, target):
        shutil.copytree(source, target)
        rename(source, target)

    monkeypatch.setattr(cifar_files.os, 'rename', late_rename)
    check(load_cifar('cifar100', folder, url=mirror), 'cifar100', True)
    check_tidy(folder)


def test_failed_download_names_folder_and_url(tmp_path, mirror):
    folder = tmp_path / 'data'
    refused(f'{folder} does not exist; cannot download http://127.0.0.1:9/cifar-100-binary.tar.gz',
            'cifar100', folder)
    folder.mkdir()
    refused(f'{folder} has no cifar-10-batches-bin; cannot download', 'cifar10', folder, url=mirror)


def test_downloaded_archive_with_a_wrong_md5_is_refused(tmp_path, mirror, monkeypatch):
    monkeypatch.setitem(cifar_files.MD5, 'cifar-100-binary.tar.gz', '0' * 32)
    refused('MD5', 'cifar100', tmp_path / 'data', url=mirror)
    assert not os.path.exists(tmp_path / 'data')


# Pickles that are read without unpickling.

class Evil:
    """Its pickle makes a file wherever it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def evil_pickles(path):
    """What each way of running something looks like; all make the folder `path` when unpickled."""
    word = str(path).encode()
    argument = b'(V' + word + b'\ntR.'
    for protocol in range(6):
        yield f'reduce{protocol}', pickle.dumps({'data': Evil(path)}, protocol)
    yield 'os.mkdir', b'\x80\x02cos\nmkdir\n' + argument
    yield 'os.system', b'\x80\x02cos\nsystem\n(Vmkdir ' + word + b'\ntR.'
    yield 'eval', b'\x80\x02cbuiltins\neval\n(V__import__("os").mkdir("' + word + b'")\ntR.'
    yield 'inst', b'(V' + word + b'\nios\nmkdir\n.'
    yield 'obj', b'(cos\nmkdir\nV' + word + b'\no.'
    yield 'stack_global', b'\x80\x04\x8c\x02os\x8c\x05mkdir\x93' + argument
    yield 'numpy', (b'\x80\x02cnumpy.testing._private.utils\nrunstring\n(V__import__("os").mkdir("' + word
                    + b'")\n}tR.')
    yield 'dotted', b'\x80\x04\x8c\x06shutil\x8c\x08os.mkdir\x93' + argument
    yield 'newobj', b'\x80\x02cos\nmkdir\n)\x81.'
    yield 'extension', b'\x80\x02\x82\x01)R.'
    yield 'persistent id', b'\x80\x02Pos.mkdir\n.'
    yield 'persistent id on the stack', b'\x80\x02K\x01Q.'
    yield 'state', b'\x80\x02}}Vos\nVmkdir\nsb.'
    yield 'call of data', b'\x80\x02U\x0cos mkdir    ' + b')R.'


@pytest.mark.parametrize('way', [way for way, _ in evil_pickles('x')])
def test_nothing_in_a_pickle_is_run(tmp_path, way):
    marker = tmp_path / 'marker'
    content = dict(evil_pickles(marker))[way]
    with pytest.raises(DataError):
        read_plain_pickle(content)
    folder = write_folder(tmp_path / 'data', {'test_batch': content})
    refused('test_batch', 'cifar10', folder, train=False)
    archive = write_archive(tmp_path / 'cifar.tar.gz', {'test_batch': content}, 'cifar-10-batches-py')
    refused('test_batch', 'cifar10', archive, train=False)
    assert not marker.exists()


@pytest.mark.parametrize('way', ['reduce0', 'reduce5', 'os.mkdir', 'os.system', 'eval', 'inst', 'obj',
                                 'stack_global', 'dotted'])
def test_python_itself_runs_them(tmp_path, way):
    marker = tmp_path / 'marker'
    pickle.loads(dict(evil_pickles(marker))[way])
    assert marker.exists()


@pytest.mark.parametrize('words, content', [
    ("'posix system'", b'\x80\x02cposix\nsystem\n.'),
    ('INST .*2', b'\x80\x02ios\nmkdir\n.'),
    ("'O8'", pickle.dumps(np.array([None]), 2)),
    ("'V", pickle.dumps(np.zeros(2, [('a', 'u1')]), 2)),
    ("'M8'", pickle.dumps(np.zeros(2, 'M8[s]'), 2)),
    ('BINFLOAT', pickle.dumps([0.5], 2)),
])
def test_refusals_name_what_was_found(words, content):
    with pytest.raises(DataError, match=f'FILE .*{words}'):
        read_plain_pickle(content, 'FILE')


@pytest.mark.parametrize('content', [
    pickle.dumps([1, 2, 3], 2)[:-1], b'\x80\x02K\x01s.', b'\x80\x02h\x07.', b'\x80\x02]K\x01K\x02s.',
    b'\x80\x02}K\x01a.', b'\x80\x02})K\x02s.'])
def test_operations_that_do_not_fit_together(content):
    with pytest.raises(DataError, match='FILE'):
        read_plain_pickle(content, 'FILE')


def test_array_must_match_its_bytes():
    good = pickle.dumps(np.zeros((2, 3072), np.uint8), 2)
    assert read_plain_pickle(good).shape == (2, 3072)
    for length in (b'J\xff\xff\xff\x7f', b'K\x01', b'K\x00', b'J\xff\xff\xff\xff'):
        bad = good.replace(b'K\x02M\x00\x0c\x86', length + b'M\x00\x0c\x86')
        assert bad != good
        with pytest.raises(DataError, match='FILE'):
            read_plain_pickle(bad, 'FILE')


def test_small_file_cannot_ask_for_much_memory():
    text = b'X' + struct.pack('<I', 1000) + b'x' * 1000
    encode = b'c_codecs\nencode\nq\x00' + text + b'q\x01X\x06\x00\x00\x00latin1\x86q\x02R'
    assert read_plain_pickle(b'\x80\x02' + encode + b'.') == b'x' * 1000
    with pytest.raises(DataError, match='FILE'):
        read_plain_pickle(b'\x80\x02](' + encode + b'h\x00h\x02R' * 1000 + b'e.', 'FILE')


def test_numpy_2_names():
    array = np.arange(6, dtype='<i4').reshape(2, 3)
    for protocol in (2, 3):
        content = pickle.dumps(array, protocol).replace(b'numpy._core.', b'numpy.core.')
        renamed = content.replace(b'numpy.core.', b'numpy._core.')
        assert renamed != content
        np.testing.assert_array_equal(read_plain_pickle(content), array)
        np.testing.assert_array_equal(read_plain_pickle(renamed), array)


def same(left, right):
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return type(left) is type(right) and len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right


ARRAYS = st_numpy.arrays(
    st.sampled_from(['?', 'u1', 'i1', '<i2', '>i4', '<u4', 'i8', '>f4', 'f8']),
    st_numpy.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary() | ARRAYS
    | ARRAYS.map(np.asfortranarray),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple)
    | st.dictionaries(st.text() | st.binary() | st.integers(), inner), max_leaves=8)
PROTOCOLS = st.integers(2, 5)


@settings(max_examples=200, deadline=None)
@given(PLAIN, PROTOCOLS)
def test_plain_values_are_read_as_by_pickle(value, protocol):
    content = pickle.dumps(value, protocol)
    assert same(read_plain_pickle(content), pickle.loads(content))


def read_or_refuse(content):
    with contextlib.suppress(DataError):
        read_plain_pickle(content)


@settings(max_examples=300, deadline=None)
@given(st.binary() | st.lists(st.sampled_from(
    [b'\x80\x02', b'(', b')', b'}', b']', b't', b'\x85', b'\x86', b'\x87', b'a', b'e', b's', b'u', b'R', b'b',
     b'N', b'K\x00', b'K\x03', b'K\x01', b'C\x01a', b'U\x02u1', b'X\x01\x00\x00\x00<', b'J\xff\xff\xff\xff',
     b'q\x00', b'h\x00', b'\x94', b'\x93', b'cnumpy\ndtype\n', b'cnumpy\nndarray\n',
     b'cnumpy.core.multiarray\n_reconstruct\n', b'cnumpy.core.numeric\n_frombuffer\n', b'c_codecs\nencode\n',
     b'c__builtin__\nbytes\n', b'.']), max_size=30).map(b''.join))
def test_random_streams_are_read_or_refused(content):
    read_or_refuse(content)
    read_or_refuse(content + b'.')


@settings(max_examples=300, deadline=None)
@given(PROTOCOLS, st.data())
def test_damaged_streams_are_read_or_refused(protocol, data):
    content = bytearray(pickle.dumps({b'data': np.arange(12, dtype='>i2').reshape(3, 4),
                                      'labels': [1, (2, None)], 'b': b'\xff'}, protocol))
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[position] = data.draw(st.integers(0, 255))
    read_or_refuse(bytes(content[:data.draw(st.integers(0, len(content)))]))
    read_or_refuse(bytes(content))
