"""Record files and image folders: their content, and the errors of damaged ones."""
import os
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openatac.data.images.folder import ImageFolder
from openatac.data.images.source import BadImageError
from openatac.data.records.record_file import RecordFile
from openatac.data.records.recordio import MAGIC, pack_record
from openatac.errors import DataError

IMAGES = [b'first image', b'', MAGIC, b'abcd' + MAGIC + b'efgh' + MAGIC, b'x' + MAGIC, bytes(1000)]


def payload(image, label=0.0, number=0, many=()):
    return struct.pack('<IfQQ', len(many), label, number, 0) + struct.pack(f'<{len(many)}f', *many) + image


def write(folder, payloads, name='a', index=True):
    """Write a record file and its index; return their paths."""
    records, offsets = b'', []
    for each in payloads:
        offsets.append(len(records))
        records += pack_record(each)
    rec, idx = (os.path.join(folder, name + ending) for ending in ('.rec', '.idx'))
    with open(rec, 'wb') as handle:
        handle.write(records)
    if index:
        with open(idx, 'w') as handle:
            handle.writelines(f'{key}\t{offset}\n' for key, offset in enumerate(offsets))
    return rec, idx if index else None


def contents(records):
    """Return all records that can be read, with None for a bad one."""
    found = []
    for index in range(len(records)):
        try:
            found.append(records.read(index))
        except BadImageError:
            found.append(None)
    return found


@pytest.fixture
def pair(tmp_path):
    """A record file of five images with labels 0 to 4, and its index."""
    return write(tmp_path, [payload(b'image %d' % i * (i + 3), i, i) for i in range(5)])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.one_of(st.binary(max_size=9), st.just(MAGIC)), max_size=6).map(b''.join),
                min_size=1, max_size=5), st.booleans())
def test_record_file_roundtrip(tmp_path_factory, images, index):
    folder = tmp_path_factory.mktemp('records')
    images = [image + b'.' for image in images]
    records = RecordFile(*write(folder, [payload(image, i) for i, image in enumerate(images)], index=index))
    assert contents(records) == [(image, i) for i, image in enumerate(images)]


def test_mxnet_reads_and_writes_the_same_files(tmp_path):
    import mxnet as mx
    images = [payload(image, i, i) for i, image in enumerate(IMAGES)]
    rec, idx = write(tmp_path, images, 'ours')
    reader = mx.recordio.MXIndexedRecordIO(idx, rec, 'r')
    assert [reader.read_idx(i) for i in range(len(images))] == images
    reader.close()
    theirs = str(tmp_path / 'theirs.rec')
    writer = mx.recordio.MXIndexedRecordIO(str(tmp_path / 'theirs.idx'), theirs, 'w')
    for i, image in enumerate(images):
        writer.write_idx(i, image)
    writer.close()
    with open(theirs, 'rb') as one, open(rec, 'rb') as other:
        assert one.read() == other.read()
    assert RecordFile(theirs, str(tmp_path / 'theirs.idx')).bounds == RecordFile(theirs).bounds


def test_first_of_several_labels_counts(tmp_path):
    records = RecordFile(*write(tmp_path, [payload(b'a', 7, many=(3, 4, 5)), payload(b'b', 2)]), classes=4)
    assert contents(records) == [(b'a', 3), (b'b', 2)]


@pytest.mark.parametrize('label', [4, -1, 1.5, float('nan'), float('inf')])
def test_unknown_label_gives_a_clear_error(tmp_path, label):
    records = RecordFile(*write(tmp_path, [payload(b'a', 0), payload(b'b', label)]), classes=4)
    with pytest.raises(DataError, match=r'a\.rec, record 1 .*\b4 '):
        records.read(1)


def test_pickled_record_file_reads_the_same_in_another_process(pair):
    records = RecordFile(*pair, classes=5)
    assert contents(pickle.loads(pickle.dumps(records))) == contents(records)


def test_records_follow_the_file_order_for_any_index_order(pair):
    with open(pair[1]) as handle:
        lines = handle.readlines()
    with open(pair[1], 'w') as handle:
        handle.writelines(lines[::-1])
    assert contents(RecordFile(*pair)) == contents(RecordFile(pair[0]))


# ----------------------------------------------------------------------------------- damage

@pytest.mark.parametrize('indexed', [True, False])
def test_every_truncation_is_noticed(pair, indexed):
    rec, idx = pair
    whole = contents(RecordFile(rec))
    starts = RecordFile(rec).bounds
    with open(rec, 'rb') as handle:
        data = handle.read()
    for length in range(len(data)):
        with open(rec, 'wb') as handle:
            handle.write(data[:length])
        try:
            found = contents(RecordFile(rec, idx if indexed else None))
        except DataError:
            assert length < 8 or (indexed and length <= starts[-2])
        else:
            complete = sum(end <= length for end in starts[1:])
            assert found[:complete] == whole[:complete] and set(found[complete:]) <= {None}
            assert indexed is False or len(found) == 5


