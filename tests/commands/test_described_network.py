"""Settings or a manifest beside a parameter file describe its network and data."""
import json
import os
import re
import shutil

import pytest

import openatac
import train_imagenet
from openatac import cli
from openatac.files.mxnet_arrays import read_params
from tests.helpers.images.made_up_images import write_data_dir, write_photos
from tests.helpers.networks.safetensors import write_safetensors
from tests.helpers.processes.commands import call_command, command_error, rows_of
from tests.helpers.processes.scripts import json_of, run_in_process, run_script, script_error

pytestmark = pytest.mark.usefixtures('isolated_cwd', 'shallow_resnet')


@pytest.fixture(scope='module')
def cifar_run(tmp_path_factory, cifar10):
    """The folder of a run whose network differs from the defaults, with its export 'out'."""
    folder = tmp_path_factory.mktemp('cifar') / 'run'
    assert run_in_process('--data-dir', cifar10, '--save-dir', folder, '--blocks', 1, '--act-layers', 2,
                          '--r', 4, '--useReLU', '--useGlobal', '--num-epochs', 1, '--batch-size', 10,
                          '--export', folder / 'out') == 0
    return str(folder)


@pytest.fixture(scope='module')
def photo_run(tmp_path_factory):
    """The same for train_imagenet.py, with its default r."""
    folder = tmp_path_factory.mktemp('photos')
    photos = write_data_dir(folder / 'data')
    assert run_in_process('--data-dir', photos, '--input-size', 32, '--crop-ratio', 0.6, '--act-layers', 3,
                          '--batch-size', 4, '-j', 0, '--num-epochs', 1, '--save-dir', folder / 'run',
                          '--logging-file', folder / 'log', '--export', folder / 'run' / 'out',
                          script=train_imagenet) == 0
    return str(folder / 'run')


def score_of(text):
    """Return the last accuracy or error that a command prints."""
    return float(re.findall(r'(?:accuracy|err-top1)=([\d.]+)', text)[-1])


def wanted_score(run):
    best = json_of(run, 'summary.json')['best_accuracy']
    return pytest.approx(best if 'cifar' in run else 1 - best, abs=1e-6)


# -------------------------------------------------------------------- found by the file alone

@pytest.mark.parametrize('file', ['best.params', 'best.safetensors', 'out-0000.params'])
def test_train_cifar_evaluates_a_run_given_only_its_file(cifar_run, capsys, file):
    if file.endswith('.safetensors'):
        write_safetensors(os.path.join(cifar_run, file), read_params(os.path.join(cifar_run, 'best.params')))
    assert run_in_process('--evaluate', os.path.join(cifar_run, file)) == 0
    assert score_of(capsys.readouterr().err) == wanted_score(cifar_run)


@pytest.mark.parametrize('file', ['best.params', 'out-0000.params'])
def test_photographs_are_evaluated_given_only_the_file(photo_run, capsys, file):
    path = os.path.join(photo_run, file)
    for run in (lambda: cli.main(['evaluate-imagenet', path, '-j', '0']),
                lambda: run_in_process('--evaluate', path, '-j', 0, script=train_imagenet)):
        assert run() == 0
        assert score_of(capsys.readouterr().err) == wanted_score(photo_run)


def test_run_may_be_named_by_its_folder(photo_run, cifar_run, capsys):
    assert cli.main(['evaluate-imagenet', photo_run, '-j', '0']) == 0
    assert score_of(capsys.readouterr().err) == wanted_score(photo_run)
    assert run_in_process('--evaluate', cifar_run) == 0
    assert score_of(capsys.readouterr().err) == wanted_score(cifar_run)


def test_photographs_are_evaluated_in_pytorch_too(photo_run, capsys):
    pytest.importorskip('torch')
    assert cli.main(['evaluate-imagenet', photo_run, '-j', '0', '--engine', 'torch']) == 0
    assert score_of(capsys.readouterr().err) == wanted_score(photo_run)


def test_gluon_only_unit_is_converted_for_evaluation_in_pytorch(restored_registries, tmp_path, capsys):
    pytest.importorskip('torch')
    from mxnet.gluon import nn
    photos = write_data_dir(tmp_path / 'data')
    openatac.register_activation('softsign', lambda channels: nn.Activation('softsign'))
    assert run_in_process('--data-dir', photos, '--input-size', 32, '--batch-size', 4, '-j', 0,
                          '--num-epochs', 1, '--act-type', 'softsign', '--save-dir', 'run',
                          '--logging-file', 'log', script=train_imagenet) == 0
    for run in (lambda: cli.main(['evaluate-imagenet', 'run', '-j', '0', '--engine', 'torch']),
                lambda: run_in_process('--evaluate', 'run', '-j', 0, '--engine', 'torch',
                                       script=train_imagenet)):
        capsys.readouterr()
        assert run() == 0
        assert score_of(capsys.readouterr().err) == wanted_score('run')


