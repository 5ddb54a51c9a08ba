"""The first lines of a run's log report the choices of recipes and published defaults."""
import pytest

import train_cifar
import train_imagenet
from openatac.commands.shared.training_flags import parse
from openatac.training.config import CifarConfig, ImagenetConfig
from openatac.training.networks.named_options import with_named_options
from openatac.training.recipes import CIFAR, IMAGENET
from openatac.training.runs.first_lines import PAPER_R, first_lines
from tests.helpers.processes.scripts import log_of, run_in_process


def lines(*flags, script=train_cifar):
    kind, recipes = (CifarConfig, CIFAR) if script is train_cifar else (ImagenetConfig, IMAGENET)
    config = parse(script.parser(), kind, recipes, list(flags)).config
    return '\n'.join(first_lines(with_named_options(config)))


@pytest.mark.parametrize('flags, script, named, remedies', [
    ([], train_cifar, 'r = 2', ['--useReLU']), (['--r', '8'], train_cifar, 'r = 8', ['--useReLU', '--r 2']),
    (['--useReLU'], train_cifar, 'r = 2', []), (['--recipe', 'cifar10_atac'], train_cifar, 'r = 2', []),
    ([], train_imagenet, 'r = 4', ['--r 2']), (['--recipe', 'imagenet_atac'], train_imagenet, 'r = 2', [])])
def test_gate_unlike_the_papers_is_reported_with_the_remedy(flags, script, named, remedies):
    said = lines(*flags, script=script)
    assert named in said
    assert [flag for flag in ('--useReLU', '--r 2') if flag in said] == remedies


def test_networks_without_atac_get_no_gate_line():
    assert lines('--act-type', 'relu') == ''


@pytest.mark.parametrize('flags, script, gpu', [
    (['--recipe', 'cifar10_atac'], train_cifar, 'GPU 0'), (['--recipe', 'digits'], train_cifar, None),
    (['--gpus', '0'], train_cifar, None), (['--recipe', 'cifar10_atac', '--gpus', ''], train_cifar, None),
    (['--recipe', 'imagenet_atac'], train_imagenet, 'GPU 0,1')])
def test_recipe_that_asks_for_gpus_is_named(flags, script, gpu):
    named = [line for line in lines(*flags, script=script).splitlines() if 'recipe' in line]
    assert len(named) == (gpu is not None) and all(gpu in line and flags[1] in line for line in named)


def test_lines_follow_the_command_in_the_log(tmp_path, cifar10):
    assert run_in_process('--recipe', 'cifar10_atac', '--data-dir', cifar10, '--blocks', 1,
                          '--batch-size', 20, '--dry-run', 1, '--save-dir', tmp_path) == 0
    log = log_of(tmp_path).splitlines()
    command = next(index for index, line in enumerate(log) if '--recipe' in line)
    gpus, gate, device = log[command + 1:command + 4]
    assert 'cifar10_atac' in gpus
    assert 'r = 2' in gate
    assert 'CPU' in device


@pytest.mark.parametrize('script, flag, named', [
    (train_cifar, '--useReLU', 'ChaATAC()'), (train_imagenet, '--r R', f' {PAPER_R},')])
def test_help_says_what_differs_from_the_paper(script, flag, named):
    text = ' '.join(script.parser().format_help().split())
    about = text.rsplit(flag, 1)[1][:150]
    assert 'paper' in about and named in about
