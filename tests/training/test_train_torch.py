"""Both scripts with --engine torch give the results of MXNet's engine, with and without MXNet."""
import math
import os
import re
import shutil
import signal

import mxnet as mx
import numpy as np
import pytest

import openatac
import train_imagenet
from openatac import cli
from openatac.backends.base import Teacher
from openatac.export.forms.symbol_files import load_block
from openatac.models.weights import load_parameters
from openatac.zoo.names import HOSTS
from openatac.zoo.units import ACTIVATIONS
from openatac.zoo.weights.params_file import read_params, write_params
from tests.helpers.images.cifar_slice import write_slice
from tests.helpers.images.made_up_images import write_data_dir
from tests.helpers.networks.imagenet_hosts import shallow_resnet, teacher_flags  # noqa: F401  (a fixture)
from tests.helpers.processes.interrupted_runs import (
    BATCHES,
    EPOCHS,
    assert_same_outcome,
    checkpoint_names,
    flags,
    kill_often,
    signal_at_step,
)
from tests.helpers.processes.scripts import (
    error_line,
    json_of,
    log_of,
    metrics_of,
    run_in_process,
    run_script,
)

torch = pytest.importorskip('torch')
pytestmark = pytest.mark.usefixtures('one_torch_thread', 'shallow_resnet')

TORCH = '--engine', 'torch'
NUMBERS = re.compile(r'\d+(\.\d+)?(e-\d+)?')
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='PyTorch sees no GPU')


def assert_agree(row, expected, tolerance=1e-3):
    """Assert that metrics agree; a loss above 1, as with a teacher, may differ in proportion."""
    assert row.keys() == expected.keys()
    for name in row.keys() - {'images_per_second', 'best_accuracy'}:
        assert row[name] == pytest.approx(expected[name], rel=tolerance, abs=tolerance), name


def accuracy_of(text):
    return float(text.split('accuracy=')[1].split()[0])


# -------------------------------------- killed, stopped and resumed, with MXNet and without

@pytest.fixture(scope='module')
def start(tmp_path_factory):
    """The PREFIX of the initial files for the network of `tests.helpers.processes.interrupted_runs`."""
    prefix = tmp_path_factory.mktemp('start') / 'atac'
    assert run_in_process('--blocks', 1, '--act-layers', 1, '--useReLU', '--drop-rate', 0.1, '--seed', 3,
                          '--write-initial', prefix) == 0
    return str(prefix)


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory, cifar10):
    """The folder of an uninterrupted run, with MXNet installed."""
    folder = tmp_path_factory.mktemp('uninterrupted') / 'run'
    assert run_in_process(*flags(cifar10, folder, *TORCH)) == 0
    return str(folder)


@pytest.fixture
def copy(uninterrupted, tmp_path):
    """A copy of that folder."""
    return shutil.copytree(uninterrupted, str(tmp_path / 'copy'))


@pytest.mark.slow
def test_run_killed_at_random_points_resumes_to_the_same_bits(tmp_path, cifar10, uninterrupted):
    folder = tmp_path / 'run'
    kill_often(folder, 4, EPOCHS, flags(cifar10, folder, *TORCH))
    assert run_script(*flags(cifar10, folder, *TORCH)).returncode == 0
    assert_same_outcome(folder, uninterrupted)


def test_run_resumes_without_mxnet_to_the_same_bits(tmp_path, cifar10, uninterrupted, start, no_mxnet,
                                                    monkeypatch, capsys):
    signal_at_step(monkeypatch, BATCHES + 5, signal.SIGTERM)
    code = run_in_process(*flags(cifar10, tmp_path, *TORCH))
    assert code == 128 + signal.SIGTERM
    error = error_line(1, capsys.readouterr().err)
    assert 'SIGTERM' in error and '--resume auto' in error
    iteration = int(checkpoint_names(tmp_path)[-1])
    assert BATCHES < iteration < 2 * BATCHES, 'it was to stop within the epoch'
    result = run_script(*flags(cifar10, tmp_path, *TORCH, '--initial', start), path=no_mxnet)
    assert result.returncode == 0, result.stderr
    assert f'epoch 1, batch {iteration - BATCHES}' in result.stderr
    assert_same_outcome(tmp_path, uninterrupted)


