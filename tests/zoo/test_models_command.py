"""`openatac models` lists networks and prints model cards."""
import pytest

from openatac import cli
from openatac.zoo.weights.pretrained import model_card, pretrained_names
from tests.helpers.processes.commands import command_error

ATAC = 'cifar_resnet8_v2_atac'


def test_models_command_lists_pretrained_networks(capsys):
    assert cli.main(['models']) == 0
    table = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    for name in pretrained_names():
        assert f'{model_card(name).accuracy:.4f}' in table[name]
    assert '89,578' in table[ATAC] and '14,336,640' in table[ATAC]


def test_models_command_lists_networks_by_pattern(capsys):
    assert cli.main(['models', 'cifar_resnet8_v2_s*']) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert {'cifar_resnet8_v2_se', 'cifar_resnet8_v2_sine'} <= set(names)
    assert all(name.startswith('cifar_resnet8_v2_s') for name in names)


@pytest.mark.parametrize('name', ['cifar_resnet44_v2_atac', 'cifar_resnet20_v2_swish_se'])
def test_models_command_accepts_unlisted_names(capsys, name):
    assert cli.main(['models', name]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[0] == name


def test_models_command_prints_a_card(capsys):
    assert cli.main(['models', ATAC, '--card']) == 0
    printed, card = capsys.readouterr().out, model_card(ATAC)
    for fact in (card.data, card.command, card.commit, card.date, card.licence, card.not_for, card.sha256):
        assert fact in printed


@pytest.mark.parametrize('arguments', [
    ['nothing*'], ['cifar_resnet14_v2_se', '--card'], ['cifar_resnet20_v2_relu@9']])
def test_models_command_refuses_wrong_arguments(capsys, arguments):
    assert arguments[0] in command_error(capsys, 'models', 2, *arguments)
