"""Parameters and multiply-adds equal the oracle's table."""
import json
from pathlib import Path

import mxnet as mx
import pytest
from mxnet.gluon import nn

from openatac.models.cifar_resnet import ResNet20V2ATAC
from openatac.models.resnet_v1b import ResNet50_v1bATAC
from openatac.study.costs import costs

ROWS = json.loads((Path(__file__).parent / 'oracle' / 'costs.json').read_text())['rows']


@pytest.mark.parametrize('row', ROWS, ids=lambda row: '-'.join(str(v) for v in list(row.values())[:6]))
def test_costs_equal_the_oracle(row):
    arguments = {key: value for key, value in row.items()
                 if key not in ('net', 'blocks', 'flops', 'unique', 'trainable')}
    if row['net'] == 'cifar':
        net, shape = ResNet20V2ATAC(layers=[row['blocks']] * 3, **arguments), (3, 32, 32)
    else:
        net, shape = ResNet50_v1bATAC(**arguments), (3, 224, 224)
    net.initialize()
    net.infer_shape(mx.nd.zeros((1,) + shape))
    found = costs(net, shape, published=True)
    assert (found.multiply_adds, found.parameters, found.trainable) == (
        row['flops'], row['unique'], row['trainable'])


def test_a_small_network_by_hand():
    net = nn.HybridSequential()
    net.add(nn.Conv2D(4, 3, padding=1, use_bias=False), nn.BatchNorm(), nn.Flatten(), nn.Dense(5))
    net.initialize()
    net(mx.nd.zeros((1, 3, 6, 6)))
    found = costs(net, (3, 6, 6))
    assert found.multiply_adds == 6 * 6 * 4 * (3 * 3 * 3) + 4 * 36 * 5
    assert found.trainable == 4 * 27 + 2 * 4 + 4 * 36 * 5 + 5
    assert found.parameters == found.trainable + 2 * 4
