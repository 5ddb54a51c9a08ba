"""The command line: every command and its help, wrong commands, and completion in shells."""
import importlib
import os
import shutil
import subprocess
import sys

import pytest

from openatac.commands.shared.catalogue import COMMANDS, SITE
from tests.helpers.processes.child_environment import child_environment
from tests.helpers.processes.commands import call_command
from tests.helpers.processes.fresh_python import output_of, run_python

HEAVY = ['mxnet', 'torch', 'matplotlib', 'onnx', 'cv2', 'fastapi']
# Their modules work on arrays; the others load NumPy, which doubles the time of --help, only to run.
WITH_NUMPY = {'bench', 'evaluate', 'export', 'gates', 'pack', 'predict', 'published', 'serve'}


@pytest.mark.parametrize('commands, heavy', [(COMMANDS.keys(), HEAVY),
                                             (COMMANDS.keys() - WITH_NUMPY, [*HEAVY, 'numpy'])])
def test_help_loads_nothing_heavy(commands, heavy):
    assert output_of(f'''
import contextlib, io, sys
from openatac import cli
for command in {sorted(commands)}:
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as text:
        cli.main([command, '--help'])
    assert 'usage: ' in text.getvalue(), command
    loaded = [name for name in {heavy} if name in sys.modules]
    assert not loaded, (command, loaded)
''') == ''


@pytest.mark.parametrize('name', COMMANDS)
def test_help_describes_the_command_and_ends_with_examples(name, capsys):
    assert call_command(name, '--help') == 0
    text = capsys.readouterr().out
    module = importlib.import_module(f'openatac.commands.{name.replace("-", "_")}')
    assert module.__doc__.splitlines()[0] in text
    *lines, _, last = text.splitlines()
    assert [line.strip() for line in lines[-2:]] == COMMANDS[name].lines(name)
    assert last.split()[-1] == f'{SITE}{COMMANDS[name].page.removesuffix(".md")}/'


def test_help_lists_every_command():
    help_text = run_python('-m', 'openatac', '--help').stdout
    assert all(f'  {command} ' in help_text for command in COMMANDS)
    result = run_python('-m', 'openatac')
    assert (result.returncode, result.stderr) == (2, help_text)


@pytest.mark.parametrize('arguments', [[], ['dcotor'], ['--doctor'], ['doctor', '--fast']])
def test_wrong_command_line_exits_with_code_2(arguments, capsys):
    assert call_command(*arguments) == 2
    assert 'usage: openatac' in capsys.readouterr().err


def test_every_command_has_its_function():
    for command in COMMANDS:
        module = importlib.import_module('openatac.commands.' + command.replace('-', '_'))
        assert callable(module.main)


# ----------------------------------------------------------------------------- completion

@pytest.mark.parametrize('line, expected', [
    ('openatac evaluate', ['evaluate', 'evaluate-imagenet']),
    ('openatac predict --lab', ['--labels']),
    ('openatac export run --onn', ['--onnx']),  # their arguments may be among the flags
    ('openatac train-cifar --dataset cifar100 --act-typ', ['--act-type']),
    ('openatac completion b', ['bash']),
    ('openatac nothing --', ['--help', '--version'])])
def test_bash_completion_works(line, expected, tmp_path):
    """Call the function that `openatac completion bash` defines, as the Tab key does."""
    pytest.importorskip('argcomplete')
    if not shutil.which('bash'):
        pytest.skip('no bash on this machine')
    command = tmp_path / 'openatac'
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m openatac "$@"\n', 'utf-8')
    command.chmod(0o755)
    result = subprocess.run(
        ['bash', '-c', 'eval "$(openatac completion bash)"; COMP_LINE="$1" COMP_POINT=${#1} COMP_TYPE=9; '
         '_python_argcomplete openatac; printf "%s\\n" "${COMPREPLY[@]}"', 'bash', line],
        env=child_environment(PATH=f'{tmp_path}:{os.environ["PATH"]}'),
        capture_output=True, text=True, timeout=120)
    assert result.stdout.split() == expected, result.stderr


@pytest.mark.parametrize('shell', ['bash', 'zsh', 'fish'])
def test_every_shell_has_completion_code(shell, capsys):
    pytest.importorskip('argcomplete')
    assert call_command('completion', shell) == 0
    assert 'openatac' in capsys.readouterr().out


def test_other_shells_are_refused():
    assert call_command('completion', 'tcsh') == 2