@pytest.mark.parametrize('file', ['best.params', 'out-0000.params'])
def test_class_folders_are_evaluated_given_only_the_file(tmp_path, capsys, file):
    photos = write_data_dir(tmp_path / 'photos', validation=12)
    os.rename(os.path.join(photos, 'val'), os.path.join(photos, 'test'))
    run = tmp_path / 'cifar-like'
    assert run_in_process('--dataset', 'folder', '--data-dir', photos, '--save-dir', run, '--blocks', 1,
                          '--num-epochs', 1, '--batch-size', 4, '--export', run / 'out') == 0
    assert run_in_process('--evaluate', run / file) == 0
    assert score_of(capsys.readouterr().err) == wanted_score(str(run))


def test_run_on_photographs_keeps_the_names_of_its_classes(tmp_path, capsys):
    photos = tmp_path / 'photos'
    for split in ('train', 'val'):
        write_photos(photos / split, classes=2, images=4)
        os.rename(photos / split / 'class0', photos / split / '9')
        os.rename(photos / split / 'class1', photos / split / '10')
    assert run_in_process('--data-dir', photos, '--input-size', 32, '--batch-size', 4, '-j', 0,
                          '--num-epochs', 1, '--save-dir', 'run', '--logging-file', 'log',
                          script=train_imagenet) == 0
    assert json_of('run', 'settings.json')['class_names'] == ['9', '10']
    os.rename(photos / 'val' / '10', photos / 'val' / '8')  # now it would be the first class
    capsys.readouterr()
    assert cli.main(['evaluate-imagenet', 'run', '-j', '0']) == 1
    assert "'8'" in capsys.readouterr().err
    shutil.rmtree(photos)
    assert cli.main(['predict', '--model', 'run', 'run/sample.png', '--json']) == 0
    found = json.loads(capsys.readouterr().out)['predictions']
    assert {each['label'] for each in found} == {'9', '10'}
    assert cli.main(['export', 'run', 'out']) == 0
    assert json_of('.', 'out.json')['labels'] == ['9', '10']


def test_class_list_in_another_order_is_refused(photo_run, tmp_path, capsys):
    (tmp_path / 'list').write_text('class1\nclass0\n')
    words = os.path.join(photo_run, 'best.params'), '-j', 0, '--class-list', tmp_path / 'list'
    assert '--class-list' in command_error(capsys, 'evaluate-imagenet', 2, *words)
    (tmp_path / 'list').write_text('class0\nclass1\n')
    assert call_command('evaluate-imagenet', *words) == 0


def test_other_images_are_evaluated_if_given(photo_run, tmp_path, capsys):
    other = write_data_dir(tmp_path / 'other', validation=4)
    assert cli.main(['evaluate-imagenet', photo_run + '/best.params', '--data-dir', other, '-j', '0']) == 0
    assert ' on 4 images' in capsys.readouterr().err


def test_export_alone_describes_its_network(cifar_run, cifar10, tmp_path, capsys):
    for name in os.listdir(cifar_run):
        if name.startswith('out'):
            shutil.copy(os.path.join(cifar_run, name), tmp_path)
    assert run_in_process('--data-dir', cifar10, '--evaluate', tmp_path / 'out-0000.params') == 0
    assert score_of(capsys.readouterr().err) == wanted_score(cifar_run)


def test_fine_tuning_uses_the_network_but_not_its_data(cifar_run, cifar10):
    assert run_in_process('--data-dir', cifar10, '--pretrained', cifar_run + '/best.params', '--save-dir',
                          'tuned', '--num-epochs', 1, '--batch-size', 10) == 0
    theirs, ours = (json_of(folder, 'settings.json') for folder in (cifar_run, 'tuned'))
    for name in ('blocks', 'act_layers', 'r', 'useReLU', 'useGlobal'):
        assert ours[name] == theirs[name]


def test_photographs_with_other_classes_are_fine_tuned(photo_run, tmp_path):
    other = write_data_dir(tmp_path / 'other', classes=3)
    assert run_in_process('--data-dir', other, '--pretrained', photo_run + '/best.params', '--input-size', 32,
                          '--batch-size', 4, '-j', 0, '--num-epochs', 1, '--save-dir', 'tuned',
                          '--logging-file', 'log', script=train_imagenet) == 0
    settings = json_of('tuned', 'settings.json')
    assert settings['num_classes'] == 3 and settings['act_layers'] == 3


@pytest.mark.parametrize('content', ['', '{}', '[]', '{"blocks": "many"}'])
def test_unrelated_settings_are_ignored(cifar_run, cifar10, content, capsys):
    os.mkdir('copy')
    shutil.copy(cifar_run + '/best.params', 'copy')
    with open('copy/settings.json', 'w') as handle:
        handle.write(content)
    network = '--blocks', 1, '--act-layers', 2, '--r', 4, '--useReLU', '--useGlobal'
    assert run_in_process('--data-dir', cifar10, *network, '--evaluate', 'copy/best.params') == 0
    assert score_of(capsys.readouterr().err) == wanted_score(cifar_run)


