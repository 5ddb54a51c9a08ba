"""Image folders and lists in common layouts give the same images, labels and classes."""
import logging
import re

import numpy as np
import pytest
import scipy.io

import train_imagenet
from openatac.commands import pack
from openatac.data.images.class_names import read_class_list
from openatac.data.images.folder import ImageFolder
from openatac.data.images.listed import ImageList
from openatac.data.images.subset import ImageSubset
from openatac.data.records.record_file import RecordFile
from openatac.errors import DataError
from tests.helpers.images.made_up_images import encoded, plain
from tests.helpers.processes.commands import command_error
from tests.helpers.processes.scripts import run_in_process, script_error


def write_images(root, *names):
    for index, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        form = {'jpg': 'JPEG', 'JPEG': 'JPEG'}.get(name.rpartition('.')[2], name.rpartition('.')[2].upper())
        path.write_bytes(encoded(plain(20 * index % 256), form))


def content(images):
    return {images.name(index): images.read(index)[1] for index in range(len(images))}


# ---------------------------------------------------------------------------------- folders

def test_all_image_formats_of_predict_are_recognised(tmp_path, caplog):
    write_images(tmp_path, *(f'a/x.{ending}' for ending in ('jpg', 'png', 'bmp', 'webp', 'gif', 'tiff')))
    for name in ('a/notes.txt', 'a/.DS_Store', 'a/.hidden.png', '.DS_Store'):
        (tmp_path / name).write_text('no image')
    with caplog.at_level('INFO', 'openatac'):
        assert len(ImageFolder(str(tmp_path))) == 6
    assert 'skipped 1 ' in caplog.text


def test_images_may_lie_one_folder_deeper(tmp_path):
    write_images(tmp_path, 'n01/images/x.jpg', 'n01/images/y.jpg', 'n02/images/z.jpg', 'n02/w.png')
    assert content(ImageFolder(str(tmp_path))) == {
        'n01/images/x.jpg': 0, 'n01/images/y.jpg': 0, 'n02/images/z.jpg': 1, 'n02/w.png': 1}


def test_class_without_images_is_named(tmp_path):
    write_images(tmp_path, 'cat/x.jpg')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DataError, match="'empty'"):
        ImageFolder(str(tmp_path))


def test_numbered_classes_are_sorted_numerically(tmp_path):
    write_images(tmp_path, *(f'{number}/x.jpg' for number in (10, 9, 2, 0)))
    assert ImageFolder(str(tmp_path)).class_names == ('0', '2', '9', '10')


def test_class_list_decides_the_order(tmp_path):
    write_images(tmp_path / 'images', 'dog/x.jpg', 'cat/x.jpg')
    path = tmp_path / 'classes.txt'
    path.write_bytes('\ufeffdog  \r\ncat\r\n\r\n'.encode())
    names = read_class_list(str(path))
    assert names == ('dog', 'cat')
    images = ImageFolder(str(tmp_path / 'images'), class_names=names)
    assert content(images) == {'dog/x.jpg': 0, 'cat/x.jpg': 1}
    for wrong in (['dog'], ['dog', 'cat', 'bird']):
        with pytest.raises(DataError, match=repr(min({*wrong} ^ {'dog', 'cat'}))):
            ImageFolder(str(tmp_path / 'images'), class_names=wrong)
    path.write_text('dog\ndog\n')
    with pytest.raises(DataError, match="'dog'"):
        read_class_list(str(path))


# ------------------------------------------------------------------------------------ lists

FLAT = 'a.jpg', 'b.jpg', 'c.jpg'


@pytest.mark.parametrize('name, text', [
    ('val_annotations.txt', 'a.jpg\tn2\t0\t0\t9\t9\nb.jpg\tn1\t0\t0\t9\t9\nc.jpg\tn2\t0\t0\t9\t9\n'),
    ('val.txt', 'a.jpg 1\nb.jpg 0\nc.jpg 1\n'),
    ('val.csv', 'file,label\na.jpg,n2\nb.jpg,n1\nc.jpg,n2\n'),
    ('LOC_val_solution.csv', 'ImageId,PredictionString\na,n2 1 2 3 4 \nb,n1 1 2 3 4 \nc,n2 5 6 7 8 n2 1\n'),
    ('val.lst', '7\t1.000000\ta.jpg\n3\t0.000000\tb.jpg\n9\t1.000000\tc.jpg\n'),
    ('windows.txt', '\ufeffa.jpg n2  \r\nb.jpg n1\r\n\r\nc.jpg n2\r\n'),
])
@pytest.mark.parametrize('folder', ['', 'images/'])
def test_list_gives_a_flat_folder_its_labels(tmp_path, name, text, folder):
    write_images(tmp_path, *(folder + file for file in FLAT))
    (tmp_path / name).write_bytes(text.encode())
    images = ImageList(str(tmp_path), str(tmp_path / name), class_names=('n1', 'n2'))
    assert content(images) == {folder + 'a.jpg': 1, folder + 'b.jpg': 0, folder + 'c.jpg': 1}


