"""Numbers out of bounds are refused in flags, in arguments of Python functions and in files."""
import argparse
import importlib
import json
import math
import re

import pytest

import train_cifar
import train_imagenet
from openatac import get_model
from openatac.commands.shared.catalogue import COMMANDS
from openatac.errors import OpenatacError
from openatac.limits import MAX_CLASSES, MIN_CROP_RATIO
from openatac.models.cifar_resnet import ResNet20V2ATAC
from openatac.models.cifar_resnet18 import CIFARResNet18
from openatac.models.resnet_v1b import ResNet50_v1bATAC
from openatac.nn.atac import ChaATAC
from openatac.options.declaration import option_fields
from openatac.training.config import ImagenetConfig
from tests.helpers.processes.commands import command_error
from tests.helpers.processes.scripts import json_of, run_in_process


class Parsed(Exception):
    """Ends a command when it is about to parse its arguments."""


@pytest.fixture
def arguments(monkeypatch):
    """[(command, argument)] for all arguments of commands and scripts."""
    found, initialise = [], argparse.Action.__init__

    def record(self, *positional, **keywords):
        initialise(self, *positional, **keywords)
        if self.help and self.help is not argparse.SUPPRESS:  # Python 3.14 checks it here
            assert self.help % {**vars(self), 'prog': command}
        found.append((command, self))

    def stop(*_, **__):
        raise Parsed

    monkeypatch.setattr(argparse.Action, '__init__', record)
    for method in ('parse_args', 'parse_intermixed_args'):
        monkeypatch.setattr(argparse.ArgumentParser, method, stop)
    for command in COMMANDS:
        with pytest.raises(Parsed):
            importlib.import_module('openatac.commands.' + command.replace('-', '_')).main([])
    for script in (train_cifar, train_imagenet):
        command = script.__name__
        script.parser()
    return found


def test_every_number_has_bounds_on_both_sides(arguments):
    numeric = 0
    for command, argument in arguments:
        where, bounds = f'{command} {argument.option_strings}', getattr(argument.type, 'bounds', None)
        if isinstance(argument.default, (int, float)) and not isinstance(argument.default, bool) \
                and argument.nargs != 0:
            assert bounds, where
        assert argument.type not in (int, float), where
        if bounds:
            numeric += 1
            lowest = bounds.low if bounds.above is None else bounds.above
            highest = bounds.high if bounds.below is None else bounds.below
            assert all(bound is not None and math.isfinite(bound) for bound in (lowest, highest)), where
            for wrong in (lowest - 1, highest * 2 + 1, 'x', '', math.nan, math.inf, '1' * 5000):
                with pytest.raises(argparse.ArgumentTypeError):
                    argument.type(str(wrong))
    assert numeric > 60


@pytest.mark.parametrize('command', [
    ['costs', 'cifar_resnet8_v2_relu', '--classes', '2147483648'],
    ['evaluate-imagenet', 'x.params', '--crop-ratio', '1e-6'],
    ['evaluate-imagenet', 'x.params', '--num-classes', '2147483648'],
    ['export', 'cifar_resnet8_v2_relu', 'x.params', 'out', '--classes', '2147483648'],
    ['predict', 'x', 'y', '--batch-size', '2147483648'], ['bench', 'x', '--seconds', '1e30']])
def test_number_out_of_bounds_is_refused(command, capsys):
    error = command_error(capsys, command[0], 2, *command[1:])
    assert command[-1] in error and command[-2] in error


def test_crop_ratio_of_zero_is_the_default():
    take = option_fields(ImagenetConfig)['crop_ratio'].option.parse
    assert take('0') == 0 and take(str(MIN_CROP_RATIO)) == MIN_CROP_RATIO


def test_record_check_of_a_folder_is_refused(tmp_path, capsys):
    error = command_error(capsys, 'pack', 1, '--check', tmp_path)
    assert str(tmp_path) in error and '--check' in error


# ------------------------------------------------------------------------- Python functions

