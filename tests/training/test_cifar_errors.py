"""User errors end train_cifar.py with one clear error line and harm nothing."""
import functools
import hashlib
import io
import os
import pickle
import shutil
import tarfile

import mxnet as mx
import numpy as np
import pytest

import train_cifar
import train_imagenet
from openatac.data.small import cifar_location
from openatac.models.weights import write_arrays
from openatac.training.checkpoints.checkpoint import checkpoints_of
from tests.helpers.images.made_up_images import CIFAR10, CIFAR100, write_cifar
from tests.helpers.pages.web import serving_folder
from tests.helpers.processes.scripts import error_line, run_in_process, run_script, script_error


@pytest.fixture(autouse=True)
def no_network(isolated_cwd, monkeypatch):
    monkeypatch.setattr(cifar_location, 'HOME', 'http://127.0.0.1:9/')
    monkeypatch.setenv('no_proxy', '*')
    monkeypatch.delenv('OPENATAC_DATA_URL', raising=False)


@pytest.fixture
def refused(capsys):
    """A function refused(code, *flags) that returns the error line of a failing run."""
    return functools.partial(script_error, capsys)


# ------------------------------------------------------------------------------ wrong flags

@pytest.mark.parametrize('flags', [
    ['--gpus', 'a'], ['--gpus', '0,0'], ['--gpus', '-1'], ['--gpus', '0.5'],
    ['--lr-decay-epoch', 'x'], ['--lr-decay-epoch', '300;350'], ['--lr-decay-epoch', '1.5'],
    ['--lr-decay-epoch=-3'],
    ['--momentum', 1], ['--drop-rate', 1], ['--act-layers', 5], ['--seed', 2 ** 31], ['--blocks', 10 ** 9],
    ['--num-epochs', 10 ** 12, '--lr-decay-period', 1],
    ['--lr-decay-period', 1], ['--lr-decay', 1e30, '--lr-decay-epoch', '1,2'],
    ['--act-type', 'tanh'], ['--act-type', ''], ['--r', 100], ['--r', 0], ['--model', 'resnet50_v1b_atac'],
    ['--model', ''],
    ['--mode', 'eager'], ['--dtype', 'int8'], ['--dataset', 'mnist'], ['--cifar100-labels', 'all'],
    ['--recipe', 'imagenet'], ['--recipe'], ['--rec', 'digits'], ['--learning-rate', 1], ['train'],
], ids=lambda flags: ' '.join(map(str, flags)))
def test_wrong_flags_are_refused_before_anything_is_written(refused, cifar10, flags):
    refused(2, '--data-dir', cifar10, *flags)
    assert not os.listdir()


def test_error_names_the_valid_values(refused, cifar10):
    data = '--data-dir', cifar10
    for right, *flags in (
            ('0', '--lr', 'abc'), ('1', '--batch-size', -3), ('1', '--momentum', 2),
            ('300,350', '--lr-decay-epoch', 'x'), ('0,1', '--gpus', '0,0'), ('swish', '--act-type', 'tanh'),
            ('16', '--r', 100), ('cifar_resnet20_v2_atac', '--model', 'cifar_resnet_20_v2_atac'),
            ('digits', '--recipe', 'imagenet')):
        error = refused(2, *data, f'{flags[0]}={flags[1]}')
        assert flags[0] in error and str(flags[1]) in error and right in error.replace(str(flags[1]), '')


@pytest.mark.parametrize('script, flags', [
    (train_cifar, ['--act-type', 'tanh']), (train_cifar, ['--attention', 'es']), (train_cifar, ['--r', 100]),
    (train_cifar, ['--attention', 'se', '--reduction', 100]), (train_cifar, ['--model', 'resnet']),
    (train_cifar, ['--gpus', '0,0']), (train_cifar, ['--lr-decay-epoch', 'x']),
    (train_imagenet, ['--act-type', 'tanh']), (train_imagenet, ['--self-attention', 'zz']),
    (train_imagenet, ['--r', 1000]), (train_imagenet, ['--lr-decay-epoch', 'x']),
], ids=lambda each: ' '.join(map(str, each)) if isinstance(each, list) else each.__name__)
def test_error_about_a_value_names_its_flag(capsys, cifar10, script, flags):
    data = ['--data-dir', cifar10] if script is train_cifar else []
    error = script_error(capsys, 2, *data, *flags, script=script)
    assert f'argument {flags[-2]}: ' in error and str(flags[-1]) in error


def test_wrong_command_line_is_one_error_line(tmp_path):
    result = run_script('--lr', 'abc')
    assert error_line(result.returncode, result.stderr).startswith('train_cifar.py: error: argument --lr:')
    assert result.returncode == 2 and result.stdout == ''


# ----------------------------------------------------- settings that only the run can check

def test_float16_needs_a_gpu(refused, cifar10):
    assert '--dtype float16' in refused(1, '--dtype', 'float16', '--data-dir', cifar10)


