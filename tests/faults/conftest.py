"""A small export and a small record file that the tests of this folder damage copies of."""
import shutil

import mxnet as mx
import pytest

from openatac import get_model
from openatac.commands import pack
from openatac.export.exporter import export
from openatac.export.manifest import Manifest
from tests.helpers.made_up_images import write_photos

DESCRIPTION = Manifest('cifar_resnet8_v2_atac', 3, (3, 32, 32), (125.3, 123.0, 113.9), (51.6, 50.8, 51.3),
                       0, ['ant', 'bee', 'cow'])


@pytest.fixture(scope='session')
def exported(tmp_path_factory):
    """The folder of an export 'net' with symbol and fused files."""
    folder = tmp_path_factory.mktemp('export')
    mx.random.seed(1)
    net = get_model('cifar_resnet8_v2_atac', classes=3)
    net.initialize(mx.init.MSRAPrelu())
    net(mx.nd.zeros((1, 3, 32, 32)))
    export(net, str(folder / 'net'), DESCRIPTION, ('symbol', 'fused'))
    return folder


@pytest.fixture
def prefix(exported, tmp_path):
    """A copy of that export, to be damaged; its prefix."""
    shutil.copytree(exported, tmp_path / 'export')
    return str(tmp_path / 'export' / 'net')


@pytest.fixture(scope='session')
def photos(tmp_path_factory):
    """A folder of twelve photographs of two classes."""
    return write_photos(tmp_path_factory.mktemp('photos'), classes=2, images=6)


@pytest.fixture(scope='session')
def packed(photos, tmp_path_factory):
    """The folder of a record file 'out' made of them."""
    folder = tmp_path_factory.mktemp('records')
    pack.main([photos, str(folder / 'out'), '-j', '1'])
    return folder


@pytest.fixture
def records(packed, tmp_path):
    """A copy of that record file, to be damaged; its path without .rec."""
    shutil.copytree(packed, tmp_path / 'records')
    return str(tmp_path / 'records' / 'out')