@pytest.mark.parametrize('name, text', [
    ('val.csv', 'file,label\na.jpg,sea lion\nb.jpg,sea horse\n'),
    ('val.csv', 'a.jpg,sea lion\nb.jpg,sea horse\n'),
    ('val.txt', 'a.jpg\tsea lion\nb.jpg\tsea horse\n')])
def test_class_name_may_contain_blanks(tmp_path, name, text):
    write_images(tmp_path, *FLAT)
    (tmp_path / name).write_text(text)
    images = ImageList(str(tmp_path), str(tmp_path / name))
    assert images.class_names == ('sea horse', 'sea lion') and content(images) == {'a.jpg': 1, 'b.jpg': 0}


def test_images_that_are_not_in_the_list_are_counted(tmp_path, caplog):
    write_images(tmp_path, *FLAT)
    (tmp_path / 'list.txt').write_text('a.jpg n1\nb.jpg n2\n')
    with caplog.at_level(logging.INFO):
        images = ImageList(str(tmp_path), str(tmp_path / 'list.txt'))
    assert len(images) == 2 and f'skipped {len(FLAT) - 2} ' in caplog.text


def test_flat_folder_without_a_list_names_the_flag(tmp_path):
    write_images(tmp_path, *FLAT)
    with pytest.raises(DataError, match='--val-labels'):
        ImageFolder(str(tmp_path))


@pytest.mark.parametrize('text, named', [
    ('a.jpg N1\n', "'N1'.*'n1'"), ('a.jpg n3\n', "'n3'"), ('a.jpg 2\n', "'2'"), ('a.jpg\n', "'a.jpg'"),
    ('', 'list.txt'),
    ('a.jpg\t \tn1\n', "'a.jpg"), ('elsewhere.jpg n1\n', 'elsewhere.jpg'), ('a.jpg -1\n', "'-1'"),
])
def test_wrong_list_is_refused(tmp_path, text, named):
    write_images(tmp_path, *FLAT)
    (tmp_path / 'list.txt').write_text(text)
    with pytest.raises(DataError, match=named):
        ImageList(str(tmp_path), str(tmp_path / 'list.txt'), class_names=('n1', 'n2'))


def test_csv_list_with_an_oversized_field_is_refused(tmp_path):
    write_images(tmp_path, *FLAT)
    (tmp_path / 'list.csv').write_text(f'a.jpg,"{"n" * 200000}"\n')
    with pytest.raises(DataError, match='list.csv'):
        ImageList(str(tmp_path), str(tmp_path / 'list.csv'))


# -------------------------------------- a number for each image, as ILSVRC publishes labels

def write_devkit(path, synsets):
    """Write a meta.mat with the leaves {number: synset} followed by an inner node, as published."""
    rows = [(number, synset, 0) for number, synset in synsets.items()] + [(len(synsets) + 1, 'n00', 2)]
    kinds = [('ILSVRC2012_ID', 'O'), ('WNID', 'O'), ('num_children', 'O')]
    scipy.io.savemat(path, {'synsets': np.array(rows, dtype=kinds)})


@pytest.mark.parametrize('numbers, numbered', [
    ('2\n1\n2\n', ('n1', 'n2')), ('1\r\n0\r\n1\r\n', ('n1', 'n2')), ('1\n2\n1\n', ('n2', 'n1'))])
@pytest.mark.parametrize('folder', ['', 'images/'])
def test_label_numbers_follow_the_sorted_files(tmp_path, numbers, numbered, folder):
    write_images(tmp_path / 'val', *(folder + file for file in FLAT))
    (tmp_path / 'truth.txt').write_text(numbers)
    images = ImageList(str(tmp_path / 'val'), str(tmp_path / 'truth.txt'), class_names=('n1', 'n2'),
                       numbered=numbered)
    assert content(images) == {folder + 'a.jpg': 1, folder + 'b.jpg': 0, folder + 'c.jpg': 1}


