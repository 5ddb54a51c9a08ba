"""Gate statistics equal NumPy's over gates computed layer by layer."""
import weakref
from functools import partial

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd
from mxnet.gluon import nn

from openatac import get_model
from openatac.graph.gates import find_gates
from openatac.graph.nodes import Graph
from openatac.models.weights import save_parameters
from openatac.nn.atac import ChaATAC
from openatac.nn.attention import CBAM
from openatac.nn.gather_excite import GatherExcite
from openatac.nn.squeeze_excite import SEBlock
from openatac.registry import bind_accepted
from openatac.study.gates.gluon_gates import gate_statistics, unit_gates
from openatac.zoo.units import ACTIVATIONS, ATTENTIONS
from tests.helpers.networks.gate_statistics import expected, numbers

C = 6


def network(*units):
    """Return a network of the units in sequence, with trained values and running statistics."""
    net = nn.HybridSequential()
    net.add(*units)
    net.initialize(mx.init.Normal(0.7))
    x = images(9, seed=1)
    x.attach_grad()
    with autograd.record():
        loss = net(x).square().sum()
    loss.backward()
    return net


def images(count, seed=0, side=5):
    values = np.random.RandomState(seed).normal(0.3, 2, (count, C, side, side + 1))
    return mx.nd.array(values * np.arange(1, C + 1)[:, None, None])


def test_statistics_over_batches_equal_those_of_all_gates():
    local, pooled, se = units = ChaATAC(C), ChaATAC(C, useGlobal=True), SEBlock(C, reduction=2)
    net, x = network(*units), images(7)
    rows = gate_statistics(net, [x.asnumpy()[:4], x.asnumpy()[4:]])
    assert [(row['layer'], row['unit'], row['channels'], row['height'], row['width'], row['images'])
            for row in rows] == [('0', 'ChaATAC', C, 5, 6, 7), ('1', 'global ChaATAC', C, 5, 6, 7),
                                 ('2', 'SEBlock', C, 5, 6, 7)]
    assert numbers(rows[0]) == pytest.approx(expected(local.module(x).asnumpy(), x.asnumpy()), abs=1e-5)
    x = local(x)
    assert numbers(rows[1]) == pytest.approx(expected(pooled.module(x).asnumpy(), x.asnumpy()), abs=1e-5)
    x = pooled(x).asnumpy()
    squeeze, back = se.excite[0].weight.data().asnumpy(), se.excite[2].weight.data().asnumpy()
    gate = 1 / (1 + np.exp(-np.maximum(0, x.mean((2, 3)) @ squeeze.T) @ back.T))
    assert numbers(rows[2]) == pytest.approx(expected(gate[:, :, None, None], x), abs=1e-5)
    assert rows[0]['between_pixels'] > 0.01 and rows[1]['between_pixels'] == rows[2]['between_pixels'] == 0


@pytest.mark.parametrize('size', [1, 2, 4])
def test_statistics_do_not_depend_on_the_batch_size(size):
    net, x = network(ChaATAC(C), CBAM(C, reduction=2)), images(7).asnumpy()
    whole = gate_statistics(net, [x])
    parts = gate_statistics(net, [x[start:start + size] for start in range(0, 7, size)])
    for one, other in zip(whole, parts):
        assert one['images'] == other['images'] == 7
        assert numbers(one) == pytest.approx(numbers(other), abs=1e-6)


def test_batches_are_read_one_at_a_time():
    def batches():
        given = []
        for seed in range(5):
            assert sum(reference() is not None for reference in given) <= 1  # the last one
            batch = images(2, seed).asnumpy()
            given.append(weakref.ref(batch))
            yield batch
            del batch

    assert gate_statistics(network(ChaATAC(C)), batches())[0]['images'] == 10


def test_constant_gates_have_no_correlation_or_variance_parts():
    net, x = network(SEBlock(C, reduction=2)), images(3).asnumpy()
    for parameter in net.collect_params().values():
        parameter.set_data(parameter.data() * 0)
    assert numbers(gate_statistics(net, [x])[0]) == [
        0.5, 0.0, None, None, None, 0.0, 0.0, pytest.approx((x > 0).mean()), None]
    *others, mask_mean, correlation = numbers(gate_statistics(network(ChaATAC(C)), [abs(x) + 1])[0])
    assert None not in others
    assert mask_mean == 1
    assert correlation is None


GATED = {'ge, extent 2': lambda: GatherExcite(C, extent=2, variant='theta'),
         **{name: partial(bind_accepted(ATTENTIONS.find(name).gluon, reduction=2), C)
            for name in ATTENTIONS if name != 'nin'},
         **{name: partial(ACTIVATIONS.find(name).gluon, C) for name in ('swish', 'mish', 'xunit', 'ChaATAC')}}