@pytest.mark.parametrize('indexed', [True, False])
def test_flipped_bits_do_not_crash(pair, indexed):
    rec, idx = pair
    whole = contents(RecordFile(rec))
    with open(rec, 'rb') as handle:
        data = bytearray(handle.read())
    bounds = RecordFile(rec).bounds
    for position in range(len(data)):
        hit = sum(start <= position for start in bounds) - 1
        for bit in (0, 3, 7):
            data[position] ^= 1 << bit
            with open(rec, 'wb') as handle:
                handle.write(data)
            try:
                found = contents(RecordFile(rec, idx if indexed else None, classes=5))
                if indexed:
                    assert found[:hit] + found[hit + 1:] == whole[:hit] + whole[hit + 1:]
            except DataError as error:
                sentence = str(error)
                assert '\n' not in sentence
            data[position] ^= 1 << bit


def test_truncated_last_record_is_one_bad_record(pair):
    with open(pair[0], 'r+b') as handle:
        handle.truncate(os.path.getsize(pair[0]) - 8)
    for records in RecordFile(*pair), RecordFile(pair[0]):
        assert [found is None for found in contents(records)] == [False] * 4 + [True]
    with pytest.raises(BadImageError):
        records.read(4)


def test_index_of_another_file_is_named(tmp_path, pair):
    _, other = write(tmp_path, [payload(bytes(8 * i), 0) for i in range(4)], 'other')
    with pytest.raises(DataError, match='other.idx .*a.rec'):
        RecordFile(pair[0], other)
    _, longer = write(tmp_path, [payload(bytes(900), 0)] * 2, 'longer')
    with pytest.raises(DataError, match='longer.idx|a.rec'):
        RecordFile(pair[0], longer)


@pytest.mark.parametrize('text', [
    '', '1\t2\t3\n', 'a b\n', '0\t99999999999999999999\n', '0\t4\n', '0\t0\n1\t0\n', '0\t0\n',
    '0\t0\n1\t-4\n'])
def test_damaged_index_is_named(pair, text):
    with open(pair[1], 'w') as handle:
        handle.write(text)
    with pytest.raises(DataError, match='a.idx'):
        RecordFile(*pair)


def test_missing_or_unrelated_files_are_named(tmp_path, pair):
    with pytest.raises(DataError, match='none.rec'):
        RecordFile(str(tmp_path / 'none.rec'))
    with pytest.raises(DataError, match='none.idx'):
        RecordFile(pair[0], str(tmp_path / 'none.idx'))
    for content in (b'', b'some text, no record'):
        (tmp_path / 'text.rec').write_bytes(content)
        with pytest.raises(DataError, match='text.rec'):
            RecordFile(str(tmp_path / 'text.rec'))


def test_class_list_beside_the_file_is_used(tmp_path, pair):
    (tmp_path / 'a.classes').write_text('one\ntwo\nthree\nfour\nfive\n')
    records = RecordFile(*pair)
    assert records.class_names == ('one', 'two', 'three', 'four', 'five') and records.classes == 5
    with pytest.raises(DataError, match=r'\b5 .*\b1000\b'):
        RecordFile(*pair, classes=1000)


# ---------------------------------------------------------------------------------- folders

def test_folder_is_read_in_name_order(tmp_path):
    for name in ('b/2.JPEG', 'b/1.png', 'a/x.jpg', 'a/notes.txt', '.hidden/x.jpg', 'c/3.bmp'):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
    images = ImageFolder(str(tmp_path), classes=3)
    assert images.class_names == ('a', 'b', 'c')
    assert [images.read(i) for i in range(len(images))] == [
        (b'a/x.jpg', 0), (b'b/1.png', 1), (b'b/2.JPEG', 1), (b'c/3.bmp', 2)]
    assert images.name(2) == 'b/2.JPEG'
    (tmp_path / 'b' / '2.JPEG').unlink()
    with pytest.raises(BadImageError):
        images.read(2)


def test_folder_without_images_in_classes_is_named(tmp_path):
    with pytest.raises(DataError, match='none'):
        ImageFolder(str(tmp_path / 'none'))
    with pytest.raises(DataError, match=str(tmp_path)):
        ImageFolder(str(tmp_path))
    (tmp_path / 'a').mkdir()
    with pytest.raises(DataError, match=str(tmp_path)):
        ImageFolder(str(tmp_path))
    (tmp_path / 'a' / 'x.jpg').write_bytes(b'')
    with pytest.raises(DataError, match=r'\b1 .*\b10\b'):
        ImageFolder(str(tmp_path), classes=10)


def test_real_photographs_are_read_from_a_folder(shared_data):
    images = ImageFolder(str(shared_data / 'imagenet_sample'))
    labels = [images.read(i)[1] for i in range(len(images))]
    assert len(images) == 200 and np.unique(labels).tolist() == list(range(len(images.class_names)))
