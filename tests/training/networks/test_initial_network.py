"""--write-initial, and errors of --engine torch and --initial that need no PyTorch."""
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
from openatac.system.installed import mxnet_missing
from openatac.training.config import CifarConfig
from openatac.training.networks.initial_files import read_initial_config
from tests.helpers.networks.parameters import parameters_of
from tests.helpers.processes.commands import call_command
from tests.helpers.processes.scripts import error_line, json_of, run_in_process, run_script, script_error

NETWORK = '--blocks', 1, '--act-layers', 1, '--useReLU', '--seed', 3
pytestmark = pytest.mark.usefixtures('isolated_cwd')
SCRIPTS = pytest.mark.parametrize('script', [train_cifar, train_imagenet], ids=['cifar', 'imagenet'])


@pytest.fixture
def refused(capsys):
    """A function refused(code, script, *flags): the error line of a failing run that must leave no files."""
    def check(code, script, *flags):
        error = script_error(capsys, code, *flags, script=script)
        assert not os.listdir()
        return error

    return check


# ----------------------------------------------------------------- files of --write-initial

@pytest.fixture(scope='module')
def start(tmp_path_factory):
    """The PREFIX of a CIFAR network's initial files."""
    prefix = tmp_path_factory.mktemp('start') / 'not there yet' / 'atac'
    assert run_in_process(*NETWORK, '--write-initial', prefix) == 0
    return str(prefix)


def test_written_values_equal_the_initial_values_of_a_run(start):
    net, values = ResNet20V2ATAC([1] * 3, act_layers=1, useReLU=True), read_arrays(start + '-0000.params')
    initialize_parameters(net, 3, [mx.cpu()])
    net(mx.nd.zeros((1, 3, 32, 32)))
    for name, parameter in parameters_of(net).items():
        assert np.array_equal(values[name].asnumpy(), parameter.data().asnumpy()), name
    load_parameters(net, start + '-0000.params')    # and no other files


def test_files_record_their_flags(start):
    told = json_of(start + '-flags.json')
    assert told['model'] == 'cifar_resnet8_v2_atac'
    assert {'blocks': 1, 'act_layers': 1, 'useReLU': True, 'seed': 3, 'dataset': 'cifar10'}.items() <= \
        told['flags'].items()
    assert sorted(os.listdir(os.path.dirname(start))) == [
        'atac-0000.params', 'atac-flags.json', 'atac-symbol.json']


def test_written_values_may_come_from_a_file(start):
    values = read_arrays(start + '-0000.params')
    values['output.bias'][:] = 7
    mx.nd.save('trained.params', {name: array.astype('float16') for name, array in values.items()})
    assert run_in_process(*NETWORK, '--resume-from', 'trained.params', '--write-initial', 'trained') == 0
    written = read_arrays('trained-0000.params')
    assert written['output.bias'].dtype == np.float32 and (written['output.bias'] == 7).asnumpy().all()


@pytest.mark.usefixtures('shallow_resnet')
def test_imagenet_script_writes_its_network():
    assert run_in_process('--r', 2, '--num-classes', 2, '--input-size', 32, '--last-gamma', '--write-initial',
                          'atac', script=train_imagenet) == 0
    values = read_arrays('atac-0000.params')
    assert values['fc.weight'].shape == (2, 256) and not values['layer1.0.bn3.gamma'].asnumpy().any()
    assert json_of('atac-flags.json')['model'] == 'resnet50_v1b_atac'


# ---------------------------------------------------------------------------- refused input

@pytest.mark.parametrize('place', ['file/atac', 'folder/atac', 'folder/other'])
def test_unwritable_destination_is_an_error(place, capsys):
    os.makedirs('folder/atac-symbol.json')      # a folder in place of the second file
    os.makedirs('folder/other-flags.json')      # and of the last file
    with open('file', 'w'):
        pass
    assert place in script_error(capsys, 1, *NETWORK, '--write-initial', place)
    assert not os.path.isfile(place + '-flags.json') and os.listdir('folder/atac-symbol.json') == []


def test_partially_written_files_are_refused(start, capsys):
    folder = os.path.dirname(start)
    shutil.copytree(folder, 'folder')
    os.remove('folder/atac-symbol.json')
    os.mkdir('folder/atac-symbol.json')
    assert run_in_process('--write-initial', 'folder/atac', '--blocks', 1, '--seed', 4) == 1
    capsys.readouterr()
    assert 'atac-flags.json' in script_error(capsys, 1, '--engine', 'torch', '--initial', 'folder/atac')


@SCRIPTS
def test_without_mxnet_nothing_is_written(script, no_mxnet):
    result = run_script('--write-initial', 'atac', script=os.path.basename(script.__file__), path=no_mxnet)
    assert error_line(result.returncode, result.stderr) == 'error: ' + mxnet_missing()
    assert result.returncode == 1 and not os.listdir()


# ----------------------------------------------------------------- errors of --engine torch

