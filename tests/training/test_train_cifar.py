"""train_cifar.py as a user runs it: the effects of its flags, and the files of a run."""
import contextlib
import io
import os
import re
import shlex
import shutil
import tarfile

import mxnet as mx
import numpy as np
import pytest
from PIL import Image

from openatac.models.cifar_resnet import ResNet20V2ATAC
from openatac.models.weights import load_parameters, read_arrays, write_arrays
from tests.helpers.images.made_up_images import CIFAR100, write_cifar
from tests.helpers.networks.parameters import initialised, parameters_of
from tests.helpers.pages.web import serving_folder
from tests.helpers.processes.commands import rows_of
from tests.helpers.processes.scripts import (
    error_line,
    json_of,
    log_of,
    metrics_of,
    run_in_process,
    script_error,
    start_script,
    wait_until,
)

PUBLISHED = (
    '--gpus 0 --num-epochs 400 --mode hybrid -j 32 --batch-size 128 --wd 0.0001 --lr 0.2 --lr-decay 0.1 '
    '--lr-decay-epoch 300,350 --dataset cifar100 --model atac --act-type ChaATAC --useReLU --r 2 --blocks 3')


def flags(data, folder, *more):
    return ('--data-dir', data, '--save-dir', folder, '--blocks', 1, '--batch-size', 20, '--lr', 0.05, *more)


# ------------------------------------------------------------------- the published commands

@pytest.fixture
def refusing_mirror(tmp_path):
    """The address of an empty web server."""
    with serving_folder(tmp_path) as server:
        yield server.url


def test_published_command_is_accepted_verbatim(tmp_path, refusing_mirror, monkeypatch, capsys):
    """The command reaches the download of the data, and does not fail without a GPU."""
    monkeypatch.setenv('OPENATAC_DATA_URL', refusing_mirror)
    monkeypatch.setenv('MXNET_HOME', str(tmp_path))
    monkeypatch.setenv('no_proxy', '*')
    code = run_in_process(*PUBLISHED.split(), '--save-dir', tmp_path / 'run')
    said = capsys.readouterr().err
    error = error_line(code, said)
    assert code == 1
    assert 'cifar-100-binary.tar.gz' in error and '404' in error
    line, = (line for line in said.splitlines() if 'GPU 0' in line)
    assert 'CPU' in line


def test_published_recipe_reads_superclasses_and_says_so(tmp_path):
    data = write_cifar(tmp_path / 'cifar-100-binary', CIFAR100, images=20)
    assert run_in_process('--recipe', 'cifar100_atac', '--blocks', 1, '--num-epochs', 1, '--batch-size', 20,
                          '--data-dir', data, '--save-dir', tmp_path / 'coarse') == 0
    settings = json_of(tmp_path, 'coarse', 'settings.json')
    expected = {'lr': 0.2, 'lr_decay_epoch': '300,350', 'cifar100_labels': 'coarse', 'useReLU': True,
                'blocks': 1, 'num_epochs': 1, 'batch_size': 20}
    assert expected.items() <= settings.items()
    assert '20 superclasses' in log_of(tmp_path / 'coarse')
    weight = read_arrays(str(tmp_path / 'coarse' / 'last.params'))['output.weight']
    assert weight.shape == (100, 64)


def test_cifar100_has_100_classes_by_default(tmp_path):
    data = write_cifar(tmp_path / 'cifar-100-binary', CIFAR100, images=20)
    assert run_in_process('--dataset', 'cifar100', *flags(data, tmp_path / 'fine', '--num-epochs', 1)) == 0
    assert json_of(tmp_path, 'fine', 'settings.json')['cifar100_labels'] == 'fine'
    assert all(words in log_of(tmp_path / 'fine') for words in ('100 classes', '--cifar100-labels coarse'))


# --------------------------------------------------------------------------- files of a run

@pytest.fixture(scope='module')
def finished(tmp_path_factory, cifar10):
    """The folder of a run of three epochs, and its standard error."""
    folder = tmp_path_factory.mktemp('finished') / 'run'
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        assert run_in_process(*flags(
            cifar10, folder, '--useReLU', '--num-epochs', 3, '--lr-decay-epoch', '1,2', '--save-period', 2,
            '--save-plot-dir', folder / 'plots', '--log-interval', 3), figure=True) == 0
    return str(folder), errors.getvalue()


