"""train_cifar.py on your own images: train/CLASS/* and test/CLASS/*, or an archive of them."""
import json
import os
import shutil
import tarfile

import pytest
from mxnet.gluon import nn

import openatac
from openatac.cli import main as openatac_command
from openatac.data.small.class_folders import load_class_folders
from openatac.errors import DataError
from openatac.study.costs.gluon_costs import costs
from tests.helpers.images.class_folders import CLASSES, write_archive_of, write_class_folders
from tests.helpers.processes.commands import rows_of
from tests.helpers.processes.scripts import json_of, metrics_of, run_in_process, script_error

QUICK = ('--dataset', 'folder', '--blocks', 1, '--batch-size', 4, '--num-epochs', 1, '--lr-decay-epoch', '')


@pytest.fixture
def folders(tmp_path):
    return write_class_folders(tmp_path / 'photos')


def run(folder, *flags):
    assert run_in_process(*QUICK, *flags, '--save-dir', folder) == 0
    return json_of(folder, 'summary.json')


@pytest.fixture(scope='module')
def photo_run(tmp_path_factory):
    """(folder of images, folder of a run on them)."""
    folder = tmp_path_factory.mktemp('photo_run')
    photos = write_class_folders(folder / 'photos')
    run(folder / 'run', '--data-dir', photos, '--image-size', 24)
    return photos, folder / 'run'


# --------------------------------------------------------------------------------- training

def test_run_records_its_classes_and_image_size(tmp_path, folders):
    summary = run(tmp_path / 'run', '--data-dir', folders, '--image-size', 40)
    assert (summary['dataset'], summary['training_images'], summary['test_images']) == ('folder', 12, 6)
    settings = json_of(tmp_path / 'run', 'settings.json')
    assert (settings['class_names'], settings['image_size']) == ([*CLASSES], 40)


@pytest.mark.parametrize('ending', ['.zip', '.tar', '.tar.gz', '.tgz'])
def test_archive_and_folder_give_the_same_run(tmp_path, folders, photo_run, ending):
    archive = write_archive_of(folders, ending)
    run(tmp_path / 'run', '--data-dir', archive, '--image-size', 24)
    (folder,), (archived,) = metrics_of(photo_run[1]), metrics_of(tmp_path / 'run')
    assert folder['train_loss'] == archived['train_loss'] and folder['val_loss'] == archived['val_loss']
    assert sorted(os.listdir(tmp_path)) == sorted(['photos', archive.name, 'run'])


def test_val_is_used_where_test_is_missing(tmp_path):
    photos = write_class_folders(tmp_path / 'photos', held_out='val')
    assert run(tmp_path / 'run', '--data-dir', photos)['test_images'] == 6


def test_numbered_classes_are_sorted_numerically(tmp_path):
    photos = write_class_folders(tmp_path / 'photos', ('10', '9', '2'))
    run(tmp_path / 'run', '--data-dir', photos)
    assert json_of(tmp_path / 'run', 'settings.json')['class_names'] == ['2', '9', '10']


def test_class_list_decides_the_order_and_evaluation_keeps_it(tmp_path, folders, caplog):
    (tmp_path / 'classes.txt').write_text('owl\ncat\ndog\n')
    summary = run(tmp_path / 'run', '--data-dir', folders, '--class-list', tmp_path / 'classes.txt',
                  '--num-epochs', 3)
    assert json_of(tmp_path / 'run', 'settings.json')['class_names'] == ['owl', 'cat', 'dog']
    shutil.rmtree(folders / 'train')
    with caplog.at_level('INFO', 'openatac'):
        assert run_in_process(*QUICK, '--data-dir', folders,
                              '--evaluate', tmp_path / 'run' / 'best.params') == 0
    assert f'accuracy={summary["best_accuracy"]:f}' in caplog.messages[-1]


def test_run_resumes_only_with_the_same_classes(tmp_path, folders, capsys):
    run(tmp_path / 'run', '--data-dir', folders)
    run(tmp_path / 'run', '--data-dir', folders, '--resume', 'auto')
    (folders / 'train' / 'owl').rename(folders / 'train' / 'zebra')
    (folders / 'test' / 'owl').rename(folders / 'test' / 'zebra')
    assert 'zebra' in script_error(capsys, 1, *QUICK, '--data-dir', folders, '--save-dir', tmp_path / 'run',
                                   '--resume', 'auto')


def test_damaged_images_are_named_and_skipped(tmp_path, folders, caplog):
    (folders / 'train' / 'cat' / '0.png').write_bytes(b'no image')
    assert run(tmp_path / 'run', '--data-dir', folders)['training_images'] == 11
    assert any('cat/0.png' in message for message in caplog.messages)
    (folders / 'train' / 'dog' / '0.png').write_bytes(b'no image')
    with pytest.raises(DataError, match='2 of 12'):
        load_class_folders(str(folders), 32, train=True)


# ------------------------------------------------------------------------------------ hosts

def test_another_host_accepts_another_size(tmp_path, folders):
    assert run_in_process(*QUICK, '--model', 'cifar_resnet20_v2_ge_theta', '--blocks', 3, '--image-size', 24,
                          '--data-dir', folders, '--save-dir', tmp_path / 'run', '--dry-run', 1) == 0