def test_batch_larger_than_the_data_is_refused(refused, cifar10):
    error = refused(1, '--data-dir', cifar10, '--batch-size', 101)
    assert '100' in error and '101' in error and '--batch-size' in error


def diverging(folder):
    data = write_cifar(folder, images=20)
    return '--data-dir', data, '--blocks', 1, '--act-type', 'relu', '--batch-size', 20, '--num-epochs', 4


def test_non_finite_loss_stops_the_run_and_keeps_good_checkpoints(refused, tmp_path):
    small = diverging(tmp_path / 'small')
    error = refused(1, *small, '--save-dir', 'at-once', '--lr', 1e30, '--log-interval', 2)
    assert '--lr' in error and checkpoints_of('at-once').in_words in error
    assert not os.path.exists('at-once/last.params') and not os.path.exists('at-once/checkpoints')
    # The rate becomes 1e30 in the third epoch.
    rise = ('--lr', 0.01, '--lr-decay', 1e32, '--lr-decay-epoch', '2', '--save-dir', 'later')
    error = refused(1, *small, *rise)
    assert all(words in error for words in ('epoch 2', checkpoints_of('later').in_words, '--lr'))
    assert sorted(os.listdir('later/checkpoints')) == ['0000000005', '0000000010']
    for name in ('best', 'last'):
        arrays = mx.nd.load(f'later/{name}.params')
        assert all(np.isfinite(array.asnumpy()).all() for array in arrays.values())
    with open('later/metrics.jsonl') as handle:
        assert len(handle.readlines()) == 2
    refused(1, *small, *rise, '--resume', 'auto')
    assert len(os.listdir('later/checkpoints')) == 2


@pytest.mark.parametrize('rate', [1e30, 1e37])
def test_divergence_at_the_last_step_is_noticed_before_saving(refused, tmp_path, rate):
    """The training loss of an epoch with one batch is measured before its only step."""
    error = refused(1, *diverging(tmp_path / 'small'), '--batch-size', 100, '--lr', rate, '--save-dir', 'run')
    assert '--lr' in error
    assert not [name for name in os.listdir('run') if name.endswith('.params')]


# ------------------------------------------------------------------------------------- data

def run_on(folder, *more):
    return ('--data-dir', folder, '--blocks', 1, '--batch-size', 20, '--num-epochs', 1, *more)


@pytest.fixture
def files(cifar10, tmp_path):
    """A copy of the data, which a test may damage."""
    return shutil.copytree(cifar10, str(tmp_path / 'files'))


@pytest.mark.parametrize('file, content, words', [
    ('data_batch_3.bin', None, 'data_batch_3.bin'),
    ('test_batch.bin', None, 'test_batch.bin'),
    ('data_batch_1.bin', b'\0' * 3072, '3073 bytes'),
    ('test_batch.bin', b'\0' * (3073 * 3 - 1), 'test_batch.bin'),
    ('data_batch_5.bin', b'', 'data_batch_5.bin'),
    ('data_batch_2.bin', b'\x0a' + b'\0' * 3072, 'label 10'),
])
def test_damaged_data_is_refused(refused, files, file, content, words):
    if content is None:
        os.remove(os.path.join(files, file))
    else:
        with open(os.path.join(files, file), 'wb') as handle:
            handle.write(content)
    assert words in refused(1, *run_on(files))
    assert not os.path.exists('params/checkpoints') and not os.path.exists('params/last.params')


def test_cifar100_named_as_cifar10_is_refused(refused, tmp_path):
    hundred = write_cifar(tmp_path / 'hundred', CIFAR100)
    for name in CIFAR10[0]:
        shutil.copy(os.path.join(hundred, 'train.bin'), os.path.join(hundred, name))
    shutil.copy(os.path.join(hundred, 'test.bin'), os.path.join(hundred, CIFAR10[1]))
    assert 'data_batch_1.bin' in refused(1, *run_on(hundred))


def test_missing_data_without_network_is_an_error(refused, server, tmp_path):
    (tmp_path / 'empty').mkdir()
    for folder, named in ((tmp_path / 'none', '404'), (tmp_path / 'empty', '404'), (tmp_path, "'served'")):
        error = refused(1, *run_on(folder, '--data-url', server.url))
        assert named in error and str(folder) in error
    archive = tmp_path / 'cifar-10-binary.tar.gz'
    assert str(archive) in refused(1, *run_on(archive))


# -------------------------------------------- archives, from a local web server or as files

@pytest.fixture
def server(tmp_path):
    """A server for the folder ``server.folder`` at ``server.url``."""
    folder = tmp_path / 'served'
    folder.mkdir()

    with serving_folder(folder) as server:
        server.folder = folder
        yield server


