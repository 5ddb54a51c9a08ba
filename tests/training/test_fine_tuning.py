"""Fine-tuning by flags: --pretrained, --freeze and --head-lr-mult of both scripts and engines."""
import functools
import importlib.util
import os
import shutil

import numpy as np
import pytest

import train_imagenet
from openatac import get_model
from openatac.files.mxnet_arrays import read_params, write_params
from openatac.models.fine_tuning import freeze
from tests.helpers.images.made_up_images import write_cifar, write_data_dir
from tests.helpers.learners.mxnet_learner import use_two_devices
from tests.helpers.networks.parameters import parameters_of
from tests.helpers.networks.safetensors import write_safetensors
from tests.helpers.processes.interrupted_runs import assert_same_outcome, drop_last_checkpoint
from tests.helpers.processes.scripts import (
    json_of,
    log_of,
    metrics_of,
    run_in_process,
    run_script,
    script_error,
)

pytestmark = pytest.mark.usefixtures('isolated_cwd', 'one_torch_thread_if_there')
ENGINES = pytest.mark.parametrize('engine', ['mxnet', pytest.param('torch', marks=pytest.mark.skipif(
    importlib.util.find_spec('torch') is None, reason='needs PyTorch'))])
STATISTICS = ('running_mean', 'running_var')


@pytest.fixture(scope='module')
def one_torch_thread_if_there(request):
    if importlib.util.find_spec('torch'):
        request.getfixturevalue('one_torch_thread')


def flags(data, folder, *more):
    """Return flags for two epochs of 2 batches, with a checkpoint after each."""
    return ('--data-dir', data, '--save-dir', folder, '--model', 'cifar_resnet8_v2_atac', '--batch-size', 10,
            '--num-epochs', 2, '--lr', 0.05, '--seed', 3, *more)


@pytest.fixture(scope='module')
def few(tmp_path_factory):
    """A folder of 20 training and 4 test images."""
    return write_cifar(tmp_path_factory.mktemp('few') / 'cifar-10-batches-bin', images=4)


@pytest.fixture(scope='module')
def pretrained(tmp_path_factory, few):
    """A function pretrained(unit) that returns the parameter file of a run of one epoch."""
    @functools.cache
    def train(unit):
        folder = tmp_path_factory.mktemp('pretrained') / unit
        assert run_in_process(*flags(few, folder, '--model', f'cifar_resnet8_v2_{unit}', '--num-epochs',
                                     1)) == 0
        return str(folder / 'last.params')

    return train


def fewer_classes(path, other):
    """Copy parameters as if from a network with 4 classes."""
    arrays = read_params(path)
    write_params(other, {name: array[:4] if name.startswith('output.') else array
                         for name, array in arrays.items()})
    return other


# ----------------------------------------------------------------------------- --pretrained

@ENGINES
def test_trunk_is_loaded_and_the_head_is_drawn_from_the_seed(pretrained, few, engine):
    """At a tiny learning rate, the values stay close to the loaded ones."""
    start = fewer_classes(pretrained('atac'), 'start.params')
    for folder, seed in (('one', 3), ('again', 3), ('other', 4)):
        assert run_in_process(*flags(few, folder, '--pretrained', start, '--engine', engine, '--lr', 1e-9,
                                     '--num-epochs', 1, '--seed', seed)) == 0
    one, again, other = (read_params(f'{folder}/last.params') for folder in ('one', 'again', 'other'))
    for name, array in read_params(start).items():
        if name.startswith('output.'):
            assert (one[name] == again[name]).all() and one[name].shape[0] == 10
        elif not name.endswith(STATISTICS):
            np.testing.assert_allclose(one[name], array, atol=1e-6)
    assert (one['output.weight'] != other['output.weight']).any()
    line, = [line for line in log_of('one').splitlines() if 'output.weight' in line]
    assert all(word in line for word in (start, '111', 'output.weight', 'output.bias', '(10, 64)', '(4, 64)'))
    assert json_of('one', 'settings.json')['pretrained'] == start


