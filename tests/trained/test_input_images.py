"""Labelled images are matched with a network's classes."""
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
