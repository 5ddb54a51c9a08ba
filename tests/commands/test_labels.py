"""Names for a network's classes, from --labels."""
import pytest

from openatac.commands.shared.labels_flag import class_names_from_flag
from tests.helpers.networks.trained_network import describe

IDS = ['n01', 'n02', 'n03', 'n04', 'n05']
SYNSETS = [f'n0000000{number}' for number in range(1, 6)]


def read(labels, known):
    return class_names_from_flag(labels, describe(labels=known))


@pytest.mark.parametrize('known', [[], IDS])
def test_names_are_given_in_the_order_of_the_classes(known, tmp_path):
    path = tmp_path / 'labels.txt'
    path.write_text('tench\nrobin\ntench\nfox\nowl\n')  # a name may repeat, as ImageNet's crane does
    assert read('a, b,c,d,e', known) == [*'abcde']
    assert read(str(path), known) == ['tench', 'robin', 'tench', 'fox', 'owl']


def test_ids_in_the_file_give_the_order(tmp_path):
    path = tmp_path / 'labels.txt'
    path.write_text('n99999999 none\n' + ''.join(f'{each} name{each[-1]}, other\n' for each in SYNSETS[::-1]))
    assert read(str(path), SYNSETS) == ['name1', 'name2', 'name3', 'name4', 'name5']


def test_id_that_the_file_lacks_is_named(tmp_path):
    path = tmp_path / 'labels.txt'
    path.write_text(''.join(f'{each} name\n' for each in [*SYNSETS[4:0:-1], 'n99999999']))
    with pytest.raises(ValueError, match=SYNSETS[0]):
        read(str(path), SYNSETS)


@pytest.mark.parametrize('labels, named', [
    ('e,d,c,b,a', 'e, ... instead of a, ...'), ('missing.txt', 'missing.txt'), ('a,b', '2 names'),
    ('.', '--labels'),
])
def test_wrong_labels_are_refused(labels, named, isolated_cwd):
    with pytest.raises(ValueError, match='--labels') as error:
        read(labels, [*'abcde'])
    assert named in str(error.value)