@pytest.mark.slow  # the run above is without MXNet from its second epoch on
def test_run_without_mxnet_is_the_same_to_the_bit(tmp_path, cifar10, uninterrupted, start, no_mxnet):
    result = run_script(*flags(cifar10, tmp_path, *TORCH, '--initial', start), path=no_mxnet)
    assert result.returncode == 0, result.stderr
    assert_same_outcome(tmp_path, uninterrupted)
    assert json_of(tmp_path, 'settings.json')['blocks'] == 1        # the files specify it


def test_parameters_are_evaluated_without_mxnet(uninterrupted, cifar10, start, no_mxnet):
    best = json_of(uninterrupted, 'summary.json')['best_accuracy']
    result = run_script(*TORCH, '--initial', start, '--data-dir', cifar10, '--evaluate',
                        os.path.join(uninterrupted, 'best.params'), path=no_mxnet)
    assert result.returncode == 0, result.stderr
    assert accuracy_of(result.stderr) == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize('more, named', [
    ([], ['engine', "'torch'", "'mxnet'"]),
    ([*TORCH, '--tf32'], ['tf32', 'False', 'True']),
    ([*TORCH, '--compile'], ['compile', 'False', 'True']),
    ([*TORCH, '--dtype', 'bfloat16'], ['dtype', "'float32'", "'bfloat16'"])], ids=str)
def test_another_engine_does_not_resume_a_run(copy, cifar10, capsys, more, named):
    code = run_in_process(*flags(cifar10, copy, *more))
    error = error_line(code, capsys.readouterr().err)
    assert code == 1 and all(word in error for word in [*named, '--save-dir'])


def test_torch_does_not_resume_a_run_of_mxnet(tmp_path, cifar10, capsys):
    assert run_in_process(*flags(cifar10, tmp_path, '--num-epochs', 1)) == 0
    code = run_in_process(*flags(cifar10, tmp_path, '--num-epochs', 1, *TORCH))
    error = error_line(code, capsys.readouterr().err)
    assert code == 1 and all(word in error for word in ('engine', "'torch'", "'mxnet'", '--save-dir'))


def test_dry_run_leaves_no_run(tmp_path, cifar10, start):
    assert run_in_process(*flags(cifar10, tmp_path, *TORCH, '--initial', start, '--dry-run', 3)) == 0
    assert os.listdir(tmp_path) == ['train.log']


# The results of MXNet's engine, from trained parameters and at low rates, at which rounding does not grow.

def next_epoch(data, *more):
    """Return the flags of an epoch at a low learning rate."""
    return ('--data-dir', data, '--blocks', 1, '--useReLU', '--batch-size', 10, '--seed', 1, '--lr', 0.001,
            '--num-epochs', 1, *more)


@pytest.fixture(scope='module')
def trained(tmp_path_factory, cifar10):
    """Parameters after five epochs."""
    folder = tmp_path_factory.mktemp('trained')
    assert run_in_process(*next_epoch(cifar10, '--lr', 0.05, '--num-epochs', 5, '--save-dir', folder)) == 0
    return str(folder / 'last.params')


@pytest.fixture(scope='module')
def pair(tmp_path_factory, cifar10, trained):
    """{engine: folder of the following epoch}."""
    folders = {engine: str(tmp_path_factory.mktemp('next') / engine) for engine in ('mxnet', 'torch')}
    for engine, folder in folders.items():
        assert run_in_process(*next_epoch(cifar10, '--resume-from', trained, '--engine', engine,
                                          '--save-dir', folder)) == 0
    return folders


def test_epoch_agrees_with_mxnet(pair):
    row, expected = (metrics_of(pair[engine])[0] for engine in ('torch', 'mxnet'))
    assert expected['val_accuracy'] > 0.2       # it has learned something in five epochs
    assert_agree(row, expected)


def test_first_epoch_on_real_images_agrees_with_mxnet(shared_data, tmp_path):
    data = write_slice(shared_data, tmp_path / 'cifar-10-batches-bin', training=320, test=200)
    rows = []
    for engine in ('torch', 'mxnet'):
        assert run_in_process('--data-dir', data, '--save-dir', tmp_path / engine, '--blocks', 1,
                              '--useReLU', '--lr', 0.001, '--batch-size', 64, '--num-epochs', 1, '--seed', 1,
                              '--engine', engine) == 0
        rows += metrics_of(tmp_path / engine)
    assert_agree(*rows)


