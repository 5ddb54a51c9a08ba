"""Shared by all tests: an importable MXNet, and the paths of the repository and its real images."""
import logging
import shutil
from pathlib import Path

import pytest

import openatac  # noqa: F401  (makes `import mxnet` work in every test file)
from tests.helpers.memory import pytest_configure  # noqa: F401  (a conftest that is not at the top may not have pytest_plugins)

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / 'shared' / 'data'


def pytest_collection_modifyitems(items):
    """Trainings, the longest files, come first, so that all processes of a run have work until its end."""
    items.sort(key=lambda item: item.path.parent.name != 'training')


@pytest.fixture(scope='session')
def shared_data():
    """The folder of real images beside the checkout; tests on them skip where it is missing."""
    if not SHARED_DATA.is_dir():
        pytest.skip('no real images beside this checkout (../shared/data)')
    return SHARED_DATA


@pytest.fixture(scope='session', autouse=True)
def forms_are_timed_once():
    """Exports measure how long each form takes, which no test compares."""
    from openatac.export import parity
    parity.RUNS = 1


@pytest.fixture(autouse=True)
def log_as_before():
    """Undo what a run in this process does to the log."""
    log = logging.getLogger('openatac')
    before = log.handlers, log.level, logging.raiseExceptions
    yield
    if log.handlers is not before[0]:
        for handler in log.handlers:
            handler.close()
    log.handlers, log.level, logging.raiseExceptions = before


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """A folder of its own to write to, and no data of the user's."""
    monkeypatch.setenv('MXNET_HOME', str(tmp_path / 'home'))
    (tmp_path / 'work').mkdir()
    monkeypatch.chdir(tmp_path / 'work')


@pytest.fixture(scope='session')
def cifar10(tmp_path_factory):
    """A folder of made-up CIFAR-10 binary files: 100 training and 20 test images."""
    from tests.helpers.made_up_images import write_cifar
    return write_cifar(tmp_path_factory.mktemp('data') / 'cifar-10-batches-bin', images=20)


@pytest.fixture(scope='session')
def exported(tmp_path_factory):
    """The folder of an export 'net' with symbol and fused files."""
    from tests.helpers.small_export import write_small_export
    return write_small_export(tmp_path_factory.mktemp('export'))


@pytest.fixture
def prefix(exported, tmp_path):
    """A copy of that export, to be damaged; its prefix."""
    shutil.copytree(exported, tmp_path / 'export')
    return str(tmp_path / 'export' / 'net')


@pytest.fixture(scope='session')
def digits_network():
    """A `Network` of tests/helpers/digits_network.py that knows the digits; do not change its values."""
    pytest.importorskip('sklearn')
    from tests.helpers import digits_network
    return digits_network.train(digits_network.MODEL, *digits_network.digits(train=True))


HIDING = '''
import importlib.machinery, sys
def hides(finder):
    class Hiding(finder):
        @classmethod
        def find_spec(cls, name, path=None, target=None):
            return None if name.split('.')[0] in %r else super().find_spec(name, path, target)
    return Hiding
for finder in importlib.machinery.BuiltinImporter, importlib.machinery.PathFinder:
    sys.meta_path[sys.meta_path.index(finder)] = hides(finder)
for name in %r:
    sys.modules.pop(name, None)
'''
# What Windows lacks, as far as Python's own library can do without it elsewhere.
UNIX = ('fcntl', 'resource', 'grp', 'pwd', 'termios', 'tty', 'pty', 'syslog', 'readline', 'curses')


def hiding(packages, folder):
    """[folder], which hides the packages from each Python process that has it on its path."""
    (folder / 'sitecustomize.py').write_text(HIDING % (packages, packages))
    return [folder]


@pytest.fixture(scope='session')
def no_mxnet(tmp_path_factory):
    """The ``path`` of a process that is to find no MXNet."""
    return hiding(('mxnet',), tmp_path_factory.mktemp('no_mxnet'))


@pytest.fixture(scope='session')
def no_torch(tmp_path_factory):
    """The ``path`` of a process that is to find no PyTorch."""
    return hiding(('torch',), tmp_path_factory.mktemp('no_torch'))


@pytest.fixture(scope='session')
def no_unix(tmp_path_factory):
    """The ``path`` of a process that is to find none of the modules that Unix alone has."""
    return hiding(UNIX, tmp_path_factory.mktemp('no_unix'))


@pytest.fixture(scope='session')
def no_unix_and_no_mxnet(tmp_path_factory):
    """The same where there is no MXNet either."""
    return hiding((*UNIX, 'mxnet'), tmp_path_factory.mktemp('no_unix_and_no_mxnet'))


@pytest.fixture(scope='module')
def one_torch_thread():
    """PyTorch computes with one thread, as in the processes that tests start, for the same bits."""
    import torch
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
