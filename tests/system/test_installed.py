"""Without MXNet, functions that need it say so, and suggest PyTorch where MXNet cannot run."""
import platform
import re
import sys

import pytest

from openatac.system.installed import PINNED, has_torch, mxnet_missing
from openatac.system.optional_packages import OPTIONAL_PACKAGES
from tests.helpers.paths import ROOT
from tests.helpers.processes.fresh_python import output_of, run_python


@pytest.mark.parametrize('code', [
    'openatac.ChaATAC(16)', 'openatac.get_model("cifar_resnet20_v2_atac")',
    'from openatac.nn.atac import ChaATAC', 'import mxnet', 'import mxnet.gluon',
    'import importlib.util; importlib.util.find_spec("mxnet"); import mxnet'])
def test_mxnet_functions_without_mxnet_raise_one_clear_error(no_mxnet, code):
    result = run_python('-c', 'import openatac\n' + code, path=no_mxnet)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == 'ModuleNotFoundError: ' + mxnet_missing()


def test_missing_mxnet_error_names_both_extras():
    assert "'openatac[cpu]'" in mxnet_missing() and "'openatac[cu112]'" in mxnet_missing()
    assert '\n' not in mxnet_missing()


ELSEWHERE = pytest.mark.parametrize('system, machine, version', [
    ('darwin', 'arm64', (3, 12)), ('darwin', 'x86_64', (3, 11)), ('linux', 'aarch64', (3, 11)),
    ('win32', 'AMD64', (3, 11)), ('linux', 'x86_64', (3, 15))])


@ELSEWHERE
def test_missing_mxnet_error_suggests_torch_where_mxnet_cannot_run(monkeypatch, system, machine, version):
    monkeypatch.setattr(sys, 'platform', system)
    monkeypatch.setattr(platform, 'machine', lambda: machine)
    monkeypatch.setattr(sys, 'version_info', (*version, 0, 'final', 0))
    sentence = mxnet_missing()
    assert '--engine torch' in sentence and machine in sentence and '\n' not in sentence
    assert '[cpu]' not in sentence and '[cu112]' not in sentence


@ELSEWHERE
def test_all_commands_suggest_torch_where_mxnet_cannot_run(no_mxnet, system, machine, version):
    code = f"""
import subprocess, sys, platform, urllib.request  # macOS imports other modules
from openatac.commands import costs, doctor, gates, train_cifar
from openatac import cli
sys.platform, platform.machine = {system!r}, lambda: {machine!r}
sys.version_info = (*{version}, 0, 'final', 0)
codes = [cli.main(command.split()) for command in ('doctor', 'costs cifar_resnet8_v2_atac')]
print(codes)
cli.main(['train-cifar'])
"""
    result = run_python('-c', code, path=no_mxnet)
    printed = result.stdout + result.stderr
    assert result.returncode == 1 and f'[{int(not has_torch())}, 1]' in result.stdout, result.stderr
    assert '[cpu]' not in printed and 'mxnet==' not in printed and 'Traceback' not in printed
    assert printed.count('--engine torch') >= 3


def test_other_libraries_can_probe_for_mxnet(no_mxnet):
    code = ('import openatac\n'
            'try: import mxnet\n'
            'except ImportError as error: print(error.name)\n'
            'try: import mxnet.gluon\n'
            'except ImportError as error: print(error.name)\n'
            'import sys; print("mxnet" in sys.modules)')
    assert output_of(code, path=no_mxnet).splitlines() == ['mxnet', 'mxnet', 'False']


def test_script_without_mxnet_fails_with_one_line(no_mxnet, tmp_path):
    result = run_python(ROOT / 'train_cifar.py', '--save-dir', tmp_path / 'run', path=no_mxnet)
    assert result.returncode == 1
    assert result.stderr.strip() == 'error: ' + mxnet_missing()
    assert not (tmp_path / 'run').exists()


def test_packages_that_messages_name_are_in_pyproject():
    metadata = (ROOT / 'pyproject.toml').read_text('utf-8')
    for name, release in PINNED.items():
        assert re.search(f'''["']{name}=={re.escape(release)}[;"']''', metadata)
    extras = metadata.split('[project.optional-dependencies]\n')[1].split('\n[')[0]
    for name, package in OPTIONAL_PACKAGES.items():
        section = extras.split(f'\n{package.extra} = [')[1].split('\n', 1)
        requirements = section[0] if ']' in section[0] else section[1].split('\n]')[0]
        assert re.search(f'''["']{name}[><=]''', requirements), name
