"""--write-initial and --dry-run, and what --engine torch and --initial refuse before they need PyTorch."""
import importlib.util
import os
import re
import shutil

import mxnet as mx
import numpy as np
import pytest

import train_cifar
import train_imagenet
from openatac.models.cifar_resnet import ResNet20V2ATAC
from openatac.models.weights import initialize_parameters, load_parameters, read_arrays
from openatac.options.command_line import from_arguments
from openatac.runtime.libraries import mxnet_missing
from openatac.training.config import CifarConfig
from openatac.training.networks.initial_files import read_initial_network
from tests.helpers.commands import call_command
from tests.helpers.imagenet_hosts import (
    shallow_resnet,  # noqa: F401  (a fixture)
    small_network,  # noqa: F401  (a fixture)
)
from tests.helpers.parameters import parameters_of
from tests.helpers.scripts import call_script, json_of, refusal, run_script, the_error

NETWORK = '--blocks', 1, '--act-layers', 1, '--useReLU', '--seed', 3
pytestmark = pytest.mark.usefixtures('elsewhere')
SCRIPTS = pytest.mark.parametrize('script', [train_cifar, train_imagenet], ids=['cifar', 'imagenet'])


@pytest.fixture
def refused(capsys):
    """refused(code, script, *flags): the sentence with which it ends with that code, leaving nothing."""
    def check(code, script, *flags):
        error = refusal(capsys, code, *flags, script=script)
        assert not os.listdir()
        return error

    return check


# -------------------------------------------------------------- what --write-initial writes

@pytest.fixture(scope='module')
def start(tmp_path_factory):
    """The PREFIX of a CIFAR network's initial files."""
    prefix = tmp_path_factory.mktemp('start') / 'not there yet' / 'atac'
    assert call_script(*NETWORK, '--write-initial', prefix) == 0
    return str(prefix)


def test_the_initial_values_are_those_of_a_run(start):
    net, values = ResNet20V2ATAC([1] * 3, act_layers=1, useReLU=True), read_arrays(start + '-0000.params')
    initialize_parameters(net, 3, [mx.cpu()])
    net(mx.nd.zeros((1, 3, 32, 32)))
    for name, parameter in parameters_of(net).items():
        assert np.array_equal(values[name].asnumpy(), parameter.data().asnumpy()), name
    load_parameters(net, start + '-0000.params')    # and there are no others


def test_the_files_tell_of_what_flags_they_were_made(start):
    told = json_of(start + '-flags.json')
    assert told['model'] == 'cifar_resnet8_v2_atac'
    assert {'blocks': 1, 'act_layers': 1, 'useReLU': True, 'seed': 3, 'dataset': 'cifar10'}.items() <= \
        told['flags'].items()
    assert sorted(os.listdir(os.path.dirname(start))) == [
        'atac-0000.params', 'atac-flags.json', 'atac-symbol.json']


def test_the_written_values_may_come_from_a_file(start):
    values = read_arrays(start + '-0000.params')
    values['output.bias'][:] = 7
    mx.nd.save('trained.params', {name: array.astype('float16') for name, array in values.items()})
    assert call_script(*NETWORK, '--resume-from', 'trained.params', '--write-initial', 'trained') == 0
    written = read_arrays('trained-0000.params')
    assert written['output.bias'].dtype == np.float32 and (written['output.bias'] == 7).asnumpy().all()


@pytest.mark.usefixtures('shallow_resnet')
def test_the_imagenet_script_writes_its_network():
    assert call_script('--r', 2, '--num-classes', 2, '--input-size', 32, '--last-gamma', '--write-initial',
                       'atac', script=train_imagenet) == 0
    values = read_arrays('atac-0000.params')
    assert values['fc.weight'].shape == (2, 256) and not values['layer1.0.bn3.gamma'].asnumpy().any()
    assert json_of('atac-flags.json')['model'] == 'resnet50_v1b_atac'


# -------------------------------------------------------------------------- what it refuses