# ----------------------------------------------------------------------------- contradictions

CONTRADICTIONS = [
    (['--blocks', 2], ['--blocks', '2', 'blocks 1']),
    (['--no-useReLU'], ['--useReLU', 'False', 'True']),
    (['--r', 2], ['--r', '2', '4']),
    (['--act-type', 'relu'], ['--act-type', 'relu', 'ChaATAC']),
    (['--model', 'cifar_resnet8_v2_swish'], ['--model', 'cifar_resnet8_v2_swish', 'ChaATAC']),
    (['--model', 'cifar_resnet14_v2_atac'], ['--model', 'cifar_resnet14_v2_atac', 'blocks 1']),
    (['--model', 'cifar_resnet18_v1_atac'], ['--model', 'cifar_resnet18_v1_atac']),
    (['--recipe', 'cifar10_atac'], ['settings.json'])]


@pytest.mark.parametrize('flag, more, named', [
    *((flag, *case) for flag in ('--evaluate', '--pretrained') for case in CONTRADICTIONS),
    ('--evaluate', ['--dataset', 'cifar100'], ['--dataset', 'cifar100', 'cifar10']),
], ids=lambda value: ' '.join(map(str, value)) if isinstance(value, list) else value)
def test_flag_that_contradicts_the_settings_is_refused(cifar_run, capsys, flag, more, named):
    path = cifar_run + '/best.params'
    error = script_error(capsys, 2, flag, path, *more)
    assert all(word in error for word in (path, cifar_run + '/settings.json', *named))


@pytest.mark.parametrize('more', [
    ['--blocks', 1, '--r', 4], ['--model', 'cifar_resnet8_v2_atac', '--useGlobal'], ['--act-type', 'atac'],
    ['--model', 'cifar_resnet8_v2_atac_global'], ['--dataset', 'cifar10']])
def test_redundant_flags_are_accepted(cifar_run, capsys, more):
    assert run_in_process('--evaluate', cifar_run + '/best.params', *more) == 0
    assert score_of(capsys.readouterr().err) == wanted_score(cifar_run)


@pytest.mark.parametrize('file, source', [('best.params', 'settings.json'), ('out-0000.params', 'out.json')])
def test_contradictions_about_photographs_are_refused(photo_run, capsys, file, source):
    path = os.path.join(photo_run, file)
    for more, named in ((['--r', 2], '4'), (['--num-classes', 5], '2'), (['--use-gn'], 'False')):
        error = command_error(capsys, 'evaluate-imagenet', 2, path, *more)
        assert all(str(word) in error for word in (path, os.path.join(photo_run, source), *more, named))


def test_another_size_and_crop_are_accepted(photo_run, capsys):
    for more in (['--input-size', '64'], ['--crop-ratio', '0.9']):
        assert cli.main(['evaluate-imagenet', photo_run + '/best.params', *more, '-j', '0']) == 0
    assert capsys.readouterr().err.count('err-top1=') == 2


# ------------------------------------------------------------- other commands that take a file

def test_other_commands_take_files_of_any_kind(cifar_run, cifar10, tmp_path):
    start = str(tmp_path / 'start.safetensors')
    write_safetensors(start, read_params(cifar_run + '/best.params'))
    assert cli.main(['export', cifar_run, start, 'of-run']) == 0
    assert cli.main(['export', 'cifar_resnet8_v2_atac_global', start, 'by-name', '--act-layers', '2', '--r',
                     '4']) == 0
    assert cli.main(['export', 'cifar_resnet8_v2_atac_global', cifar_run + '/out-0000.params', 'of-export',
                     '--act-layers', '2', '--r', '4']) == 0
    expected = list(read_params(cifar_run + '/out-0000.params').values())
    for out in ('of-run', 'by-name', 'of-export'):
        for ours, theirs in zip(read_params(out + '-0000.params').values(), expected):
            assert (ours == theirs).all()
    assert cli.main(['gates', cifar_run, '--params', start, '--images', '20', '--out', 'gates']) == 0
    assert rows_of('gates.csv')[0]['parameters'] == 'start.safetensors'


def test_pytorch_takes_files_of_any_kind_without_mxnet(cifar_run, cifar10, tmp_path, no_mxnet):
    pytest.importorskip('torch')
    start, network = str(tmp_path / 'start.safetensors'), ('--blocks', 1, '--act-layers', 2, '--r', 4,
                                                           '--useReLU', '--useGlobal')
    write_safetensors(start, read_params(cifar_run + '/best.params'))
    assert run_in_process(*network, '--write-initial', 'net') == 0
    result = run_script('--engine', 'torch', '--initial', 'net', '--data-dir', cifar10, '--evaluate', start,
                        path=no_mxnet)
    assert result.returncode == 0, result.stderr
    assert score_of(result.stderr) == wanted_score(cifar_run)
