"""What all tests share: MXNet made importable, and where the repository and its real images are."""
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