def test_devkit_maps_label_numbers_to_classes(tmp_path):
    write_images(tmp_path / 'val', *FLAT)
    (tmp_path / 'truth.txt').write_text('1\n3\n2\n')
    write_devkit(tmp_path / 'meta.mat', {1: 'n2', 2: 'n3', 3: 'n1'})
    images = ImageList(str(tmp_path / 'val'), str(tmp_path / 'truth.txt'), class_names=('n1', 'n2', 'n3'))
    assert content(images) == {'a.jpg': 1, 'b.jpg': 0, 'c.jpg': 2}
    (tmp_path / 'meta.mat').write_bytes(b'no such file')
    with pytest.raises(DataError, match='meta.mat'):
        ImageList(str(tmp_path / 'val'), str(tmp_path / 'truth.txt'), class_names=('n1', 'n2', 'n3'))


@pytest.mark.parametrize('numbers, numbered, named', [
    ('1\n2\n1\n', None, 'meta.mat.*--class-list'), ('1\n2\n', ('n1', 'n2'), '2 numbers.* 3 images'),
    ('1\n2\n3\n', ('n1', 'n2'), 'number 3.* 2 classes'), ('0\n1\n2\n', ('n1', 'n2'), 'number 2'),
])
def test_missing_companion_of_label_numbers_is_named(tmp_path, numbers, numbered, named):
    write_images(tmp_path / 'val', *FLAT)
    (tmp_path / 'truth.txt').write_text(numbers)
    with pytest.raises(DataError, match=named):
        ImageList(str(tmp_path / 'val'), str(tmp_path / 'truth.txt'), class_names=('n1', 'n2'),
                  numbered=numbered)


def test_list_is_packed(tmp_path, capsys):
    write_images(tmp_path / 'flat', *FLAT)
    (tmp_path / 'x.lst').write_text('0\t4\ta.jpg\n1\t0\tb.jpg\n2\t4\tc.jpg\n')
    assert pack.main([str(tmp_path / 'x.lst'), str(tmp_path / 'x'), '--root', str(tmp_path / 'flat')]) == 0
    records = RecordFile(str(tmp_path / 'x.rec'))
    assert [records.read(index)[1] for index in range(3)] == [4, 0, 4] and records.class_names == ()
    assert 'classes' not in capsys.readouterr().out  # a list contains no class names


@pytest.mark.parametrize('name, text, named', [
    ('x.lst', '0\t-1\ta.jpg\n', "'-1'"), ('x.lst', '0\t1\t2\ta.jpg\n', 'a.jpg'),
    ('x.csv', 'a.jpg,n1\na.jpg,n2\n', "a.jpg.*'n1'.*'n2'"), ('x.csv', 'gone.jpg,n1\n', 'gone.jpg')])
def test_unusable_list_is_refused_by_pack(tmp_path, capsys, name, text, named):
    write_images(tmp_path / 'flat', *FLAT)
    (tmp_path / name).write_text(text)
    error = command_error(capsys, 'pack', 1, str(tmp_path / name), str(tmp_path / 'x'), '--root',
                          str(tmp_path / 'flat'))
    assert re.search(named, error) and not (tmp_path / 'x.rec').exists()


def test_list_to_pack_needs_the_folder_of_its_images(tmp_path, capsys):
    (tmp_path / 'x.lst').write_text('0\t0\ta.jpg\n')
    assert '--root' in command_error(capsys, 'pack', 2, str(tmp_path / 'x.lst'), str(tmp_path / 'x'))


def test_missing_files_are_reported_before_the_number_of_classes(tmp_path):
    write_images(tmp_path, *FLAT)
    (tmp_path / 'x.csv').write_text('gone.jpg,n1\n')
    with pytest.raises(DataError, match='gone.jpg'):
        ImageList(str(tmp_path), str(tmp_path / 'x.csv'), classes=1000)


# ----------------------------------- numbered classes that another file lists in text order

NUMBERS = '1', '2', '10'


@pytest.fixture
def numbers(tmp_path):
    for split in ('train', 'val'):
        write_images(tmp_path / split, *(f'{name}/{k}.jpg' for name in NUMBERS for k in range(4)))
    return tmp_path


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == 'WARNING']


def test_class_list_in_text_order_gives_a_warning(numbers, caplog):
    path = numbers / 'classes.txt'
    path.write_text('1\n2\n10\n')
    assert read_class_list(str(path)) == NUMBERS and not warnings_of(caplog)
    path.write_text('1\n10\n2\n')
    images = ImageFolder(str(numbers / 'val'), class_names=read_class_list(str(path)))
    assert images.class_names == ('1', '10', '2')
    warning, = warnings_of(caplog)
    assert str(path) in warning and '1, 10, 2' in warning and '1, 2, 10' in warning


