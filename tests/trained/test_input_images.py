"""Labelled images are matched with a network's classes."""
import os

import pytest

from openatac.errors import DataError
from openatac.trained import input_images
from tests.helpers.exports.small_export import MANIFEST
from tests.helpers.images.made_up_images import encoded, plain


def test_folder_whose_class_names_differ_in_case_is_refused(tmp_path):
    for name in ('Cat', 'dog'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'x.png').write_bytes(encoded(plain(9), 'PNG'))
    manifest = MANIFEST._replace(classes=2, labels=['cat', 'dog'])
    with pytest.raises(DataError, match="'Cat'.*'cat'"):
        input_images.from_class_folders(str(tmp_path), manifest)


def test_folders_match_an_export_in_text_order_by_name(tmp_path, caplog):
    for name in ('1', '2', '10'):
        (tmp_path / name).mkdir()
        for index in range(4):
            (tmp_path / name / f'{index}.jpg').write_bytes(encoded(plain(9)))
    manifest = MANIFEST._replace(labels=['1', '10', '2'])
    images = input_images.from_class_folders(str(tmp_path), manifest)
    assert [images.read(index)[1] for index in range(len(images))] == [0] * 4 + [2] * 4 + [1] * 4
    assert any('1, 10, 2' in message for message in caplog.messages)


@pytest.mark.parametrize('folders', [('n01', 'n03'), ('zebra', 'axolotl')])
def test_images_match_by_the_networks_own_names_or_by_other_ones(tmp_path, folders):
    """The other names, of --labels, are in another order; folders need not have all classes."""
    manifest = MANIFEST._replace(classes=3, labels=['n01', 'n02', 'n03'])
    names = ['zebra', 'cat', 'axolotl']
    lines = []
    for folder in folders:
        (tmp_path / 'images' / folder).mkdir(parents=True)
        (tmp_path / 'images' / folder / 'x.png').write_bytes(encoded(plain(9), 'PNG'))
        lines.append(f'{folder}/x.png,{folder}')
    (tmp_path / 'list.csv').write_text('\n'.join(lines))
    root = str(tmp_path / 'images')
    for images in (input_images.from_class_folders(root, manifest, names),
                   input_images.from_list(root, str(tmp_path / 'list.csv'), manifest, None, names)):
        classes = {images.name(index).split(os.sep)[-2]: images.read(index)[1] for index in range(2)}
        assert classes == {folders[0]: 0, folders[1]: 2}
