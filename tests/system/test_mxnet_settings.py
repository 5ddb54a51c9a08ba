"""MXNet's executors compute the same as the network, though by default they fuse some ResNets wrongly."""
import pytest

from tests.helpers.processes.fresh_python import output_of

CODE = '''
import openatac, sys
import mxnet as mx, numpy as np
from openatac import ResNet20V2ATAC
random = np.random.RandomState(0)
net = ResNet20V2ATAC([1] * 3, act_type='relu')
net.initialize(mx.init.MSRAPrelu())
net.hybridize()
x = mx.nd.array(random.randn(2, 3, 32, 32))
net(x)
for name, parameter in net.collect_params().items():
    if 'running' in name:
        parameter.set_data(mx.nd.array(random.uniform(0.5, 1.5, parameter.shape)))
net.export(%r)
symbol, arguments, states = mx.model.load_checkpoint(%r, 0)
module = mx.mod.Module(symbol, label_names=None)
module.bind([('data', x.shape)], for_training=False)
module.set_params(arguments, states)
found = module.predict(mx.io.NDArrayIter(x, batch_size=2)).asnumpy()
print(np.abs(found - net(x).asnumpy()).max() < 1e-5)
'''


@pytest.mark.parametrize('variables, right', [
    ({}, 'True'), pytest.param({'MXNET_SUBGRAPH_BACKEND': 'MKLDNN'}, 'False', marks=pytest.mark.slow)])
def test_module_api_computes_the_same_unless_the_user_sets_otherwise(tmp_path, variables, right):
    """The second case shows that the first can fail, and that the user's own setting wins."""
    path = str(tmp_path / 'net')
    assert output_of(CODE % (path, path), **variables).splitlines()[-1] == right
