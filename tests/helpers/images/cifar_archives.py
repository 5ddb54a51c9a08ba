"""Made-up CIFAR files in every format, in folders and archives."""
import hashlib
import io
import os
import pickle
import struct
import tarfile

import numpy as np
import pytest

from openatac.data.small import cifar_location
from openatac.data.small.cifar import load_cifar
from openatac.errors import DataError

PER_FILE = 3
BATCHES = [f'data_batch_{k}' for k in range(1, 6)]
LAYOUT = {      # name: (training files, test file, archives' middle, folder of each form)
    'cifar10': (BATCHES, 'test_batch', 'cifar-10', ('cifar-10-batches-bin', 'cifar-10-batches-py')),
    'cifar100': (['train'], 'test', 'cifar-100', ('cifar-100-binary', 'cifar-100-python')),
}


def made_up(name, file):
    """Return a file's images, which never vary, and its labels by their key in the Python files."""
    random = np.random.RandomState(sum(map(ord, name + file)))
    images = random.randint(0, 256, (PER_FILE, 3072), np.uint8)
    if name == 'cifar10':
        return images, {'labels': random.randint(0, 10, PER_FILE)}
    return images, {'coarse_labels': random.randint(0, 20, PER_FILE),
                    'fine_labels': random.randint(0, 100, PER_FILE)}


def binary_files(name):
    """Return {file name: content} of the binary files."""
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


def pickle_as_python3(protocol):
    def write(images, labels):
        return pickle.dumps({b'data': images, **{key.encode(): value for key, value in labels.items()},
                             b'filenames': ['a.png'] * len(images)}, protocol)
    return write


def pickle_as_python2(images, labels):
    """Return the bytes of cPickle.dumps(..., 2) in Python 2 with NumPy 1, as in the published files."""
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
    """Write a .tar.gz archive in reverse order, as the published archives are not sorted either."""
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


def refused(words, name, folder, **arguments):
    with pytest.raises(DataError, match=words) as failure:
        load_cifar(name, folder, **arguments)
    assert '\n' not in str(failure.value)


def register_checksum(monkeypatch, path):
    with open(path, 'rb') as file:
        monkeypatch.setitem(cifar_location.MD5, os.path.basename(path), hashlib.md5(file.read()).hexdigest())
