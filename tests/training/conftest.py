"""Fixtures for the tests of training: photographs, and record files of them."""
import os

import pytest

from openatac import cli
from tests.helpers.images.made_up_images import write_data_dir


@pytest.fixture(scope='session')
def photos(tmp_path_factory):
    """A --data-dir with 12 training and 6 validation photographs in 2 classes; do not change it."""
    return write_data_dir(tmp_path_factory.mktemp('photos'))


@pytest.fixture(scope='session')
def records(photos, tmp_path_factory):
    """The folder of train.rec and val.rec with the same photographs."""
    folder = tmp_path_factory.mktemp('records')
    for split in ('train', 'val'):
        assert cli.main(['pack', os.path.join(photos, split), str(folder / split)]) == 0
    return str(folder)