# --------------------------------------------------------------------------- files of a run

def test_run_writes_the_same_files_as_mxnet(pair):
    assert sorted(os.listdir(pair['torch'])) == sorted(os.listdir(pair['mxnet']))
    # Sorted, as a thread logs the data whenever it has read them; without the command.
    logs = [sorted(NUMBERS.sub('', line) for line in log_of(pair[engine]).splitlines()
                   if 'train_cifar.py' not in line) for engine in ('torch', 'mxnet')]
    assert logs[0] == logs[1]
    summary, expected = (json_of(pair[engine], 'summary.json') for engine in ('torch', 'mxnet'))
    assert summary.keys() == expected.keys()
    assert summary['versions'].keys() == expected['versions'].keys() - {'mxnet'} | {'torch'}
    assert summary['versions']['torch'] == torch.__version__ and summary['device'] == '1 x cpu'
    assert json_of(pair['torch'], 'settings.json')['engine'] == 'torch'


def test_parameters_load_in_mxnet(pair):
    net = openatac.get_model('cifar_resnet8_v2_atac', useReLU=True)
    load_parameters(net, os.path.join(pair['torch'], 'best.params'))
    ours, theirs = (read_params(os.path.join(pair[engine], 'best.params')) for engine in ('torch', 'mxnet'))
    assert {(name, array.shape, array.dtype) for name, array in ours.items()} == {
        (name, array.shape, array.dtype) for name, array in theirs.items()}


def test_each_engine_evaluates_the_others_parameters(pair, cifar10, tmp_path, capsys):
    half = str(tmp_path / 'float16.params')
    write_params(half, {name: array.astype('float16') for name, array in read_params(
        os.path.join(pair['torch'], 'best.params')).items()})
    for maker, path in [*((maker, os.path.join(folder, 'best.params')) for maker, folder in pair.items()),
                        ('torch', half)]:
        best = json_of(pair[maker], 'summary.json')['best_accuracy']
        for engine in pair:
            assert run_in_process(*next_epoch(cifar10, '--engine', engine, '--evaluate', path)) == 0
            accuracy = accuracy_of(capsys.readouterr().err)
            assert accuracy == pytest.approx(best, abs=0.02 if path == half else 1e-6), (path, engine)


def test_run_starts_from_a_float16_file(trained, cifar10, tmp_path):
    half = str(tmp_path / 'float16.params')
    write_params(half, {name: array.astype('float16') for name, array in read_params(trained).items()})
    assert run_in_process(*next_epoch(cifar10, *TORCH, '--lr', 1e-9, '--resume-from', half,
                                      '--save-dir', tmp_path)) == 0
    last = read_params(str(tmp_path / 'last.params'))
    for name, array in read_params(half).items():
        assert last[name].dtype == np.float32
        if 'running' not in name:
            np.testing.assert_allclose(last[name], array.astype('float32'), atol=1e-6)


def test_best_network_is_exported(pair, tmp_path):
    out = str(tmp_path / 'net')
    assert cli.main(['export', pair['torch'], out]) == 0
    net = openatac.get_model('cifar_resnet8_v2_atac', useReLU=True)
    net.load_parameters(os.path.join(pair['torch'], 'best.params'))
    images = mx.nd.random.normal(shape=(2, 3, 32, 32))
    np.testing.assert_allclose(load_block(out)(images).asnumpy(), net(images).asnumpy(), 1e-4, 1e-5)


def test_bfloat16_learns(cifar10, tmp_path):
    assert run_in_process(*next_epoch(cifar10, '--lr', 0.05, '--num-epochs', 5, '--dtype', 'bfloat16', *TORCH,
                                      '--save-dir', tmp_path)) == 0
    row = metrics_of(tmp_path)[-1]
    assert row['train_accuracy'] > 0.2 and math.isfinite(row['val_loss'])
    assert all(array.dtype == np.float32 for array in read_params(str(tmp_path / 'last.params')).values())


# ---------------------------------------------------------------------------- refused input