@pytest.mark.parametrize('classes', [2.5, 0, -1, MAX_CLASSES + 1, '10', math.nan, True, [10]])
@pytest.mark.parametrize('name', ['cifar_resnet8_v2_relu', 'cifar_resnet18_v1_relu', 'resnet50_v1b_relu'])
def test_number_of_classes_is_checked(name, classes):
    with pytest.raises(ValueError, match='classes'):
        get_model(name, classes=classes)


@pytest.mark.parametrize('host, wrong', [
    (ResNet20V2ATAC, {'layers': [10 ** 6] * 3}), (ResNet20V2ATAC, {'layers': [1.5] * 3}),
    (ResNet20V2ATAC, {'layers': 3}), (ResNet20V2ATAC, {'layers': '333'}),
    (ResNet20V2ATAC, {'channels': [16, 16, 32, 10 ** 9]}), (ResNet20V2ATAC, {'channels': None}),
    (ResNet20V2ATAC, {'drop_rate': '0'}), (ResNet20V2ATAC, {'drop_rate': math.nan}),
    (ResNet20V2ATAC, {'r': '2'}), (ResNet20V2ATAC, {'act_layers': 2.0}),
    (CIFARResNet18, {'layers': [10 ** 6] * 4}), (CIFARResNet18, {'channels': [64] * 3}),
    (CIFARResNet18, {'drop_rate': 1}), (ResNet50_v1bATAC, {'layers': [3, 4, 6, 10 ** 6]}),
    (ResNet50_v1bATAC, {'deep_stem': True, 'stem_width': 1.5}), (ResNet50_v1bATAC, {'final_drop': 2}),
    (ResNet50_v1bATAC, {'attention': 'se', 'reduction': '16'})])
def test_host_arguments_are_checked(host, wrong):
    with pytest.raises(ValueError, match=[*wrong][-1]) as error:
        host(**wrong)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('channels, r', [
    (0, 2), (-4, 2), (2.5, 2), ('16', 2), (None, 2), (16, '2'), (16, None), (16, 0), (16, math.nan),
    (16, math.inf), (16, 1e-400), (16, -1)])
def test_unit_arguments_are_checked(channels, r):
    with pytest.raises(ValueError, match=r'\b(channels|r)\b') as error:
        ChaATAC(channels, r)
    assert '\n' not in str(error.value)


def test_numpy_numbers_are_accepted():
    import numpy as np
    ResNet20V2ATAC(layers=np.array([1, 1, 1]), classes=np.int64(10), r=np.float32(2))


# ------------------------------------------------------------------------------------ files

@pytest.fixture(scope='module')
def run_folder(cifar10, tmp_path_factory):
    """The folder of a run, with its settings and parameters."""
    folder = str(tmp_path_factory.mktemp('run'))
    assert run_in_process('--data-dir', cifar10, '--blocks', 1, '--act-type', 'relu', '--num-epochs', 1,
                          '--batch-size', 100, '--save-dir', folder) == 0
    return folder


@pytest.mark.parametrize('wrong', [{'blocks': 10 ** 6}, {'blocks': 1.5}, {'drop_rate': 2}, {'r': 'x'}])
def test_wrong_numbers_in_settings_are_refused(run_folder, tmp_path, capsys, wrong):
    settings = json_of(run_folder, 'settings.json')
    settings.update(wrong, **({'act_type': 'ChaATAC'} if 'r' in wrong else {}))
    (tmp_path / 'settings.json').write_text(json.dumps(settings))
    capsys.readouterr()
    assert 'settings.json' in command_error(capsys, 'export', 1, tmp_path, tmp_path / 'out')


@pytest.mark.parametrize('ratio', [1e-6, -1, 2, math.nan])
def test_crop_ratio_in_a_manifest_is_checked(ratio):
    from openatac.trained.input_transform import InputTransform
    from openatac.trained.manifest import Manifest
    with pytest.raises(OpenatacError, match=re.escape(str(ratio))):
        InputTransform(Manifest('x', 10, (3, 32, 32), (0, 0, 0), (1, 1, 1), crop_ratio=ratio))