def test_run_writes_parameters(finished):
    folder, _ = finished
    summary = json_of(folder, 'summary.json')
    assert sorted(name for name in os.listdir(folder) if name.endswith('.params')) == [
        'best.params', 'epoch-0002.params', 'last.params']
    for name in ('best', 'epoch-0002', 'last'):
        net = ResNet20V2ATAC([1] * 3)
        load_parameters(net, os.path.join(folder, name + '.params'))
    assert len(os.listdir(os.path.join(folder, 'checkpoints'))) == 2
    with open(os.path.join(folder, 'best.params'), 'rb') as best, \
            open(os.path.join(folder, 'last.params'), 'rb') as last:
        assert (best.read() == last.read()) == (summary['best_epoch'] == 2)


def test_run_writes_metrics(finished):
    folder, _ = finished
    rows = metrics_of(folder)
    assert [row['epoch'] for row in rows] == [0, 1, 2]
    assert [row['iteration'] for row in rows] == [5, 10, 15]
    np.testing.assert_allclose([row['lr'] for row in rows], [0.05, 0.005, 0.0005])
    assert [row['best_accuracy'] for row in rows] == list(
        np.maximum.accumulate([row['val_accuracy'] for row in rows]))
    assert rows[-1]['train_loss'] < rows[0]['train_loss'] and rows[0]['images_per_second'] > 0
    assert all(row['val_accuracy'] * 20 == round(row['val_accuracy'] * 20, 9) for row in rows)


def test_metrics_are_the_same_in_csv(finished):
    folder, _ = finished
    rows = rows_of(os.path.join(folder, 'metrics.csv'))
    assert [{key: float(value) for key, value in row.items()} for row in rows] == metrics_of(folder)


def test_run_writes_a_summary(finished):
    folder, _ = finished
    rows, summary = metrics_of(folder), json_of(folder, 'summary.json')
    assert summary['best_accuracy'] == rows[summary['best_epoch']]['val_accuracy']
    assert summary['best_accuracy'] == rows[-1]['best_accuracy']
    assert summary['last_accuracy'] == rows[-1]['val_accuracy'] and summary['epochs'] == 3
    assert summary['model'] == 'cifar_resnet8_v2_atac' and summary['dataset'] == 'cifar10'
    assert (summary['training_images'], summary['test_images']) == (100, 20)
    assert summary['versions']['mxnet'] == mx.__version__


def test_run_writes_settings_and_log(finished, cifar10):
    folder, said = finished
    settings, log = json_of(folder, 'settings.json'), log_of(folder)
    assert settings['num_epochs'] == 3 and settings['data_dir'] == cifar10 and settings['momentum'] == 0.9
    assert '--lr-decay-epoch 1,2' in settings['command'] and settings['command'] in log
    assert re.search('100 training .*20 test', log)
    assert log.count('[Epoch ') == 3 and log.count('Batch [3/5]') == 3
    for line in said.partition(settings['command'])[2].splitlines()[:-4]:  # the next commands follow
        assert line in log and '\r' not in line     # plain lines, since this is not a terminal


def test_recorded_command_can_be_repeated_from_a_shell(cifar10, tmp_path):
    folder = tmp_path / 'my run'
    assert run_in_process(*flags(cifar10, folder, '--num-epochs', 1)) == 0
    first = (folder / 'last.params').read_bytes()
    program, *words = shlex.split(json_of(folder, 'settings.json')['command'])
    shutil.rmtree(folder)
    assert program == 'train_cifar.py' and run_in_process(*words) == 0
    assert (folder / 'last.params').read_bytes() == first


def test_figure_goes_to_the_requested_folder(finished):
    folder, _ = finished
    with Image.open(os.path.join(folder, 'plots', 'history.png')) as figure:
        assert min(figure.size) > 300
    assert not os.path.exists(os.path.join(folder, 'history.png'))


def test_evaluate_gives_the_accuracy_of_the_run(finished, cifar10, tmp_path, capsys):
    folder, _ = finished
    best = json_of(folder, 'summary.json')['best_accuracy']
    assert run_in_process(*flags(cifar10, tmp_path / 'none', '--useReLU',
                                 '--evaluate', os.path.join(folder, 'best.params'))) == 0
    said = capsys.readouterr().err
    assert f'accuracy={best:f} ' in said and '20 test' in said
    assert not os.path.exists(tmp_path / 'none')
    half = str(tmp_path / 'float16.params')
    write_arrays(half, {name: array.astype('float16')
                        for name, array in read_arrays(os.path.join(folder, 'best.params')).items()})
    assert run_in_process(*flags(cifar10, tmp_path / 'none', '--useReLU', '--evaluate', half)) == 0
    accuracy = float(capsys.readouterr().err.split('accuracy=')[1].split()[0])
    assert abs(accuracy - best) < 1.5 / 20      # one image of 20


