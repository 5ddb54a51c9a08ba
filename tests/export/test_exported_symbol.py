"""Symbol files compute the same as the network, and are never half written."""
import mxnet as mx
import numpy as np
import pytest

from openatac import get_model
from openatac.errors import OpenatacError
from openatac.export.exported_symbol import load_block
from tests.helpers.exports.exporting import export
from tests.helpers.networks.parameters import with_statistics
from tests.helpers.networks.trained_network import describe


@pytest.fixture
def one_step_net():
    """A network whose running statistics have left their initial values."""
    return with_statistics(get_model('cifar_resnet8_v2_atac', classes=5), seed=0)


def test_symbol_files_compute_the_same_as_the_network(one_step_net, tmp_path):
    path = str(tmp_path / 'made' / 'atac')
    assert export(one_step_net, path, describe()).reports['symbol']['max_difference'] <= 1e-5
    made = sorted(file.name for file in (tmp_path / 'made').iterdir())
    assert made == ['atac-0000.params', 'atac-symbol.json', 'atac.json']
    images = mx.nd.random.normal(shape=(3, 3, 32, 32))
    assert np.allclose(load_block(path)(images).asnumpy(), one_step_net(images).asnumpy(), atol=1e-5)
    symbol, arguments, auxiliary = mx.model.load_checkpoint(path, 0)
    assert set(symbol.list_arguments()) - {'data'} == set(arguments)
    assert set(symbol.list_auxiliary_states()) == set(auxiliary)


def test_unwritable_destination_is_named(one_step_net, tmp_path):
    (tmp_path / 'file').write_text('in the way')
    with pytest.raises(OpenatacError, match='file/atac'):
        export(one_step_net, str(tmp_path / 'file' / 'atac'), describe())