@pytest.mark.parametrize('file, content, named', [
    ('-symbol.json', None, 'atac-symbol.json'),
    ('-symbol.json', 'half', 'atac-symbol.json'),
    ('-symbol.json', b'[]', 'atac-symbol.json'),
    ('-0000.params', None, 'atac-0000.params'),
    ('-0000.params', 'half', 'atac-0000.params'),
    ('-0000.params', 'foreign', 'features.0.beta'),
])
def test_missing_damaged_or_foreign_initial_files_are_named(tmp_path, cifar10, start, capsys, file, content,
                                                            named):
    shutil.copytree(os.path.dirname(start), tmp_path / 'start')
    path = tmp_path / 'start' / ('atac' + file)
    if content is None:
        path.unlink()
    elif content == 'half':
        path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])
    elif content == 'foreign':
        write_params(str(path), {name + 'x': array for name, array in read_params(str(path)).items()})
    else:
        path.write_bytes(content)
    code = run_in_process(*flags(cifar10, tmp_path / 'run', *TORCH, '--initial', tmp_path / 'start' / 'atac'))
    error = error_line(code, capsys.readouterr().err)
    assert code == 1 and named in error
    assert not os.path.exists(tmp_path / 'run' / 'checkpoints')


def test_initial_files_choose_the_data_set(tmp_path, cifar10):
    """They do so even if files of the default data set are given."""
    pytest.importorskip('sklearn')
    prefix = tmp_path / 'digits'
    assert run_in_process('--recipe', 'digits', '--act-layers', 1, '--write-initial', prefix) == 0
    assert run_in_process(*TORCH, '--initial', prefix, '--data-dir', cifar10, '--save-dir', tmp_path / 'run',
                          '--dry-run', 1) == 0
    assert '1437 training and 360 test images' in log_of(tmp_path / 'run')


def test_initial_files_contain_the_values_they_were_written_with(tmp_path, cifar10, start):
    """The file from which the values came may be gone."""
    values = read_params(start + '-0000.params')
    values['output.bias'] = np.arange(10, dtype='float32')
    write_params(str(tmp_path / 'x.params'), values)
    network = '--blocks', 1, '--act-layers', 1, '--useReLU', '--drop-rate', 0.1, '--seed', 3
    assert run_in_process(*network, '--resume-from', tmp_path / 'x.params',
                          '--write-initial', tmp_path / 'x') == 0
    os.remove(tmp_path / 'x.params')
    assert run_in_process('--data-dir', cifar10, '--save-dir', tmp_path / 'run', '--num-epochs', 1,
                          '--lr', 1e-9, '--batch-size', 50, *TORCH, '--initial', tmp_path / 'x') == 0
    last = read_params(str(tmp_path / 'run' / 'last.params'))
    np.testing.assert_allclose(last['output.bias'], np.arange(10), atol=1e-5)


def test_float16_needs_a_gpu(tmp_path, cifar10, capsys):
    code = run_in_process(*flags(cifar10, tmp_path, *TORCH, '--dtype', 'float16'))
    assert code == 1 and '--dtype float16' in error_line(code, capsys.readouterr().err)


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_log_names_the_missing_gpu_and_the_cpu(tmp_path, cifar10):
    assert run_in_process(*flags(cifar10, tmp_path, *TORCH, '--gpus', 0, '--dry-run', 1)) == 0
    line, = (line for line in log_of(tmp_path).splitlines() if 'running on' in line)
    assert 'CPU' in line and 'GPU 0' in line


# train_imagenet.py.

PHOTOS = ('--r', 2, '--num-classes', 2, '--input-size', 32, '--batch-size', 4, '--seed', 1, '-j', 0,
          '--lr', 1e-5, '--num-epochs', 2, '--log-interval', 2, '--save-frequency', 1)
RECIPE = '--last-gamma', '--no-wd', '--label-smoothing'


def photo_flags(folder, data, *more):
    return ('--data-dir', data, *PHOTOS, *RECIPE, '--save-dir', folder, '--logging-file', folder + '.log',
            *more)


def imagenet(folder, data, *more):
    """Train in this process; return the folder."""
    folder = str(folder)
    assert run_in_process(*photo_flags(folder, data, *more), script=train_imagenet) == 0
    return folder


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    """A --data-dir with 12 training and 6 validation photographs in 2 classes."""
    return write_data_dir(tmp_path_factory.mktemp('photos'))


