"""Image folders with names that are not UTF-8, and with circular links."""
import json
import os
import shutil

import pytest

from openatac.commands import pack, predict
from openatac.data.images.folder import ImageFolder, class_folders
from openatac.data.records.record_file import RecordFile
from openatac.errors import DataError
from openatac.trained import input_images
from openatac.trained.manifest import read_manifest, write_manifest
from tests.helpers.exports.small_export import MANIFEST

LATIN1 = os.fsdecode('caf\xe9'.encode('latin-1'))  # 'caf' and a byte that is not UTF-8


@pytest.fixture
def folder(class_folders, tmp_path):
    """A folder with the classes LATIN1 and class0, with six photographs each."""
    folder = tmp_path / 'photos'
    shutil.copytree(os.path.join(class_folders, 'class0'), folder / 'class0')
    shutil.copytree(os.path.join(class_folders, 'class1'), folder / LATIN1)
    return str(folder)


def test_class_with_a_latin1_name_is_packed_and_read_back(folder, tmp_path):
    out = str(tmp_path / 'out')
    assert pack.main([folder, out, '-j', '1']) == 0
    assert RecordFile(out + '.rec').class_names == ImageFolder(folder).class_names == (LATIN1, 'class0')
    assert pack.main(['--check', out + '.rec', '-j', '1']) == 0


def test_name_that_a_list_cannot_hold_is_refused_before_packing(folder, tmp_path):
    for name in ('line\nbreak', 'carriage\rreturn'):
        os.mkdir(os.path.join(folder, name))
        with pytest.raises(DataError):
            pack.main([folder, str(tmp_path / 'out')])
        os.rmdir(os.path.join(folder, name))
        assert not [name for name in os.listdir(tmp_path) if name.startswith('out')]


@pytest.mark.parametrize('name', ['next\x85line', 'line\u2028separator', 'form\x0cfeed'])
def test_other_separators_are_part_of_a_name(folder, tmp_path, name):
    os.rename(os.path.join(folder, 'class0'), os.path.join(folder, name))
    out = str(tmp_path / 'out')
    assert pack.main([folder, out, '-j', '1']) == 0
    assert set(RecordFile(out + '.rec').class_names) == {LATIN1, name}


def test_export_with_latin1_labels_predicts(folder, prefix, capsys):
    description = MANIFEST._replace(labels=[LATIN1, 'class0', 'x'])
    write_manifest(prefix + '.json', description)
    assert read_manifest(prefix).labels == description.labels
    assert len(input_images.from_class_folders(folder, description)) == 12
    image = os.path.join(folder, LATIN1, '000.jpg')
    for flags in ([], ['--json']):
        assert predict.main([prefix, image, '--top', '3', *flags]) == 0
        output = capsys.readouterr().out
        output.encode('utf-8')  # the terminal can show everything
        assert flags or 'caf\\xe9' in output
    assert 'caf\\xe9' in {each['label'] for each in json.loads(output)['predictions']}


def test_circular_links_are_named_and_skipped(folder, tmp_path, caplog):
    wanted = ImageFolder(folder).class_names
    os.symlink('loop', os.path.join(folder, 'loop'))
    os.symlink('.', os.path.join(folder, 'here'))
    os.symlink('..', os.path.join(folder, 'above'))
    os.symlink('circle.jpg', os.path.join(folder, 'class0', 'circle.jpg'))
    assert ImageFolder(folder).class_names == wanted
    assert class_folders(folder) == wanted
    for name in ('loop', 'here', 'above'):
        assert caplog.text.count(os.path.join(folder, name)) == 1
    assert pack.main([folder, str(tmp_path / 'out'), '-j', '1']) == 0
    assert 'circle.jpg' in caplog.text and len(RecordFile(str(tmp_path / 'out.rec'))) == 12


def test_class_folder_may_be_a_link(folder, class_folders):
    os.symlink(os.path.join(class_folders, 'class1'), os.path.join(folder, 'linked'))
    assert 'linked' in ImageFolder(folder).class_names