@ENGINES
def test_head_of_the_same_size_is_loaded(pretrained, few, engine):
    for flag in ('--pretrained', '--resume-from'):
        assert run_in_process(*flags(few, flag[2:], flag, pretrained('atac'), '--num-epochs', 1,
                                     '--engine', engine)) == 0
    one, other = (read_params(f'{folder}/last.params') for folder in ('pretrained', 'resume-from'))
    assert all((one[name] == other[name]).all() for name in one)


def test_pytorch_file_starts_a_run(pretrained, few):
    write_safetensors('start.safetensors', read_params(pretrained('atac')))
    for folder, start in (('params', pretrained('atac')), ('safetensors', 'start.safetensors')):
        assert run_in_process(*flags(few, folder, '--pretrained', start, '--num-epochs', 1)) == 0
    one, other = (read_params(f'{folder}/last.params') for folder in ('params', 'safetensors'))
    assert all((one[name] == other[name]).all() for name in one)


def test_images_keep_the_size_of_the_pretraining(tmp_path, few):
    photos = write_data_dir(tmp_path / 'photos')
    these = ('--dataset', 'folder', '--data-dir', photos, '--blocks', 1, '--num-epochs', 1, '--batch-size', 4)
    assert run_in_process(*these, '--image-size', 16, '--save-dir', 'small') == 0
    tuned = (*these, '--pretrained', 'small/last.params', '--save-dir')
    for size, given in ((16, ()), (24, ('--image-size', 24))):
        assert run_in_process(*tuned, f'at {size}', *given) == 0
        assert json_of(f'at {size}', 'settings.json')['image_size'] == size
    assert run_in_process(*flags(few, 'cifar', '--pretrained', 'small/last.params',
                                 '--num-epochs', 1)) == 0


@pytest.mark.usefixtures('shallow_resnet')
@ENGINES
def test_photographs_with_other_classes_are_fine_tuned(tmp_path, engine):
    photos = write_data_dir(tmp_path / 'photos')
    these = ('--data-dir', photos, '--input-size', 32, '--batch-size', 4, '-j', 0, '--num-epochs', 1,
             '--logging-file', 'log', '--engine', engine)
    assert run_in_process(*these, '--save-dir', 'two', script=train_imagenet) == 0
    arrays = read_params('two/last.params')
    write_params('one.params', {name: array[:1] if name.startswith('fc.') else array
                                for name, array in arrays.items()})
    assert run_in_process(*these, '--save-dir', 'tuned', '--pretrained', 'one.params', '--freeze',
                          'layer?.*,conv1.*,bn1.*', '--head-lr-mult', 10, script=train_imagenet) == 0
    tuned = read_params('tuned/last.params')
    for name, array in arrays.items():
        assert (tuned[name] == array).all() != name.startswith('fc.'), name
    assert tuned['fc.weight'].shape == (2, 256)


def assert_names_the_remedy(error, path):
    assert all(word in error for word in (path, '--pretrained', 'pretrained='))


@pytest.mark.parametrize('flag', ['--resume-from', '--evaluate'])
def test_strict_loading_names_the_flag(pretrained, few, capsys, flag):
    path = fewer_classes(pretrained('atac'), 'start.params')
    assert_names_the_remedy(script_error(capsys, 1, *flags(few, 'run', flag, path)), path)


@pytest.mark.usefixtures('shallow_resnet')
def test_strict_loading_of_photographs_names_the_flag(tmp_path, capsys):
    photos = write_data_dir(tmp_path / 'photos')
    these = ('--data-dir', photos, '--input-size', 32, '--batch-size', 4, '-j', 0, '--save-dir', 'run',
             '--logging-file', 'log')
    assert run_in_process(*these, '--num-classes', 5, '--write-initial', 'net', script=train_imagenet) == 0
    path = 'net-0000.params'
    assert_names_the_remedy(
        script_error(capsys, 1, *these, '--resume-params', path, script=train_imagenet), path)