@pytest.mark.parametrize('place', ['file/atac', 'folder/atac', 'folder/other'])
def test_a_place_that_cannot_be_written(place, capsys):
    os.makedirs('folder/atac-symbol.json')      # in the way of the second file
    os.makedirs('folder/other-flags.json')      # and of the last
    with open('file', 'w'):
        pass
    error = the_error(call_script(*NETWORK, '--write-initial', place), capsys.readouterr().err)
    assert place in error
    assert not os.path.isfile(place + '-flags.json') and os.listdir('folder/atac-symbol.json') == []


def test_files_that_were_written_in_part_are_no_network(start, capsys):
    folder = os.path.dirname(start)
    shutil.copytree(folder, 'folder')
    os.remove('folder/atac-symbol.json')
    os.mkdir('folder/atac-symbol.json')
    assert call_script('--write-initial', 'folder/atac', '--blocks', 1, '--seed', 4) == 1
    capsys.readouterr()
    code = call_script('--engine', 'torch', '--initial', 'folder/atac')
    assert code == 1 and 'atac-flags.json' in the_error(code, capsys.readouterr().err)


@SCRIPTS
def test_without_mxnet_nothing_is_written(script, no_mxnet):
    result = run_script('--write-initial', 'atac', script=os.path.basename(script.__file__), path=no_mxnet)
    assert the_error(result.returncode, result.stderr) == 'error: ' + mxnet_missing()
    assert result.returncode == 1 and not os.listdir()


# -------------------------------------------------------------- what --engine torch refuses

TORCH = '--engine', 'torch'
CIFAR_ONLY = [
    (['--syncbn'], '--syncbn: it is for --engine torch'),
]
IMAGENET_ONLY = [
    (['--kvstore', 'dist_sync', *TORCH], '--kvstore: dist_sync is for --engine mxnet'),
]
BOTH = [
    (['--tf32'], '--tf32: it is for --engine torch'),
    (['--compile'], '--compile: it is for --engine torch'),
    (['--initial', 'x'], '--initial: it is for --engine torch'),
    (['--dtype', 'bfloat16'], '--dtype: bfloat16 is for --engine torch'),
    (['--mode', 'imperative', *TORCH], '--mode: imperative is for --engine mxnet'),
    (['--syncbn', '--compile', *TORCH], '--compile'),
    (['--summary', '--initial', 'x', *TORCH], '--initial: --summary'),
    (['--write-initial', 'y', '--initial', 'x', *TORCH], '--initial: --summary'),
    (['--engine', 'jax'], "--engine: invalid choice: 'jax'"),
]


@pytest.mark.parametrize('script, flags, sentence', [
    *[(train_cifar, *case) for case in BOTH + CIFAR_ONLY],
    *[(train_imagenet, *case) for case in BOTH + IMAGENET_ONLY]])
def test_flags_that_the_engine_does_not_have(refused, script, flags, sentence):
    assert sentence in refused(2, script, *flags)


@SCRIPTS
@pytest.mark.skipif(importlib.util.find_spec('torch') is None, reason='needs PyTorch')
def test_one_process_has_no_statistics_to_share(refused, script):
    assert '--syncbn: ' in refused(2, script, '--syncbn', *TORCH)


def test_the_command_that_only_tests_has_no_bfloat16(capsys):
    mx.nd.save('x.params', {})
    assert call_command('evaluate-imagenet', 'x.params', '--dtype', 'bfloat16') == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert '--dtype' in error and 'bfloat16' in error


@pytest.mark.parametrize('flag', ['--export', '--write-initial'])
def test_without_mxnet_its_files_are_refused_before_anything_is_trained(cifar10, no_mxnet, flag):
    result = run_script(*TORCH, '--data-dir', cifar10, flag, 'x', path=no_mxnet)
    error = the_error(result.returncode, result.stderr)
    assert flag in error and 'MXNet' in error
    assert result.returncode == 1 and not os.listdir()


@pytest.mark.parametrize('more', [[], ['--initial']], ids=['', 'initial'])
def test_without_torch(start, cifar10, no_torch, more):
    result = run_script(*TORCH, *more, *([start] if more else []), '--data-dir', cifar10, path=no_torch)
    assert "pip install 'openatac[torch]'" in the_error(result.returncode, result.stderr)
    assert result.returncode == 1 and not os.listdir()


# ------------------------------------------------------------------- what --initial refuses

