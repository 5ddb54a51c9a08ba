"""Record files made from folders have the same bytes however they are made, and can be checked."""
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from openatac.commands.pack import main
from openatac.data.images.decoding import decode
from openatac.data.images.folder import ImageFolder
from openatac.data.images.image_files import ImageFiles
from openatac.data.records.check import check_records
from openatac.data.records.pack import PackSettings, pack
from openatac.data.records.record_file import RecordFile
from openatac.errors import DataError
from tests.helpers.images.made_up_images import encoded, plain, smooth
from tests.helpers.processes.child_environment import child_environment
from tests.helpers.processes.commands import command_error

PACK = [sys.executable, '-c',
        'import sys; from openatac.commands.pack import main; sys.exit(main(sys.argv[1:]))']
ENDINGS = '.rec', '.idx', '.classes', '.crc32'


def image_bytes(index, form='JPEG', size=(40, 30)):
    return encoded(plain((index * 7 % 256, 255 - index, 90), *size[::-1]), form)


@pytest.fixture
def folder(tmp_path):
    """Sixty images of three classes, including a truncated JPEG and a text file."""
    for index in range(60):
        path = tmp_path / 'images' / 'abc'[index // 20] / f'{index:02d}.jpg'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_bytes(index, 'PNG' if index == 33 else 'JPEG'))
    half = tmp_path / 'images' / 'a' / '07.jpg'
    half.write_bytes(half.read_bytes()[:-40])
    (tmp_path / 'images' / 'c' / '59.jpg').write_text('no image')
    return str(tmp_path / 'images')


def packed(out):
    """Return the bytes of the record files; no other file may exist."""
    place, name = os.path.split(out)
    assert sorted(other for other in os.listdir(place) if other.startswith(name)) == sorted(
        name + ending for ending in ENDINGS)
    contents = []
    for ending in ENDINGS:
        with open(out + ending, 'rb') as handle:
            contents.append(handle.read())
    return contents


def made(tmp_path, name, folder, *flags):
    assert main([folder, str(tmp_path / name), '--max-bad-share', '0.1', *flags]) == 0
    return packed(str(tmp_path / name))


def test_files_are_written_and_bad_images_skipped(folder, tmp_path, caplog):
    out = str(tmp_path / 'out')
    assert pack(ImageFolder(folder), out, workers=2, max_bad_share=0.1) == (58, 3, 2)
    first, second = sorted(record.getMessage() for record in caplog.records)
    assert 'a/07.jpg' in first and 'c/59.jpg' in second
    records = RecordFile(out + '.rec', out + '.idx', classes=3)
    assert len(records) == 58 and records.class_names == ('a', 'b', 'c')
    kept = [index for index in range(60) if index not in (7, 59)]
    for place, index in enumerate(kept):
        data, label = records.read(place)
        assert label == index // 20 and records.image_id(place) == index
        assert data == image_bytes(index, 'PNG' if index == 33 else 'JPEG')


@pytest.mark.parametrize('flags', [(), ('--shuffle', '3'), ('--resize', '20', '--quality', '70')])
def test_any_number_of_workers_writes_the_same_bytes(folder, tmp_path, flags):
    alone = made(tmp_path, 'alone', folder, '-j', '1', *flags)
    assert made(tmp_path, 'many', folder, '-j', '5', *flags) == alone


def test_mxnet_reads_the_files(folder, tmp_path):
    import mxnet as mx
    out = str(tmp_path / 'out')
    pack(ImageFolder(folder), out, PackSettings(shuffle=1), max_bad_share=0.1)
    reader = mx.recordio.MXIndexedRecordIO(out + '.idx', out + '.rec', 'r')
    ids = [mx.recordio.unpack(reader.read_idx(key))[0].id for key in reader.keys]
    assert ids == reader.keys and len(ids) == 58
    reader.close()
    batches = mx.io.ImageRecordIter(path_imgrec=out + '.rec', path_imgidx=out + '.idx', batch_size=58,
                                    data_shape=(3, 30, 40), preprocess_threads=1, verbose=False)
    labels = next(iter(batches)).label[0].asnumpy()
    records = RecordFile(out + '.rec')
    assert labels.tolist() == [records.read(index)[1] for index in range(58)]
    assert labels.tolist() != sorted(labels)


def test_images_are_resized_and_compressed_as_asked(folder, tmp_path):
    made(tmp_path, 'out', folder, '--resize', '15')
    records = RecordFile(str(tmp_path / 'out.rec'))
    for index in range(len(records)):
        data, _ = records.read(index)
        assert data.startswith(b'\xff\xd8') and decode(data).shape == (15, 20, 3)
    made(tmp_path, 'kept', folder, '--resize', '30')
    assert packed(str(tmp_path / 'kept')) == made(tmp_path, 'plain', folder)


@pytest.mark.parametrize('form', ['BMP', 'GIF', 'WEBP'])
def test_format_unreadable_by_mxnet_keeps_its_pixels(tmp_path, form):
    (tmp_path / 'images' / 'a').mkdir(parents=True)
    file = encoded(smooth(30, 40), form)
    (tmp_path / 'images' / 'a' / 'x.jpg').write_bytes(file)
    pack(ImageFolder(str(tmp_path / 'images')), str(tmp_path / 'out'))
    data, _ = RecordFile(str(tmp_path / 'out.rec')).read(0)
    assert data.startswith(b'\x89PNG')
    np.testing.assert_array_equal(decode(data), decode(file))


def test_skipped_files_are_counted(folder, tmp_path, capsys):
    with open(os.path.join(folder, 'a', 'notes.txt'), 'w', encoding='utf-8') as file:
        file.write('not an image')
    made(tmp_path, 'out', folder)
    assert 'skipped 1 ' in capsys.readouterr().err


def test_too_many_bad_images_are_an_error(folder, tmp_path):
    with pytest.raises(DataError, match=r'\b2 .*\b60 .*\b1%'):
        pack(ImageFolder(folder), str(tmp_path / 'out'))
    assert not os.path.exists(str(tmp_path / 'out.rec'))


# ------------------------------------------------------------------------- interrupted runs

def start(folder, out, *flags):
    return subprocess.Popen([*PACK, folder, out, '--max-bad-share', '0.1', '-j', '2', *map(str, flags)],
                            env=child_environment(),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_killed_run_is_resumed_to_the_same_bytes(tmp_path, folder):
    images = [image_bytes(index, size=(300, 200)) for index in range(50)]
    for index in range(60, 1200):  # enough images to be interrupted midway
        Path(folder, 'c', f'{index:04d}.jpg').write_bytes(images[index % 50])
    whole = made(tmp_path, 'whole', folder, '-j', '2')
    out = str(tmp_path / 'out')
    process, kills = start(folder, out), 0
    while process.poll() is None:
        time.sleep(0.02)
        part = out + '.rec.part'
        if kills < 3 and os.path.exists(part) and os.path.getsize(part) > len(whole[0]) * (kills + 1) // 5:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            assert not os.path.exists(out + '.rec')
            kills += 1
            process = start(folder, out)
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert kills > 0 and re.search('1198 .* 3 classes', output)
    assert packed(out) == whole


def interrupt(*_):
    raise KeyboardInterrupt


def stop_at(folder, out, length, **settings):
    """Leave the files of a run that was stopped after writing that many bytes, as by a full disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, 'rename', interrupt)
        with pytest.raises(KeyboardInterrupt):
            pack(ImageFolder(folder), out, PackSettings(**settings), max_bad_share=0.1)
    os.truncate(out + '.rec.part', length)


@pytest.mark.parametrize('share', [0, 0.001, 0.5, 0.77, 1])
def test_truncated_file_is_completed(folder, tmp_path, share):
    whole = made(tmp_path, 'whole', folder, '--shuffle', '5')
    stop_at(folder, str(tmp_path / 'out'), int(len(whole[0]) * share), shuffle=5)
    assert made(tmp_path, 'out', folder, '--shuffle', '5') == whole


def test_changed_settings_or_images_start_over(folder, tmp_path, capsys):
    out = str(tmp_path / 'out')
    stop_at(folder, out, 9999)
    again = made(tmp_path, 'out', folder, '--quality', '50')
    assert again == made(tmp_path, 'fifty', folder, '--quality', '50')
    stop_at(folder, str(tmp_path / 'two'), 9999)
    with open(os.path.join(folder, 'b', 'new.jpg'), 'wb') as handle:
        handle.write(image_bytes(1))
    assert made(tmp_path, 'two', folder) == made(tmp_path, 'whole', folder)
    stop_at(folder, str(tmp_path / 'three'), 20000)
    with open(os.path.join(folder, 'a', '07.jpg'), 'wb') as handle:  # repaired in between
        handle.write(image_bytes(7))
    assert made(tmp_path, 'three', folder) == made(tmp_path, 'mended', folder)
    assert 'resuming' not in capsys.readouterr().err


def test_changed_labels_start_over(folder, tmp_path, capsys):
    """In a list, the image names do not contain the classes."""
    names, out = [f'a/{index:02d}.jpg' for index in range(12)], str(tmp_path / 'out')

    def images(labels, class_names):
        return ImageFiles(folder, np.array([name.encode() for name in names]),
                          np.array(labels, np.int32), class_names)

    def interrupted(files):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, 'rename', interrupt)
            with pytest.raises(KeyboardInterrupt):
                pack(files, out, max_bad_share=0.1)

    interrupted(images([0] * 12, ('cat', 'dog')))
    interrupted(images([0] * 6 + [1] * 6, ('cat', 'dog')))
    pack(images([0] * 6 + [1] * 6, ('dog', 'cat')), out, max_bad_share=0.1)
    assert 'resuming' not in capsys.readouterr().err
    records = RecordFile(out + '.rec')
    assert [records.read(index)[1] for index in range(len(records))] == [0] * 6 + [1] * 5  # one is damaged
    assert records.class_names == ('dog', 'cat')


def test_finished_file_is_not_overwritten(folder, tmp_path):
    first = made(tmp_path, 'out', folder)
    with pytest.raises(DataError, match='out.rec '):
        main([folder, str(tmp_path / 'out')])
    (tmp_path / 'out.rec.part.json').write_text('')  # the last file that a run removes
    assert main([folder, str(tmp_path / 'out')]) == 0 and packed(str(tmp_path / 'out')) == first


def test_two_runs_cannot_write_the_same_file(folder, tmp_path):
    import fcntl
    with open(str(tmp_path / 'out.rec.part'), 'ab') as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(DataError, match='out.rec.part'):
            pack(ImageFolder(folder), str(tmp_path / 'out'))


def test_unwritable_destination_is_an_error(folder, tmp_path):
    with pytest.raises(DataError, match='none/out.rec'):
        pack(ImageFolder(folder), str(tmp_path / 'none' / 'out'))


@pytest.mark.parametrize('flags, problem', [
    (['x'], 'folder'),
    (['x', 'y', '--quality', '101'], '100'),
    (['x', 'y', '-j', 'many'], "'many'"),
    (['images.tar', 'y'], 'images.tar'), (['images.zip', 'y', '--root', 'z'], 'images.zip'),
    (['--check', 'x.rec', '--quality', '5'], '--quality'), (['--check', 'x.rec', '--root', 'y'], '--root'),
])
def test_wrong_command_line_is_refused(flags, problem, capsys):
    assert problem in command_error(capsys, 'pack', 2, *flags)


# --------------------------------------------------------------------------------- checking

def test_intact_file_passes_the_check(folder, tmp_path, capsys):
    made(tmp_path, 'out', folder)
    capsys.readouterr()
    assert main(['--check', str(tmp_path / 'out.rec')]) == 0
    assert re.search(r'out\.rec: 58 .*\b3 .*\b3 .*\b0 bad', capsys.readouterr().out)


def test_damaged_records_are_named(folder, tmp_path, capsys):
    made(tmp_path, 'out', folder)
    rec = str(tmp_path / 'out.rec')
    bounds = RecordFile(rec).bounds
    with open(rec, 'r+b') as handle:
        handle.seek(bounds[5] + 40)  # within the JPEG's head
        handle.write(bytes(200))
        handle.seek(bounds[9])       # the magic number
        handle.write(b'none')
        handle.seek(bounds[20] + 12)  # the label
        handle.write(b'\0\0\xa0\x41')
    (tmp_path / 'out.crc32').unlink()  # finds all damage, see test_checksums
    capsys.readouterr()
    assert check_records(rec, workers=2) == (58, 3, 3, 3)
    output = capsys.readouterr().out
    assert all(named in output for named in ('record 5: ', 'record 9: ', 'record 20 ', 'label 20'))
    os.unlink(str(tmp_path / 'out.idx'))
    with pytest.raises(DataError, match=f'byte {bounds[9]}'):
        check_records(rec)


def test_photographs_are_packed(shared_data, tmp_path):
    pack(ImageFolder(str(shared_data / 'imagenet_sample')), str(tmp_path / 'out'), workers=2)
    checked = check_records(str(tmp_path / 'out.rec'), workers=2)
    assert checked.records == 200 and checked.bad == 0