def test_another_network_is_refused(pretrained, few, capsys):
    shutil.copy(pretrained('relu'), 'relu.params')
    for given, named in (('relu.params', 'features.2.0.msAA1'), ('none.params', 'none.params'),
                         ('cifar_resnet20_v2_atac', 'cifar_resnet8_v2_atac')):
        error = script_error(capsys, 2 if given == 'cifar_resnet20_v2_atac' else 1,
                             *flags(few, 'run', '--pretrained', given))
        assert given in error and named in error


@pytest.mark.parametrize('flag', ['--resume-from', '--evaluate'])
def test_only_one_start_file_is_accepted(pretrained, few, capsys, flag):
    path = pretrained('atac')
    error = script_error(capsys, 2, *flags(few, 'run', '--pretrained', path, flag, path))
    assert '--pretrained' in error and flag in error


# ---------------------------------------------------------------- --freeze and --head-lr-mult

def tune(data, folder, start, *more, unit='atac'):
    assert run_in_process(*flags(data, folder, '--model', f'cifar_resnet8_v2_{unit}', '--pretrained', start,
                                 *more)) == 0
    return read_params(f'{folder}/last.params')


@ENGINES
@pytest.mark.parametrize('unit', ['atac', 'relu'])
def test_frozen_parameters_keep_their_values(pretrained, few, unit, engine):
    """Running statistics are frozen too."""
    before = read_params(pretrained(unit))
    after = tune(few, 'run', pretrained(unit), '--freeze', 'features.*', '--num-epochs', 1, '--engine',
                 engine, unit=unit)
    for name, array in before.items():
        assert (after[name] == array).all() == name.startswith('features.'), name


@ENGINES
def test_globs_choose_parameters(pretrained, few, engine):
    """A BatchNorm with only its gamma frozen still updates its running statistics."""
    before = read_params(pretrained('atac'))
    after = tune(few, 'run', pretrained('atac'), '--freeze', 'features.[01].*,features.2.*.gamma',
                 '--engine', engine, '--num-epochs', 1)
    trained_as_well = before.keys() - {'features.0.gamma', 'features.0.beta'}  # no network trains it
    for name in trained_as_well:
        is_frozen = name.startswith(('features.0.', 'features.1.')) or (
            name.startswith('features.2.') and name.endswith('.gamma'))
        assert (after[name] == before[name]).all() == is_frozen, name


@pytest.mark.parametrize('unit', ['atac', 'relu', 'se', 'atac_global'])
def test_engines_agree(pretrained, few, unit):
    """The learning rate is low, since rounding errors grow at higher ones."""
    pytest.importorskip('torch')
    rows, ends = [], []
    for engine in ('mxnet', 'torch'):
        ends.append(tune(few, engine, pretrained(unit), '--freeze', 'features.[0-3].*', '--head-lr-mult', 5,
                         '--lr', 0.001, '--num-epochs', 1, '--engine', engine, unit=unit))
        rows += metrics_of(engine)
    for name in ('train_loss', 'val_loss'):
        assert rows[0][name] == pytest.approx(rows[1][name], rel=1e-3)
    for name, array in ends[0].items():
        np.testing.assert_allclose(ends[1][name], array, atol=1e-3 * max(1, abs(array).max()))


@ENGINES
def test_head_has_its_own_learning_rate(pretrained, few, engine):
    """With all else frozen, ten times the factor equals ten times the learning rate."""
    these = '--freeze', 'features.*', '--engine', engine, '--num-epochs', 1
    one = tune(few, 'factor', pretrained('atac'), *these, '--head-lr-mult', 10, '--lr', 0.001)
    other = tune(few, 'rate', pretrained('atac'), *these, '--lr', 0.01)
    for name in ('output.weight', 'output.bias'):
        np.testing.assert_allclose(one[name], other[name], rtol=1e-4, atol=1e-6)