@pytest.mark.usefixtures('small_network')
def test_record_file_in_text_order_gives_a_warning(numbers, caplog):
    (numbers / 'classes.txt').write_text('1\n10\n2\n')
    assert pack.main([str(numbers / 'val'), str(numbers / 'x'),
                      '--class-list', str(numbers / 'classes.txt')]) == 0
    caplog.clear()
    rec = numbers / 'x.rec'
    flags = '--use-rec', '--rec-train', rec, '--rec-val', rec, '--save-dir', numbers / 'run'
    assert run_in_process(*flags, '--logging-file', numbers / 'log', *TINY, script=train_imagenet) == 0
    assert any(str(rec) in warning and '1, 10, 2' in warning for warning in warnings_of(caplog))


@pytest.mark.usefixtures('small_network')
def test_numbered_folders_give_a_warning_about_their_order(numbers, caplog):
    flags = '--data-dir', numbers, '--save-dir', numbers / 'run', '--logging-file', numbers / 'log', *TINY
    assert run_in_process(*flags, script=train_imagenet) == 0
    warning, = (warning for warning in warnings_of(caplog) if '--class-list' in warning)
    assert '1, 2, 10' in warning and '1, 10, 2' in warning


# --------------------------------------------------------------------------- whole commands

TINY = '--num-epochs', 1, '--batch-size', 4, '--input-size', 32, '-j', 0, '--dry-run', 1


@pytest.mark.usefixtures('small_network')
def test_tiny_imagenet_is_read_as_unpacked(tmp_path):
    """Find the number of classes, the folders below the classes and the flat validation images."""
    write_images(tmp_path / 'train', *(f'n{c}/images/n{c}_{k}.JPEG' for c in range(3) for k in range(4)))
    write_images(tmp_path / 'val' / 'images', *(f'val_{k}.JPEG' for k in range(4)))
    (tmp_path / 'val' / 'val_annotations.txt').write_text(
        ''.join(f'val_{k}.JPEG\tn{k % 3}\t0\t0\t9\t9\n' for k in range(4)))
    for name in ('n0', 'n1', 'n2'):
        (tmp_path / 'train' / name / f'{name}_boxes.txt').write_text('')
    flags = '--data-dir', tmp_path, '--save-dir', tmp_path / 'run', '--logging-file', tmp_path / 'log', *TINY
    assert run_in_process(*flags, script=train_imagenet) == 0
    assert re.search('12 training .*4 validation', (tmp_path / 'log').read_text())
    assert pack.main([str(tmp_path / 'val'), str(tmp_path / 'packed')]) == 0
    records = RecordFile(str(tmp_path / 'packed.rec'))
    assert records.class_names == ('n0', 'n1', 'n2')
    assert [records.read(index)[1] for index in range(4)] == [0, 1, 2, 0]


@pytest.mark.usefixtures('small_network')
def test_ilsvrc_is_read_as_unpacked(tmp_path, capsys):
    """Read class folders for training, and a flat folder with the devkit's numbers for validation."""
    synsets = {1: 'n03', 2: 'n01', 3: 'n02'}
    for name in synsets.values():
        write_images(tmp_path / 'train', *(f'{name}/{name}_{k}.JPEG' for k in range(4)))
    write_images(tmp_path / 'val', *(f'ILSVRC2012_val_0000000{k}.JPEG' for k in range(1, 5)))
    truth = tmp_path / 'ILSVRC2012_validation_ground_truth.txt'
    truth.write_text('2\n3\n1\n2\n')
    flags = ('--data-dir', tmp_path, '--val-labels', truth, '--save-dir', tmp_path / 'run',
             '--logging-file', tmp_path / 'log', *TINY)
    assert 'meta.mat' in script_error(capsys, 1, *flags, script=train_imagenet)
    write_devkit(tmp_path / 'meta.mat', synsets)
    assert run_in_process(*flags, script=train_imagenet) == 0
    assert re.search('12 training .*4 validation', (tmp_path / 'log').read_text())


def test_subset_of_an_archive_keeps_its_reading_order():
    class Source:
        reading_order = 3, 0, 2, 1

    assert ImageSubset(Source, np.array([0, 1, 3])).reading_order == [2, 0, 1]
    assert ImageSubset(Source, np.array([2, 3])).reading_order == [1, 0]
