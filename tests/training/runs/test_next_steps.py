"""The commands that a run prints at its end work as printed."""
import shlex
import subprocess

import pytest

import train_imagenet
from openatac import cli
from tests.helpers.images.made_up_images import write_data_dir
from tests.helpers.processes.child_environment import child_environment
from tests.helpers.processes.scripts import run_in_process

SMALL = '--blocks', 1, '--act-type', 'relu', '--batch-size', 100, '--num-epochs', 1


def commands_in(printed):
    """Return the commands that a run printed, which are indented."""
    return [line.strip() for line in printed.splitlines() if line.startswith('    ')]


def run_in_shell(command, folder):
    return subprocess.run(command, shell=True, cwd=folder, text=True, capture_output=True, timeout=300,
                          env=child_environment())


def run_here(command, name):
    """Run ``openatac NAME ...`` in this process, which saves the start-up; return its exit code."""
    words = shlex.split(command)
    return cli.main(words[words.index(name):])


def test_export_predict_and_compare_follow_a_run_on_cifar(cifar10, tmp_path, monkeypatch, capsys):
    """The run's folder has a name that a shell would split, and is relative to the current folder."""
    monkeypatch.chdir(tmp_path)
    assert run_in_process(*SMALL, '--data-dir', cifar10, '--save-dir', 'my run') == 0
    said = capsys.readouterr().err
    export, predict, compare = commands_in(said)
    assert 'my run' in said.splitlines()[-4]
    assert run_here(export, 'export') == 0
    result = run_in_shell(predict, tmp_path)
    assert result.returncode == 0, result.stderr
    assert 'sample.png' in result.stdout and 'airplane' in result.stdout
    assert run_here(compare, 'compare') == 0
    assert (tmp_path / 'my run' / 'export-symbol.json').exists()
    assert (tmp_path / 'my run-comparison' / 'comparison.md').exists()


def test_predict_command_uses_the_requested_export(cifar10, tmp_path, capsys):
    assert run_in_process(*SMALL, '--data-dir', cifar10, '--save-dir', tmp_path / 'run', '--export',
                          tmp_path / 'net') == 0
    predict = commands_in(capsys.readouterr().err)[1]
    assert shlex.split(predict)[-3:] == [
        'predict', str(tmp_path / 'net'), str(tmp_path / 'run' / 'sample.png')]
    assert run_here(predict, 'predict') == 0


@pytest.mark.usefixtures('shallow_resnet')
def test_export_predict_and_published_follow_a_run_on_photographs(tmp_path, capsys):
    photos = write_data_dir(tmp_path / 'photos')
    assert run_in_process('--data-dir', photos, '--input-size', 32, '--batch-size', 4, '--num-epochs', 1,
                          '-j', 0, '--save-dir', tmp_path / 'run', '--logging-file', tmp_path / 'log',
                          script=train_imagenet) == 0
    export, predict, compare = commands_in(capsys.readouterr().err)
    for name, command in (('export', export), ('predict', predict), ('published', compare)):
        assert run_here(command, name) == 0
    assert 'resnet50_v1b' in capsys.readouterr().out


def test_dry_run_prints_no_next_steps(cifar10, tmp_path, capsys):
    assert run_in_process(*SMALL, '--data-dir', cifar10, '--save-dir', tmp_path, '--dry-run', 1) == 0
    assert not commands_in(capsys.readouterr().err) and not (tmp_path / 'sample.png').exists()