@SCRIPTS
@pytest.mark.parametrize('content', [None, '', '{', '[]', '{"model": "atac"}', '{"model": "a", "flags": 3}'])
def test_a_flags_file_that_is_missing_or_damaged(refused, tmp_path, script, content):
    prefix = str(tmp_path / 'atac')
    if content is not None:
        (tmp_path / 'atac-flags.json').write_text(content)
    error = refused(1, script, *TORCH, '--initial', prefix)
    assert '--initial' in error and f'{prefix}-flags.json' in error and '--write-initial' in error


@pytest.mark.parametrize('flags, told', [
    (['--blocks', 3], '--blocks 1, and this is 3'),
    (['--seed', 4], '--seed 3, and this is 4'),
    (['--act-type', 'relu'], '--act-type ChaATAC, and this is relu'),
    (['--no-useReLU'], '--useReLU True, and this is False'),
    (['--dataset', 'cifar100'], '--dataset cifar10, and this is cifar100'),
    (['--model', 'cifar_resnet20_v2_se'], '--model atac, and this is cifar_resnet20_v2_se'),
    (['--resume-from', 'x.params'], '--resume-from None, and this is x.params'),
    (['--recipe', 'cifar10_atac'], '--act-layers 1, and this is 4'),
], ids=lambda value: ' '.join(map(str, value)) if isinstance(value, list) else '')
def test_other_flags_than_those_of_the_files(refused, start, flags, told):
    error = refused(2, train_cifar, *TORCH, '--initial', start, *flags)
    assert '--initial' in error and start in error and told in error


@pytest.mark.parametrize('typed', ['atac', 'CHAATAC'])
def test_other_spellings_of_the_name_in_the_files(start, typed):
    kind, arguments = CifarConfig, train_cifar.parser().parse_args(['--act-type', typed])
    _, _, config = read_initial_network(start, from_arguments(kind, arguments, {}, ''))
    assert config.network.act_type == 'ChaATAC'


@SCRIPTS
@pytest.mark.usefixtures('small_network')
def test_files_of_the_other_script(refused, start, tmp_path, script):
    prefix = start
    if script is train_cifar:
        prefix = str(tmp_path / 'imagenet')
        assert call_script('--input-size', 32, '--write-initial', prefix, script=train_imagenet) == 0
    assert prefix in refused(2, script, *TORCH, '--initial', prefix)


# ---------------------------------------------------- the settings and where they come from

@SCRIPTS
def test_print_config_says_where_each_setting_comes_from(script, capsys):
    recipe = 'digits' if script is train_cifar else 'imagenet_atac'
    assert call_script('--recipe', recipe, '--lr', 0.3, '--print-config', script=script) == 0
    lines = capsys.readouterr().out.splitlines()
    epochs = 8 if script is train_cifar else 160
    assert {'lr = 0.3  (command line)', f'num_epochs = {epochs}  (recipe {recipe})',
            'seed = 0  (default)'} <= set(lines)
    assert not os.listdir()


# ------------------------------------------------------------------ the dry run, with MXNet

def test_a_dry_run_times_every_part_and_leaves_no_run(cifar10, capsys):
    these = '--data-dir', cifar10, *NETWORK, '--batch-size', 5, '--save-dir', 'run'
    assert call_script(*these, '--dry-run', 3, '--export', 'net') == 0
    header, *parts, _ = capsys.readouterr().out.splitlines()
    assert [line.split('  ')[0] for line in parts] == [
        'read', 'first batch', 'warm-up', 'train', 'validate', 'checkpoint', 'resume']
    assert [int(re.split('  +', line)[1]) for line in parts[:5]] == [3, 1, 1, 2, 3]
    assert header.split()[0] == 'part'
    assert os.listdir() == ['run'] and os.listdir('run') == ['train.log']
    assert call_script(*these, '--num-epochs', 1) == 0      # in the same folder, as nothing is there


def test_a_dry_run_tells_of_a_rate_that_is_too_high(cifar10, capsys):
    code = call_script('--data-dir', cifar10, *NETWORK, '--batch-size', 20, '--lr', 1e30, '--dry-run', 9)
    error = the_error(code, capsys.readouterr().err)
    assert code == 1 and '--lr' in error
    assert os.listdir('params') == ['train.log']