@pytest.mark.parametrize('name', GATED)
def test_output_is_the_input_times_the_gates(name):
    net, x = network(GATED[name]()), images(3)
    gates = unit_gates(net)
    assert [gate.layer for gate in gates] == (['0:1', '0:2'] if name == 'cbam' else ['0'])
    inside = mx.gluon.SymbolBlock(Graph([gates[0].x, *(gate.factor for gate in gates)]).symbol(),
                                  mx.sym.var('data', dtype='float32'), params=net.collect_params())
    source, *factors = [values.asnumpy() for values in inside(x)]
    assert np.array_equal(source, x.asnumpy())
    for factor in factors:
        assert factor.min() > -1e-5 and factor.max() < 1 + 1e-5  # MXNet's tanh rounds below 0
        source = source * factor
    assert np.allclose(source, net(x).asnumpy(), atol=1e-5)


@pytest.mark.parametrize('unit', ['relu', 'prelu', 'elu', 'selu', 'gelu', 'frelu', 'sine', 'nin'])
def test_units_without_gates_have_none(unit):
    net = get_model('cifar_resnet8_v2_' + unit)
    assert unit_gates(net) == [] == find_gates(Graph.of(net(mx.sym.var('data'))))


@pytest.mark.parametrize('name', [
    'cifar_resnet8_v2_atac', 'cifar_resnet8_v2_atac_global', 'cifar_resnet8_v2_mish_cbam',
    'cifar_resnet8_v2_swish', 'cifar_resnet8_v2_xunit_ge', 'cifar_resnet8_v2_relu', 'resnet50_v1b_lca'])
def test_gates_in_pytorch_equal_those_in_gluon(name, tmp_path):
    of_module = pytest.importorskip('openatac.study.gates.torch_gates', reason='needs PyTorch')
    from openatac import pytorch
    settings = {'layers': (1, 1, 1, 1)} if name.startswith('resnet50') else {}
    net, module = get_model(name, **settings), pytorch.get_model(name, **settings)
    x = np.random.RandomState(0).normal(size=(3, 3, 32, 32)).astype('float32')
    net.initialize(mx.init.MSRAPrelu())
    net(mx.nd.array(x))
    save_parameters(net, str(tmp_path / 'net.params'))
    pytorch.load_parameters(module, tmp_path / 'net.params')
    expected = gate_statistics(net, [x[:2], x[2:]])
    found = of_module.gate_statistics(module, [x[:2], x[2:]])
    counts = {'cifar_resnet8_v2_relu': 0, 'cifar_resnet8_v2_mish_cbam': 13, 'cifar_resnet8_v2_xunit_ge': 10,
              'resnet50_v1b_lca': 4}
    assert len(found) == len(expected) == counts.get(name, 7)
    for row, other in zip(found, expected):
        assert row == pytest.approx(other, abs=1e-4)


def test_gates_are_found_in_the_layers_of_each_host():
    def found(name, **settings):
        return [(gate.layer, gate.stage, gate.unit) for gate in unit_gates(get_model(name, **settings))]

    assert found('cifar_resnet8_v2_atac', attention='se', act_layers=2) == [
        ('features.2.0.attention', '1', 'SEBlock'), ('features.3.0.attention', '2', 'SEBlock'),
        ('features.4.0.msAA1', '3', 'ChaATAC'), ('features.4.0.msAA2', '3', 'ChaATAC'),
        ('features.4.0.attention', '3', 'SEBlock'), ('features.6', '', 'ChaATAC')]
    blocks = '1.0', '2.0', '2.1', '3.0', '4.0'
    assert found('resnet50_v1b_lca', layers=(1, 2, 1, 1)) == [
        (f'layer{block}.attention', block[0], 'LocalSEBlock') for block in blocks]


def test_gates_of_modules_called_with_keywords_are_found():
    of_module = pytest.importorskip('openatac.study.gates.torch_gates', reason='needs PyTorch')
    import torch

    class Swish(torch.nn.Module):
        def forward(self, x):
            return torch.nn.functional.silu(inplace=False, input=x)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.swish = Swish()

        def forward(self, x):
            return self.swish(x=x)

    images = np.random.RandomState(0).randn(2, 3, 4, 4).astype('float32')
    row, = of_module.gate_statistics(Net(), [images])
    assert row['layer'] == 'swish' and row['mean'] == pytest.approx(float((1 / (1 + np.exp(-images))).mean()))