def write_archive(path, files, *members):
    """Write an archive of the data files, as published, with further members."""
    with tarfile.open(path, 'w:gz') as archive:
        for name in os.listdir(files):
            archive.add(os.path.join(files, name), 'cifar-10-batches-bin/' + name)
        for member in members:
            archive.addfile(member, io.BytesIO(b'evil') if member.isreg() else None)
    with open(path, 'rb') as handle:
        return hashlib.md5(handle.read()).hexdigest()


ELSEWHERE = f'/tmp/openatac-evil-{os.getpid()}'  # only this run can have made it


def outside(name):
    member = tarfile.TarInfo(name)
    member.size = 4
    return member


def link(kind, target):
    member = tarfile.TarInfo('cifar-10-batches-bin/batches.meta.txt')
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize('member, words', [
    (outside('../../evil'), 'evil'),
    (outside(ELSEWHERE), 'evil'),
    (outside('cifar-10-batches-bin/../../../evil'), 'evil'),
    (link(tarfile.SYMTYPE, '/etc/passwd'), 'batches.meta.txt'),
    (link(tarfile.LNKTYPE, 'cifar-10-batches-bin/test_batch.bin'), 'batches.meta.txt'),
    (link(tarfile.CHRTYPE, ''), 'batches.meta.txt'),
], ids=['up', 'absolute', 'up later', 'symbolic link', 'hard link', 'device'])
def test_archive_with_unexpected_members_is_refused(refused, monkeypatch, cifar10, server, tmp_path, member,
                                                    words):
    archive = server.folder / 'cifar-10-binary.tar.gz'
    monkeypatch.setitem(cifar_location.MD5, archive.name, write_archive(archive, cifar10, member))
    assert words in refused(1, *run_on(archive))
    assert words in refused(1, *run_on(tmp_path / 'data', '--data-url', server.url))
    assert os.listdir(tmp_path / 'data') and 'cifar-10-batches-bin' not in os.listdir(tmp_path / 'data')
    assert not [name for _, _, names in os.walk(tmp_path) for name in names if 'evil' in name]
    assert not os.path.exists(ELSEWHERE)


def test_archive_with_another_checksum_is_refused(refused, cifar10, server, tmp_path):
    write_archive(server.folder / 'cifar-10-binary.tar.gz', cifar10)
    error = refused(1, *run_on(tmp_path / 'data', '--data-url', server.url))
    assert cifar_location.MD5['cifar-10-binary.tar.gz'] in error
    assert not os.path.exists(tmp_path / 'data')


class Malicious:
    def __reduce__(self):
        return os.system, ('touch executed',)


def test_pickle_is_not_executed(refused, tmp_path):
    folder = tmp_path / 'cifar-10-batches-py'
    folder.mkdir()
    for name in (*(f'data_batch_{k}' for k in range(1, 6)), 'test_batch'):
        (folder / name).write_bytes(pickle.dumps({b'data': Malicious(), b'labels': [0]}, 2))
    assert 'data_batch_' in refused(1, *run_on(folder))
    assert not os.path.exists('executed')


# ------------------------------------------------------------------------------- parameters

def write_unusable(kind, path, network):
    """Write a parameter file that cannot be used."""
    if kind == 'missing':
        return
    if kind in ('truncated', 'random'):
        with open(network, 'rb') as handle:
            content = handle.read()
        path.write_bytes(content[:len(content) // 2] if kind == 'truncated' else os.urandom(len(content)))
        return
    if kind == 'without names':
        mx.nd.save(str(path), [mx.nd.ones(3)])
        return
    arrays = mx.nd.load(network)
    if kind == 'more classes':
        arrays['output.weight'], arrays['output.bias'] = mx.nd.zeros((100, 64)), mx.nd.zeros(100)
    elif kind == 'another unit':
        arrays['features.2.0.msAA1.module.0.weight'] = mx.nd.zeros(1)
    elif kind == 'less':
        del arrays['features.1.weight']
    write_arrays(str(path), arrays)


@pytest.fixture(scope='module')
def network(tmp_path_factory, cifar10):
    """The parameters of a trained network."""
    folder = tmp_path_factory.mktemp('network')
    assert run_in_process(*run_on(cifar10, '--act-type', 'relu', '--save-dir', folder)) == 0
    return str(folder / 'last.params')


@pytest.mark.parametrize('flag', ['--resume-from', '--evaluate'])
@pytest.mark.parametrize('kind', ['missing', 'truncated', 'random', 'without names', 'more classes',
                                  'another unit', 'less'])
def test_unusable_parameters_are_refused(refused, cifar10, network, tmp_path, kind, flag):
    path = tmp_path / 'file.params'
    write_unusable(kind, path, network)
    assert str(path) in refused(1, *run_on(cifar10, '--act-type', 'relu', flag, path))
    assert not os.path.exists('params/last.params')


def test_undamaged_parameters_are_accepted(cifar10, network):
    """Control the test above, which could otherwise pass for another reason."""
    assert run_in_process(*run_on(cifar10, '--act-type', 'relu', '--evaluate', network)) == 0
