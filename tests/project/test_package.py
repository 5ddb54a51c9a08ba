"""The wheel's content and requirements, and its commands without the checkout."""
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from email import message_from_string
from shutil import copy, copytree, ignore_patterns

import pytest

from openatac.system.optional_packages import OPTIONAL_PACKAGES
from openatac.version import __version__
from tests.helpers.images.made_up_images import write_cifar, write_data_dir
from tests.helpers.paths import ROOT
from tests.helpers.processes.child_environment import child_environment

pytestmark = pytest.mark.release
BUILT_FROM = ('LICENSE', 'MANIFEST.in', 'README.md', 'pyproject.toml', 'setup.py')


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """The path of the wheel, built in a copy of the checkout."""
    source, out = tmp_path_factory.mktemp('source'), tmp_path_factory.mktemp('wheel')
    for name in BUILT_FROM:
        copy(ROOT / name, source)
    copytree(ROOT / 'openatac', source / 'openatac', ignore=ignore_patterns('__pycache__'))
    pip('wheel', '--no-deps', '--no-build-isolation', '--wheel-dir', out, source)
    (path,) = out.glob('*.whl')
    return path


@pytest.fixture(scope='module')
def metadata(wheel):
    """The wheel's METADATA, as an email message."""
    with zipfile.ZipFile(wheel) as archive:
        return message_from_string(archive.read(f'openatac-{__version__}.dist-info/METADATA').decode())


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory):
    """The command folder of an environment with the wheel installed and this environment's dependencies."""
    folder = tmp_path_factory.mktemp('environment')
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', folder], check=True)
    python = folder / 'bin' / 'python'
    pip('--python', python, 'install', '--no-deps', '--no-index', wheel)
    packages = subprocess.run([python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))'],
                              check=True, capture_output=True, text=True).stdout.strip()
    with open(os.path.join(packages, 'dependencies.pth'), 'w') as handle:
        handle.write(f'import site; site.addsitedir({sysconfig.get_path("purelib")!r})\n')
    return folder / 'bin'


def pip(*arguments):
    """Run pip offline."""
    result = subprocess.run([sys.executable, '-m', 'pip', '--no-input', *map(str, arguments)],
                            capture_output=True, text=True, timeout=300,
                            env=child_environment(PYTHONPATH=None, PIP_DISABLE_PIP_VERSION_CHECK='1'))
    assert result.returncode == 0, result.stdout + result.stderr


def run(command, folder, *arguments):
    """Run an installed command in a folder, without a path to this checkout; return its output."""
    result = subprocess.run([command, *map(str, arguments)], cwd=folder, capture_output=True, text=True,
                            timeout=300, env=child_environment(PYTHONPATH=None))
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


# ------------------------------------------------------------------ content and requirements

def test_wheel_holds_the_whole_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith('openatac/')}
        commands = archive.read(f'openatac-{__version__}.dist-info/entry_points.txt').decode()
        others = {name.split('/')[0] for name in archive.namelist()} - {'openatac'}
    files = [*(ROOT / 'openatac').rglob('*.py'), *(ROOT / 'openatac' / 'pretrained').glob('*/*')]
    assert held == {str(path.relative_to(ROOT)) for path in files} | {
        'openatac/py.typed', 'openatac/page.css', 'openatac/serving/page.html',
        'openatac/study/comparison/page.html'}
    assert others == {f'openatac-{__version__}.dist-info'}
    assert commands.split() == ['[console_scripts]', 'openatac', '=', 'openatac.cli:main']


def requirements(metadata, extra):
    """Return {package: requirement} of an extra, including those of the extras that it names."""
    found = {}
    for line in metadata.get_all('Requires-Dist'):
        if re.search(rf'extra == "{extra}"', line):
            package, inner = re.match(r'([\w.-]+)(?:\[([\w-]+)\])?', line).groups()
            found.update(requirements(metadata, inner) if package == 'openatac' else {package: line})
    return found


def test_extras_install_the_promised_packages(metadata):
    extras = {extra: requirements(metadata, extra) for extra in metadata.get_all('Provides-Extra')}
    assert {'cpu', 'cu112', 'tensorboard', 'wandb', 'onnx', 'openvino', 'torch', 'demo'} <= set(extras)
    assert all(extras.values())
    assert 'mxnet' in extras['cpu']
    assert 'mxnet-cu112' not in extras['cpu']
    assert 'mxnet-cu112' in extras['cu112']
    assert 'mxnet' not in extras['cu112']
    assert {'scipy', 'scikit-learn', 'setuptools'} <= set(extras['cpu']) & set(extras['cu112'])
    cuda = [line for name, line in extras['cu112'].items() if name.startswith('nvidia-')]
    assert len(cuda) == 9
    assert all(re.match(r'nvidia-[\w-]+-cu11==[\d.]+;', line) for line in cuda)
    assert {'pytest', 'hypothesis', 'ruff', 'onnx', 'onnxruntime'} <= set(extras['test'])


def test_every_extra_that_a_message_names_exists(metadata):
    named = set()
    for path in [*(ROOT / 'openatac').rglob('*.py'), *ROOT.glob('train_*.py')]:
        named.update(re.findall(r'openatac\[(\w+)\]', path.read_text('utf-8')))
    named.update(package.extra for package in OPTIONAL_PACKAGES.values())
    assert {'cpu', 'cu112', 'demo'} <= named <= set(metadata.get_all('Provides-Extra'))


# ---------------------------------------------------------------------- the installed commands

def test_installed_command_runs(installed, tmp_path):
    where = run(installed / 'python', tmp_path, '-c', 'import openatac; print(openatac.__file__)')
    assert str(installed.parent) in where
    assert run(installed / 'openatac', tmp_path, '--version').split() == ['openatac', __version__]
    assert '1.9.1' in run(installed / 'openatac', tmp_path, 'doctor')


def test_both_training_commands_train(installed, tmp_path):
    run(installed / 'openatac', tmp_path, 'train-cifar', '--data-dir',
        write_cifar(tmp_path / 'cifar-10-batches-bin', images=10), '--blocks', 1, '--batch-size', 10,
        '--num-epochs', 1, '--save-dir', 'cifar')
    run(installed / 'openatac', tmp_path, 'train-imagenet', '--data-dir',
        write_data_dir(tmp_path / 'photos', training=8, validation=2), '--num-classes', 2, '--input-size', 32,
        '--batch-size', 4, '-j', 1, '--num-epochs', 1, '--save-dir', 'imagenet', '--logging-file', 'log')
    for folder in ('cifar', 'imagenet'):
        assert (tmp_path / folder / 'last.params').exists()
        assert (tmp_path / folder / 'summary.json').exists()
