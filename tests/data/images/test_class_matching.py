"""The classes of images are matched with a network's by name."""
import logging
import os
import re

import pytest

import train_imagenet
from openatac import cli
from openatac.data.images.class_names import match_classes
from openatac.data.records.record_file import RecordFile
from openatac.errors import DataError
from tests.helpers.images.made_up_images import write_data_dir, write_photos
from tests.helpers.processes.scripts import run_in_process, script_error

# ---------------------------------------------------------------------------------- the rules


@pytest.mark.parametrize('found, known, expected', [
    (['a', 'b'], ['a', 'b'], [0, 1]), (['b', 'a'], ['a', 'b'], [1, 0]), (['c'], ['a', 'b', 'c'], [2]),
])
def test_known_names_are_matched_by_name(found, known, expected, caplog):
    assert match_classes(found, known, 'data', 'the network') == expected
    assert not caplog.records


def test_entirely_different_names_are_matched_in_order_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING, 'openatac'):
        assert match_classes(['n1', 'n2'], ['tench', 'robin'], 'data', 'the network') == [0, 1]
    assert all(name in caplog.text for name in ('n1', 'n2', 'tench', 'robin'))


@pytest.mark.parametrize('found, named', [
    (['a', 'B'], ['B', 'b']), (['a', 'x', 'c'], ['x']), (['x', 'y'], ['2', '3', 'x', 'a']),
])
def test_partly_known_names_are_refused(found, named):
    with pytest.raises(DataError) as error:
        match_classes(found, ['a', 'b', 'c'], 'data', 'the network')
    assert all(repr(name) in str(error.value) or name in str(error.value) for name in named)


# ------------------------------------------------------------------------------- the commands

@pytest.fixture
def run(isolated_cwd, shallow_resnet):
    """Train on three classes; return the folder of the images."""
    data = write_data_dir('data', classes=3)
    for split in ('train', 'val'):
        for number, name in enumerate(('cat', 'deer', 'dog')):
            os.rename(f'data/{split}/class{number}', f'data/{split}/{name}')
    assert run_in_process('--data-dir', data, '--input-size', 32, '--batch-size', 4, '-j', 0,
                          '--num-epochs', 1, '--save-dir', 'run', '--logging-file', 'log',
                          '--export', 'run/net', script=train_imagenet) == 0
    return data


EVALUATIONS = [['evaluate-imagenet', 'run', '-j', '0', '--data-dir', 'data'],
               ['evaluate', 'run/net', 'data/val']]


def loss_of(text):
    return float(re.search(r'loss=([\d.]+)', text)[1])


@pytest.mark.parametrize('words', EVALUATIONS)
@pytest.mark.parametrize('old, new', [('dog', 'ant'), ('dog', 'Dog')])
def test_evaluation_refuses_a_renamed_class(run, words, old, new, capsys):
    os.rename(f'data/val/{old}', f'data/val/{new}')
    assert cli.main(words) == 1
    assert new in capsys.readouterr().err


def test_evaluation_matches_the_classes_of_record_files(run, capsys):
    assert cli.main(EVALUATIONS[0]) == 0
    expected = pytest.approx(loss_of(capsys.readouterr().err), rel=1e-4)
    with open('order', 'w', encoding='utf-8') as file:
        file.write('dog\ncat\ndeer\n')
    assert cli.main(['pack', 'data/val', 'val', '--class-list', 'order']) == 0
    assert [*RecordFile('val.rec').labels] != [*RecordFile('val.rec', names=('cat', 'deer', 'dog')).labels]
    capsys.readouterr()
    assert cli.main(['evaluate-imagenet', 'run', '-j', '0', '--use-rec', '--rec-val', 'val.rec']) == 0
    assert loss_of(capsys.readouterr().err) == expected
    assert cli.main(['evaluate', 'run/net', 'val.rec']) == 0
    assert loss_of(capsys.readouterr().out) == expected


def test_numbers_in_a_list_get_classes_in_their_own_order(run, capsys):
    os.makedirs('flat/val')
    for number, name in enumerate(('dog', 'cat', 'deer')):  # not the order of the network
        for file in os.listdir(f'data/val/{name}'):
            os.rename(f'data/val/{name}/{file}', f'flat/val/{number}-{file}')
    images = sorted(os.listdir('flat/val'))
    with open('truth.txt', 'w', encoding='utf-8') as file:
        file.writelines(f'{int(name[0]) + 1}\n' for name in images)
    with open('order', 'w', encoding='utf-8') as file:
        file.write('dog\ncat\ndeer\n')
    assert cli.main(['evaluate-imagenet', 'run', '-j', '0', '--data-dir', 'flat', '--val-labels', 'truth.txt',
                     '--class-list', 'order', '--predictions', 'predictions.csv']) == 0
    with open('predictions.csv', encoding='utf-8') as file:
        rows = [line.split(',') for line in file.read().splitlines()[1:]]
    found = {(os.path.basename(row[0])[0], row[1]) for row in rows}
    assert found == {('0', 'dog'), ('1', 'cat'), ('2', 'deer')}


def test_missing_split_names_the_layout(isolated_cwd, capsys):
    os.makedirs('junk')
    error = script_error(capsys, 1, '--data-dir', 'junk', '--input-size', 32, '-j', 0, script=train_imagenet)
    assert all(word in error for word in ('junk', 'train/', 'val/', '--use-rec'))


def test_list_in_utf16_is_refused(isolated_cwd):
    from openatac.data.images.class_names import read_class_list
    with open('list', 'w', encoding='utf-16') as file:
        file.write('a\nb\n')
    with pytest.raises(DataError, match='UTF-8'):
        read_class_list('list')


def test_label_out_of_range_is_named(isolated_cwd, capsys):
    from openatac.data.images.listed import ImageList
    write_photos('photos', classes=1, images=3)
    with open('list.csv', 'w', encoding='utf-8') as file:
        file.writelines(f'class0/{name},{label}\n' for name, label in zip(
            sorted(os.listdir('photos/class0')), (0, 2, 7)))
    with pytest.raises(DataError, match="'7'"):
        ImageList('photos', 'list.csv', class_names=('a', 'b', 'c'))