class Rigid(nn.HybridSequential):
    """A network for images of 32 x 32 pixels only."""

    def __init__(self, classes=10, act_type='relu', **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.add(nn.Flatten(), nn.Dense(classes, in_units=3072))


def test_size_that_the_host_cannot_take_is_refused(restored_registries, folders, capsys, tmp_path):
    openatac.register_host('rigid', Rigid)
    error = script_error(capsys, 2, *QUICK, '--model', 'rigid_relu', '--image-size', 40,
                         '--data-dir', folders, '--save-dir', tmp_path / 'run')
    assert '--image-size' in error and '40' in error


# --------------------------------------------------------------------------- after training

def test_export_stores_the_classes_and_predict_names_them(tmp_path, photo_run, capsys):
    photos, folder = photo_run
    assert openatac_command(['export', str(folder), str(tmp_path / 'out')]) == 0
    manifest = json_of(tmp_path, 'out.json')
    assert manifest['labels'] == [*CLASSES] and manifest['image_shape'] == [3, 24, 24]
    assert manifest['reports']['symbol']['real_images'] == 6
    capsys.readouterr()
    assert openatac_command(['predict', str(tmp_path / 'out'), str(photos / 'test' / 'cat'), '--json']) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 2 and {each['label'] for each in lines[0]['predictions']} == set(CLASSES)
    assert openatac_command(['costs', str(tmp_path / 'out-symbol.json')]) == 0
    assert '24 x 24' in capsys.readouterr().out


def test_export_finds_moved_and_archived_images(tmp_path, photo_run):
    photos, folder = photo_run
    shutil.copytree(photos, tmp_path / 'moved')
    archive = write_archive_of(tmp_path / 'moved', '.zip')
    assert openatac_command(['export', str(folder), str(tmp_path / 'out'), '--data-dir', str(archive)]) == 0
    assert json_of(tmp_path, 'out.json')['reports']['symbol']['real_images'] == 6


def test_evaluation_finds_the_runs_images_and_names_them(tmp_path, photo_run):
    _, folder = photo_run
    rows = tmp_path / 'rows.csv'
    for flags in ((), ('--dataset', 'folder')):
        assert run_in_process('--evaluate', folder / 'last.params', '--predictions', rows, *flags) == 0
        assert [row['image'] for row in rows_of(rows)] == [
            f'{name}/{index}.{form}' for name in CLASSES for index, form in enumerate(['png', 'jpeg'])]


def test_evaluation_names_moved_images(tmp_path, photo_run, capsys, monkeypatch):
    photos, _ = photo_run
    monkeypatch.chdir(photos.parent)
    run(tmp_path / 'run', '--data-dir', photos.name)
    monkeypatch.chdir(tmp_path)
    assert photos.name in script_error(capsys, 1, '--evaluate', tmp_path / 'run' / 'last.params')


def test_missing_parameter_file_is_reported_before_training(tmp_path, photo_run, capsys):
    photos, folder = photo_run
    error = script_error(capsys, 1, *QUICK, '--data-dir', photos, '--pretrained', folder / 'nope.params',
                         '--save-dir', tmp_path / 'run')
    assert 'nope.params' in error and not (tmp_path / 'run').exists()


def test_classes_with_other_names_give_a_warning(tmp_path, photo_run, caplog):
    _, folder = photo_run
    assert openatac_command(['export', str(folder), str(tmp_path / 'out')]) == 0
    others = write_class_folders(tmp_path / 'others', ('a', 'b', 'c'))
    assert openatac_command(['evaluate', str(tmp_path / 'out'), str(others / 'test')]) == 0
    assert '(a, b, c)' in caplog.text and '(cat, dog, owl)' in caplog.text


def test_studies_accept_runs_on_class_folders(tmp_path, photo_run, capsys):
    _, folder = photo_run
    assert openatac_command(['gates', str(folder), '--out', str(tmp_path / 'gates')]) == 0
    assert openatac_command(['compare', str(tmp_path / 'set'), '--from', str(folder)]) == 0
    text = (tmp_path / 'set' / 'comparison.md').read_text()
    net = openatac.get_model('cifar_resnet8_v2_atac', classes=3)
    assert f'{costs(net, (3, 24, 24)).multiply_adds:,}' in text and '3 classes' in text
    capsys.readouterr()
    assert openatac_command(['published', str(folder), '--network', 'cifar_resnet8_v2_atac']) == 0
    assert 'dataset folder' in capsys.readouterr().out


# ---------------------------------------------------------------------------- refused input

@pytest.mark.parametrize('flags, named', [
    (['--dataset', 'folder'], '--data-dir'),
    (['--image-size', '40'], '--image-size'),
    (['--class-list', 'x'], '--class-list'),
])
def test_incompatible_flags_are_refused(capsys, flags, named):
    assert named in script_error(capsys, 2, *flags)


def test_unsuitable_folder_is_refused_with_its_content(tmp_path, capsys):
    (tmp_path / 'data' / 'holiday').mkdir(parents=True)
    error = script_error(capsys, 1, *QUICK, '--data-dir', tmp_path / 'data', '--save-dir', tmp_path / 'run')
    assert "'holiday'" in error and 'train/CLASS/' in error and '.zip' not in error
    with tarfile.open(tmp_path / 'x.tar', 'w') as archive:
        archive.add(tmp_path / 'data', 'data')
    for path in (tmp_path / 'x.tar', tmp_path / 'nowhere'):
        assert path.name in script_error(
            capsys, 1, *QUICK, '--data-dir', path, '--save-dir', tmp_path / 'run')


def test_one_class_is_refused(tmp_path, capsys):
    photos = write_class_folders(tmp_path / 'photos', ['cat'])
    assert "'cat'" in script_error(capsys, 1, *QUICK, '--data-dir', photos, '--save-dir', tmp_path / 'run')