@pytest.fixture(scope='module')
def runs(tmp_path_factory, photos):
    """{engine: folder of a run of two epochs}."""
    return {engine: imagenet(tmp_path_factory.mktemp('imagenet') / engine, photos, '--engine', engine)
            for engine in ('mxnet', 'torch')}


def published_log(folder):
    """Return the log lines in the published format, without their numbers."""
    with open(folder + '.log', encoding='utf-8') as handle:
        return [NUMBERS.sub('', line) for line in handle if 'Epoch' in line]


def test_run_on_photographs_matches_metrics_log_and_files_of_mxnet(runs):
    for row, expected in zip(metrics_of(runs['torch']), metrics_of(runs['mxnet'])):
        assert_agree(row, expected)
    assert published_log(runs['torch']) == published_log(runs['mxnet'])
    assert len(published_log(runs['torch'])) == 8       # one line within each epoch, three after it
    assert sorted(os.listdir(runs['torch'])) == sorted(os.listdir(runs['mxnet']))


@pytest.mark.parametrize('maker, engine', [('mxnet', 'torch'), ('torch', 'mxnet')])
def test_published_resume_flags_accept_files_of_the_other_engine(runs, photos, tmp_path, maker, engine):
    stem = os.path.join(runs[maker], 'imagenet-resnet50_v1b_atac-0')
    folder = imagenet(tmp_path / 'run', photos, '--engine', engine, '--save-frequency', 0,
                      '--resume-epoch', 1, '--resume-params', stem + '.params',
                      '--resume-states', stem + '.states')
    row, = metrics_of(folder)
    assert_agree(row, metrics_of(runs[maker])[1])


def test_file_without_optimizer_states_is_refused(runs, photos, tmp_path, capsys):
    params = os.path.join(runs['mxnet'], 'last.params')
    code = run_in_process(*photo_flags(str(tmp_path / 'run'), photos, *TORCH, '--resume-states', params),
                          script=train_imagenet)
    error = error_line(code, capsys.readouterr().err)
    assert code == 1 and params in error


def test_both_engines_report_the_same_errors(runs, photos, capsys):
    found = []
    for engine in ('mxnet', 'torch'):
        assert run_in_process('--data-dir', photos, *PHOTOS, '--engine', engine, '--evaluate',
                              os.path.join(runs['torch'], 'last.params'), script=train_imagenet) == 0
        found.append(re.search(r'err-top1=.* err-top5=[\d.]+', capsys.readouterr().err)[0])
    assert found[0] == found[1]
    assert f"err-top1={1 - metrics_of(runs['torch'])[-1]['val_accuracy']:f}" in found[0]


def test_mixup_and_teacher_give_the_metrics_of_mxnet(photos, tmp_path):
    more = ('--mixup', *teacher_flags(tmp_path / 'teacher.params'), '--num-epochs', 1,
            '--save-frequency', 0)
    rows = [metrics_of(imagenet(tmp_path / engine, photos, *more, '--engine', engine))[0]
            for engine in ('torch', 'mxnet')]
    assert 0 < rows[0]['train_rmse'] < 1
    assert_agree(*rows)


def test_teacher_is_compatible_with_bfloat16(photos, tmp_path):
    folder = imagenet(tmp_path / 'run', photos, *TORCH, '--dtype', 'bfloat16',
                      *teacher_flags(tmp_path / 'teacher.params'), '--dry-run', 1)
    assert os.listdir(folder) == []