def test_run_can_start_from_parameters(finished, cifar10, tmp_path):
    folder, _ = finished
    assert run_in_process(*flags(cifar10, tmp_path, '--useReLU', '--num-epochs', 1, '--lr', 1e-9,
                                 '--resume-from', os.path.join(folder, 'last.params'))) == 0
    for name, array in read_arrays(os.path.join(folder, 'last.params')).items():
        if 'running' not in name:
            np.testing.assert_allclose(read_arrays(str(tmp_path / 'last.params'))[name].asnumpy(),
                                       array.asnumpy(), atol=1e-6)


def narrow_flags(cifar10, folder, channels='8,9,10,11', *more):
    return flags(cifar10, folder, '--act-type', 'relu', '--num-epochs', 1, '--channels', channels, *more)


@pytest.fixture(scope='module')
def narrow(cifar10, tmp_path_factory):
    """The folder of a run with other channels, exported as ``out`` in it."""
    folder = tmp_path_factory.mktemp('narrow') / 'run'
    assert run_in_process(*narrow_flags(cifar10, folder), '--export', folder / 'out') == 0
    return folder


def test_channels_belong_to_the_network(narrow):
    assert json_of(narrow, 'summary.json')['model'] == 'cifar_resnet8_v2_relu@8-9-10-11'
    assert read_arrays(str(narrow / 'last.params'))['features.4.0.conv2.weight'].shape[:2] == (11, 11)


@pytest.mark.parametrize('file', ['last.params', 'out-0000.params'])
def test_network_with_other_channels_is_evaluated_without_flags(file, narrow, cifar10):
    assert run_in_process('--data-dir', cifar10, '--evaluate', narrow / file) == 0


def test_other_channels_do_not_resume_a_run(narrow, cifar10, capsys):
    error = script_error(capsys, 1, *narrow_flags(cifar10, narrow, '8,9,10,12', '--resume', 'auto'))
    assert '[8, 9, 10, 12]' in error


@pytest.mark.parametrize('channels', ['16,16,32', '16,16,32,x', '16,16,16,64', '0,16,32,64'])
def test_wrong_channels_are_refused(channels, capsys):
    assert '--channels' in script_error(capsys, 2, '--channels', channels, '--summary')


# ------------------------------------------------------------------------------------ flags

def test_summary_prints_the_layers_and_trains_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_in_process('--summary', '--blocks', 1, '--useReLU') == 0
    output = capsys.readouterr().out
    parameters = parameters_of(initialised(ResNet20V2ATAC([1] * 3))).values()
    total = sum(parameter.data().size for parameter in parameters)
    assert re.search(rf'Total params\D*\b{total}\b', output) and 'CIFARBasicBlockV2ATAC' in output
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize('reduction, inner', [(4, 4), (16, 1)])
def test_reduction_applies_to_the_attention(reduction, inner, capsys):
    assert run_in_process('--summary', '--blocks', 1, '--act-type', 'relu', '--attention', 'se',
                          '--reduction', reduction) == 0
    lines = capsys.readouterr().out.splitlines()
    layers = [line.split() for line in lines if line.strip().startswith('Dense')]
    assert layers[0][1:] == ['(1,', f'{inner})', str(16 * inner)]
    assert run_in_process('--summary', '--act-type', 'relu', '--attention', 'se', '--reduction', 17) == 2
    assert 'reduction=17' in capsys.readouterr().err


def test_flag_overrides_a_switch_of_the_recipe(tmp_path):
    assert run_in_process('--recipe', 'digits', '--no-useReLU', '--write-initial', tmp_path / 'net') == 0
    assert json_of(tmp_path, 'net-flags.json')['flags']['useReLU'] is False
    names = read_arrays(str(tmp_path / 'net-0000.params'))
    assert 'features.2.0.msAA1.module.2.weight' in names  # the second convolution, without a ReLU before it


def test_messages_of_data_loading_are_in_the_log_file(tmp_path, cifar10):
    archive = tmp_path / 'cifar-10-binary.tar.gz'
    with tarfile.open(archive, 'w:gz') as members:
        members.add(cifar10, 'cifar-10-batches-bin')
    assert run_in_process(*flags(archive, tmp_path / 'run', '--num-epochs', 1)) == 0
    log = log_of(tmp_path / 'run')
    assert str(archive) in log and 'MD5' in log and '100 training' in log


@pytest.mark.parametrize('more', [[], ['--recipe', 'cifar10_atac']])
def test_model_can_be_chosen_by_name(tmp_path, cifar10, more):
    assert run_in_process(*more, '--model', 'CIFAR_resnet8_v2_swish', '--data-dir', cifar10,
                          '--save-dir', tmp_path, '--num-epochs', 1, '--batch-size', 20) == 0
    assert json_of(tmp_path, 'summary.json')['model'] == 'cifar_resnet8_v2_swish'
    assert json_of(tmp_path, 'settings.json')['blocks'] == 1


