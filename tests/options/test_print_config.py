"""--print-config lists all settings and where they come from."""
import os

import pytest

import train_cifar
import train_imagenet
from openatac.options.declaration import option_defaults
from openatac.training.config import CifarConfig, ImagenetConfig, config_type_of
from tests.helpers.processes.scripts import run_in_process


@pytest.mark.usefixtures('isolated_cwd')
@pytest.mark.parametrize('script', [train_cifar, train_imagenet], ids=['cifar', 'imagenet'])
def test_print_config_says_where_each_setting_comes_from(script, capsys):
    recipe = 'digits' if script is train_cifar else 'imagenet_atac'
    assert run_in_process('--recipe', recipe, '--lr', 0.3, '--print-config', script=script) == 0
    lines = capsys.readouterr().out.splitlines()
    epochs = 8 if script is train_cifar else 160
    assert {'lr = 0.3  (command line)', f'num_epochs = {epochs}  (recipe {recipe})',
            'seed = 0  (default)'} <= set(lines)
    assert not os.listdir()


@pytest.mark.parametrize('kind', [CifarConfig, ImagenetConfig])
def test_settings_tell_which_script_trained(kind):
    assert config_type_of(option_defaults(kind)) is kind