def test_run_on_photographs_without_mxnet_is_the_same_to_the_bit(runs, photos, tmp_path, no_mxnet):
    prefix, folder = str(tmp_path / 'start'), str(tmp_path / 'run')
    these = photo_flags(folder, photos, *TORCH)
    assert run_in_process(*these, '--write-initial', prefix, script=train_imagenet) == 0
    result = run_script(*these, '--initial', prefix, '-j', 1, script='train_imagenet.py', path=no_mxnet)
    assert result.returncode == 0, result.stderr
    ours, theirs = (read_params(os.path.join(where, 'last.params')) for where in (folder, runs['torch']))
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not np.array_equal(ours[name], theirs[name])] == []


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_photographs_without_a_gpu_get_the_command_for_the_cpu(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = run_in_process(*photo_flags('run', photos, *TORCH, '--num-gpus', 1), script=train_imagenet)
    error = error_line(code, capsys.readouterr().err)
    assert code == 1 and 'GPU 0' in error
    command = error.split('train_imagenet.py ')[-1].split()
    args = train_imagenet.parser().parse_args(command)
    assert (args.engine, args.num_gpus, args.dtype) == ('torch', 0, 'float32')


# ------------------------------------------------------------- together with other commands

@pytest.mark.slow  # test_compare.py rehearses one with MXNet
def test_comparison_is_rehearsed(tmp_path, cifar10, capfd):
    """Run the documented command for the paper's figure with one unit, one seed and the smallest network."""
    assert cli.main(['compare', str(tmp_path / 'full'), '--units', 'atac_global', '--blocks', '1',
                     '--seeds', '1', '--recipe', 'cifar10_atac', '--dry-run', '1',
                     '--', *TORCH, '--gpus', '0', '--batch-size', '32', '--data-dir', cifar10]) == 0
    assert 'b1-atac_global-seed1' in capfd.readouterr().out and not (tmp_path / 'full').exists()


# --------------------------------------------------------------------------------- on a GPU

@pytest.mark.gpu
@on_gpu
def test_epoch_on_a_gpu_agrees_with_mxnet(pair, trained, cifar10, tmp_path):
    assert run_in_process(*next_epoch(cifar10, *TORCH, '--gpus', 0, '--resume-from', trained,
                                      '--save-dir', tmp_path)) == 0
    assert_agree(metrics_of(tmp_path)[0], metrics_of(pair['mxnet'])[0], 1.5 / 20)
    assert json_of(tmp_path, 'summary.json')['device'] == '1 x gpu'


# ------------------------------------------------------------------------ PyTorch-only units

def test_pytorch_only_unit_trains_beside_mxnet(cifar10, tmp_path):
    openatac.register_activation('hardtanh', None, torch_factory=lambda channels: torch.nn.Hardtanh())
    try:
        assert run_in_process('--data-dir', cifar10, *TORCH, '--act-type', 'hardtanh', '--blocks', 1,
                              '--batch-size', 50, '--num-epochs', 1, '--lr', 0.01,
                              '--save-dir', tmp_path) == 0
    finally:
        ACTIVATIONS.unregister('hardtanh')
    assert json_of(tmp_path, 'summary.json')['model'] == 'cifar_resnet8_v2_hardtanh'


def test_bundled_teachers_have_weights():
    bundled = Teacher('cifar_resnet8_v2_atac', None, 10).with_weights()
    assert os.path.isfile(bundled.params)
    assert bundled._replace(params='x').with_weights().params == 'x'
    assert Teacher('resnet50_v1', None, 10).with_weights().params is None


# ------------------------------------------------------------------------ user-defined hosts

class OwnHost(torch.nn.Module):
    """A host with PyTorch's own BatchNorm, and with names that Gluon's lacks."""

    def __init__(self, classes, act_type):
        super().__init__()
        self.features = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
        self.output = torch.nn.Linear(4, classes)

    def forward(self, x):
        return self.output(self.features(x).mean((2, 3)))


def own_gluon_host(classes, act_type):
    net = mx.gluon.nn.HybridSequential()
    net.add(mx.gluon.nn.Conv2D(4, 3), mx.gluon.nn.GlobalAvgPool2D(), mx.gluon.nn.Dense(classes))
    return net


@pytest.mark.parametrize('gluon, flags, named', [
    (None, ['--freeze', 'features.*'], r'features.1 is a BatchNorm2d.*openatac\.pytorch\.BatchNorm'),
    (own_gluon_host, [], 'different parameters, such as 0.bias')])
def test_mismatched_host_is_refused(cifar10, tmp_path, capsys, gluon, flags, named):
    openatac.register_host('own', gluon, torch_factory=OwnHost)
    try:
        code = run_in_process('--data-dir', cifar10, *TORCH, '--model', 'own_relu', *flags,
                              '--batch-size', 50, '--num-epochs', 1, '--save-dir', tmp_path / 'run')
    finally:
        HOSTS.unregister('own')
    assert code in (1, 2) and re.search(named, capsys.readouterr().err)