TORCH = '--engine', 'torch'
CIFAR_ONLY = [
    (['--syncbn'], '--syncbn: .*--engine torch'),
]
IMAGENET_ONLY = [
    (['--kvstore', 'dist_sync', *TORCH], '--kvstore: dist_sync .*--engine mxnet'),
]
BOTH = [
    (['--tf32'], '--tf32: .*--engine torch'),
    (['--compile'], '--compile: .*--engine torch'),
    (['--initial', 'x'], '--initial: .*--engine torch'),
    (['--dtype', 'bfloat16'], '--dtype: bfloat16 .*--engine torch'),
    (['--mode', 'imperative', *TORCH], '--mode: imperative .*--engine mxnet'),
    (['--syncbn', '--compile', *TORCH], '--compile'),
    (['--summary', '--initial', 'x', *TORCH], '--initial: --summary'),
    (['--write-initial', 'y', '--initial', 'x', *TORCH], '--initial: --summary'),
    (['--engine', 'jax'], "--engine: .*'jax'"),
]


@pytest.mark.parametrize('script, flags, named', [
    *[(train_cifar, *case) for case in BOTH + CIFAR_ONLY],
    *[(train_imagenet, *case) for case in BOTH + IMAGENET_ONLY]])
def test_flags_of_the_other_engine_are_refused(refused, script, flags, named):
    assert re.search(named, refused(2, script, *flags))


@SCRIPTS
@pytest.mark.skipif(importlib.util.find_spec('torch') is None, reason='needs PyTorch')
def test_syncbn_needs_several_processes(refused, script):
    assert '--syncbn: ' in refused(2, script, '--syncbn', *TORCH)


def test_evaluation_refuses_bfloat16(capsys):
    mx.nd.save('x.params', {})
    assert call_command('evaluate-imagenet', 'x.params', '--dtype', 'bfloat16') == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert '--dtype' in error and 'bfloat16' in error


@pytest.mark.parametrize('flag', ['--export', '--write-initial'])
def test_without_mxnet_its_files_are_refused_before_training(cifar10, no_mxnet, flag):
    result = run_script(*TORCH, '--data-dir', cifar10, flag, 'x', path=no_mxnet)
    error = error_line(result.returncode, result.stderr)
    assert flag in error and 'MXNet' in error
    assert result.returncode == 1 and not os.listdir()


@pytest.mark.parametrize('more', [[], ['--initial']], ids=['', 'initial'])
def test_torch_engine_without_pytorch_is_an_error(start, cifar10, no_torch, more):
    result = run_script(*TORCH, *more, *([start] if more else []), '--data-dir', cifar10, path=no_torch)
    assert "pip install 'openatac[torch]'" in error_line(result.returncode, result.stderr)
    assert result.returncode == 1 and not os.listdir()


# ---------------------------------------------------------------------- errors of --initial

@SCRIPTS
@pytest.mark.parametrize('content', [None, '', '{', '[]', '{"model": "atac"}', '{"model": "a", "flags": 3}'])
def test_missing_or_damaged_flags_file_is_an_error(refused, tmp_path, script, content):
    prefix = str(tmp_path / 'atac')
    if content is not None:
        (tmp_path / 'atac-flags.json').write_text(content)
    error = refused(1, script, *TORCH, '--initial', prefix)
    assert '--initial' in error and f'{prefix}-flags.json' in error and '--write-initial' in error


@pytest.mark.parametrize('flags, told', [
    (['--blocks', 3], '--blocks 1.* 3'),
    (['--seed', 4], '--seed 3.* 4'),
    (['--act-type', 'relu'], '--act-type ChaATAC.* relu'),
    (['--no-useReLU'], '--useReLU True.* False'),
    (['--dataset', 'cifar100'], '--dataset cifar10.* cifar100'),
    (['--model', 'cifar_resnet20_v2_se'], '--model atac.* cifar_resnet20_v2_se'),
    (['--resume-from', 'x.params'], '--resume-from None.* x.params'),
    (['--recipe', 'cifar10_atac'], '--act-layers 1.* 4'),
], ids=lambda value: ' '.join(map(str, value)) if isinstance(value, list) else '')
def test_flags_that_differ_from_the_files_are_refused(refused, start, flags, told):
    error = refused(2, train_cifar, *TORCH, '--initial', start, *flags)
    assert '--initial' in error and start in error and re.search(told, error)


@pytest.mark.parametrize('typed', ['atac', 'CHAATAC'])
def test_other_spellings_of_the_model_name_are_accepted(start, typed):
    kind, arguments = CifarConfig, train_cifar.parser().parse_args(['--act-type', typed])
    _, config = read_initial_config(start, from_arguments(kind, arguments, {}, ''))
    assert config.network.act_type == 'ChaATAC'


@SCRIPTS
@pytest.mark.usefixtures('small_network')
def test_files_of_the_other_script_are_refused(refused, start, tmp_path, script):
    prefix = start
    if script is train_cifar:
        prefix = str(tmp_path / 'imagenet')
        assert run_in_process('--input-size', 32, '--write-initial', prefix, script=train_imagenet) == 0
    assert prefix in refused(2, script, *TORCH, '--initial', prefix)