@ENGINES
@pytest.mark.parametrize('unit', ['atac', 'relu'])
def test_resumed_run_is_exact(pretrained, few, unit, engine):
    these = '--freeze', 'features.[0-2].*', '--head-lr-mult', 10, '--engine', engine, '--drop-rate', 0.1
    start = fewer_classes(pretrained(unit), 'start.params')
    tune(few, 'whole', start, *these, unit=unit)
    shutil.copytree('whole', 'again')
    drop_last_checkpoint('again')
    tune(few, 'again', start, *these, '--resume', 'auto', unit=unit)
    assert_same_outcome('again', 'whole')


def test_changed_fine_tuning_settings_do_not_resume(few, capsys):
    these = flags(few, 'run', '--num-epochs', 1, '--freeze', 'features.*')
    assert run_in_process(*these) == 0
    for more, named in ((['--freeze', 'features.0.*'], 'freeze'), (['--head-lr-mult', 2], 'head_lr_mult')):
        assert named in script_error(capsys, 1, *these, *more, '--resume', 'auto')


def test_refused_pattern_freezes_nothing():
    net = get_model('cifar_resnet8_v2_relu')
    with pytest.raises(ValueError, match=r'output\.weight.*output\.bias'):
        freeze(net, 'features.*,output.weight')
    assert {parameter.grad_req for name, parameter in parameters_of(net).items()
            if name.endswith('weight')} == {'write'}


def test_run_without_mxnet_freezes_the_parameters_named_in_its_files(pretrained, few, no_mxnet):
    """It also starts from the values in these files."""
    pytest.importorskip('torch')
    these = '--freeze', 'features.*', '--head-lr-mult', 10, '--pretrained', pretrained('atac')
    assert run_in_process(*flags(few, 'with', *these, '--engine', 'torch')) == 0
    assert run_in_process(*flags(few, 'x', *these, '--write-initial', 'start')) == 0
    result = run_script('--data-dir', few, '--save-dir', 'without', '--batch-size', 10, '--num-epochs', 2,
                        '--lr', 0.05, '--initial', 'start', '--engine', 'torch', path=no_mxnet)
    assert result.returncode == 0, result.stderr
    one, other = (read_params(f'{folder}/last.params') for folder in ('with', 'without'))
    assert all((one[name] == other[name]).all() for name in one)


def test_frozen_parameters_keep_their_values_on_two_devices(pretrained, few, monkeypatch):
    use_two_devices(monkeypatch)
    before = read_params(pretrained('atac'))
    after = tune(few, 'whole', pretrained('atac'), '--freeze', 'features.*')
    for name, array in before.items():
        assert (after[name] == array).all() == name.startswith('features.'), name
    shutil.copytree('whole', 'again')
    drop_last_checkpoint('again')
    tune(few, 'again', pretrained('atac'), '--freeze', 'features.*', '--resume', 'auto')
    assert_same_outcome('again', 'whole')


@pytest.mark.parametrize('more, named', [
    (['--freeze', 'feature.*'], ['--freeze', "'feature.*'", 'features.']),
    (['--freeze', 'features.*,outputs.*'], ['--freeze', "'outputs.*'", 'output.']),
    (['--freeze', '*'], ['--freeze', "'*'", 'features.*']),
    (['--freeze', 'features.*,output.*'], ['--freeze', 'features.*']),
    (['--freeze', '*.weight'], ['--freeze', 'output.weight', 'output.bias']),
    (['--freeze', ''], ['--freeze']),
    (['--freeze', 'output.*', '--head-lr-mult', 2], ['--head-lr-mult', 'output']),
    (['--head-lr-mult', 0], ['--head-lr-mult', '0']),
    (['--head-lr-mult', 'nan'], ['--head-lr-mult', 'nan'])], ids=lambda value: ' '.join(map(str, value)))
def test_mismatched_patterns_and_factors_are_refused(few, capsys, more, named):
    error = script_error(capsys, 2, *flags(few, 'run', *more))
    assert all(word in error for word in named) and not os.path.exists('run')