@pytest.mark.parametrize('flag, value, built_with', [('--blocks', 2, '1'), ('--act-type', 'relu', 'swish')])
def test_flag_that_contradicts_the_model_name_is_refused(flag, value, built_with, capsys):
    error = script_error(capsys, 2, '--model', 'cifar_resnet8_v2_swish', flag, value)
    assert re.search(rf'{flag}\b.* cifar_resnet8_v2_swish .*\b{built_with}\b', error)


def test_imperative_and_hybridized_training_agree(tmp_path, cifar10):
    for mode in ('hybrid', 'imperative'):
        assert run_in_process(*flags(cifar10, tmp_path / mode, '--num-epochs', 1, '--batch-size', 50,
                                     '--act-layers', 1, '--mode', mode)) == 0
    hybrid, imperative = (metrics_of(tmp_path / mode)[0] for mode in ('hybrid', 'imperative'))
    assert abs(hybrid['train_loss'] - imperative['train_loss']) < 1e-4
    assert abs(hybrid['val_loss'] - imperative['val_loss']) < 1e-3


def test_only_seed_and_dropout_change_the_run(tmp_path, cifar10):
    loss = {}
    changes = {'plain': [], 'again': [], 'seed': ['--seed', 1], 'dropout': ['--drop-rate', 0.5]}
    for name, more in changes.items():
        assert run_in_process(*flags(cifar10, tmp_path / name, '--num-epochs', 1), *more) == 0
        loss[name] = metrics_of(tmp_path / name)[0]['train_loss']
    assert loss['plain'] == loss['again']
    assert len(set(loss.values())) == 3 and loss['dropout'] > loss['plain']


def test_rate_can_decay_periodically(tmp_path, cifar10):
    assert run_in_process(*flags(cifar10, tmp_path / 'run', '--num-epochs', 5, '--lr-decay-period', 2,
                                 '--lr-decay', 0.5, '--lr-decay-epoch', '1', '--batch-size', 100)) == 0
    np.testing.assert_allclose([row['lr'] for row in metrics_of(tmp_path / 'run')],
                               [0.05, 0.05, 0.025, 0.025, 0.0125])


def test_run_survives_a_closed_terminal_without_memory_growth(tmp_path, cifar10):
    def peak():
        """Return the peak memory of the process in MB."""
        with open(f'/proc/{process.pid}/status') as handle:
            return int(next(line for line in handle if line.startswith('VmHWM')).split()[1]) / 1024

    def peak_after(epoch):
        wait_until(lambda: f'[Epoch {epoch}]' in log_of(tmp_path), f'epoch {epoch}', process)
        return peak()

    process = start_script(
        *flags(cifar10, tmp_path, '--num-epochs', 13, '--batch-size', 100, '--act-type', 'relu'))
    process.stderr.close()
    process.stdout.close()
    sizes = [peak_after(2), peak_after(11)]
    assert process.wait(120) == 0 and len(metrics_of(tmp_path)) == 13
    assert sizes[1] < sizes[0] + 25, f'from {sizes[0]:.0f} to {sizes[1]:.0f} MB in 9 epochs'


def test_attention_by_flag_and_by_name_gives_the_same_run(cifar10, tmp_path):
    common = ('--data-dir', cifar10, '--batch-size', 50, '--num-epochs', 1, '--seed', 1)
    assert run_in_process(*common, '--model', 'cifar_resnet8_v2_se', '--save-dir', tmp_path / 'name') == 0
    assert run_in_process(*common, '--blocks', 1, '--act-type', 'relu', '--attention', 'se',
                          '--save-dir', tmp_path / 'flags') == 0
    assert [json_of(tmp_path, folder, 'summary.json')['model'] for folder in ('name', 'flags')] == [
        'cifar_resnet8_v2_se'] * 2
    one, other = (metrics_of(tmp_path / folder)[-1] for folder in ('name', 'flags'))
    assert one['val_loss'] == other['val_loss'] and one['train_loss'] == other['train_loss']


def test_unreached_decay_epochs_give_a_warning(tmp_path, cifar10, caplog):
    short = '--data-dir', cifar10, '--blocks', 1, '--batch-size', 50, '--num-epochs', 2, '--dry-run', 1
    for decays, late in (('1,2,5', ['epoch 2', 'epoch 5']), ('0,1', [])):
        caplog.clear()
        assert run_in_process(*short, '--save-dir', tmp_path / decays, '--lr-decay-epoch', decays) == 0
        warnings = [record.getMessage() for record in caplog.records if record.levelname == 'WARNING']
        assert len(warnings) == bool(late)
        assert all(each in warning for warning in warnings for each in (*late, '--num-epochs 2'))
