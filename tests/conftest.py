"""What all tests share: MXNet made importable, and where the repository and its real images are."""
import logging
from pathlib import Path

import pytest

import openatac  # noqa: F401  (makes `import mxnet` work in every test file)

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / 'shared' / 'data'


@pytest.fixture(scope='session')
def shared_data():
    """The folder of real images beside the checkout; tests on them skip where it is missing."""
    if not SHARED_DATA.is_dir():
        pytest.skip('no real images beside this checkout (../shared/data)')
    return SHARED_DATA


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


@pytest.fixture(scope='session')
def cifar10(tmp_path_factory):
    """A folder of made-up CIFAR-10 binary files: 300 training and 60 test images."""
    from tests.scripts import write_cifar
    return write_cifar(tmp_path_factory.mktemp('data') / 'cifar-10-batches-bin')
