"""Pickles are read without unpickling, so that no code in them runs."""
import contextlib
import os
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from openatac.data.small.plain_pickle import read_plain_pickle
from openatac.errors import DataError
from tests.helpers.images.cifar_archives import (
    refused,
    write_archive,
    write_folder,
)


class Evil:
    """An object whose pickle makes a file when it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def evil_pickles(path):
    """Yield (name, pickle) for each way to run code; each pickle makes the folder `path` when loaded."""
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
def test_code_in_a_pickle_is_not_run(tmp_path, way):
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
def test_evil_pickles_run_in_pickle_itself(tmp_path, way):
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
def test_refusals_name_the_offending_item(words, content):
    with pytest.raises(DataError, match=f'FILE .*{words}'):
        read_plain_pickle(content, 'FILE')


@pytest.mark.parametrize('content', [
    pickle.dumps([1, 2, 3], 2)[:-1], b'\x80\x02K\x01s.', b'\x80\x02h\x07.', b'\x80\x02]K\x01K\x02s.',
    b'\x80\x02}K\x01a.', b'\x80\x02})K\x02s.'])
def test_inconsistent_operations_are_refused(content):
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


def test_numpy_2_module_names_are_accepted():
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
