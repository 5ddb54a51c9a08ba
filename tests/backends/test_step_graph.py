"""The graph of a whole training step gives the same gradients as MXNet's own, with other operators."""
import contextlib
import os

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon

from openatac.backends.mxnet import training_step
from openatac.backends.mxnet.learner import MxnetLearner
from openatac.backends.mxnet.objective import MxnetObjective
from openatac.backends.mxnet.training_step import CpuStep
from openatac.graph.nodes import Graph
from openatac.models.cifar_resnet import ResNet20V2ATAC
from tests.helpers.learners.training_steps import relative_difference
from tests.helpers.networks.imagenet_hosts import shallow_host
from tests.helpers.networks.parameters import initialised, parameters_of
from tests.helpers.processes.fresh_python import output_of

OPTIMIZER = {'learning_rate': 0.1, 'momentum': 0.9, 'wd': 1e-4}
GATED = {
    'ATAC': lambda: ResNet20V2ATAC([1] * 3),
    'ATAC without inner ReLU': lambda: ResNet20V2ATAC([1] * 3, useReLU=False),
    'ATAC in the last blocks': lambda: ResNet20V2ATAC([1] * 3, act_layers=1),
    'dropout': lambda: ResNet20V2ATAC([1] * 3, drop_rate=0.2),
    'Swish': lambda: ResNet20V2ATAC([1] * 3, act_type='swish'),
    'ImageNet': lambda: shallow_host().gluon(classes=10),
}
OTHERS = {
    'no gates': dict(act_type='relu'),
    'one gate for all pixels': dict(useGlobal=True),
    'an operator of no ATAC network': dict(act_type='mish'),
    'gates, and attention beside them': dict(attention='cbam'),
}


def made(name):
    side = 64 if name == 'ImageNet' else 32
    return initialised(GATED[name](), seed=1, side=side), (3, side, side)


def values(net):
    """Return the current ({name: gradient}, {name: running statistic})."""
    mx.nd.waitall()
    parameters = parameters_of(net)
    return ({name: p.grad().asnumpy() for name, p in parameters.items() if p.grad_req != 'null'},
            {name: p.data().asnumpy() for name, p in parameters.items() if p.grad_req == 'null'})


@pytest.mark.parametrize('name, smoothing', [*((name, 0) for name in GATED), ('ATAC', 0.1)])
def test_gradients_equal_those_of_mxnet(name, smoothing):
    net, shape = made(name)
    start = {key: parameter.data().copy() for key, parameter in net.collect_params().items()}
    random = np.random.RandomState(0)
    x, labels = mx.nd.array(random.randn(4, *shape)), mx.nd.array(random.randint(0, 10, 4))
    targets = labels.one_hot(10, 1 - smoothing, smoothing / 9) if smoothing else labels
    x.attach_grad()
    mx.random.seed(7)
    with autograd.record():
        expected = net(x)
        loss = gluon.loss.SoftmaxCrossEntropyLoss(sparse_label=not smoothing)(expected, targets)
    loss.backward()
    gradients, statistics = values(net)
    for key, parameter in net.collect_params().items():
        parameter.set_data(start[key])
        if parameter.grad_req != 'null':
            parameter.zero_grad()
    mx.random.seed(7)
    logits = CpuStep.of(net, shape, MxnetObjective())(x, targets)
    assert relative_difference({'logits': logits.asnumpy()}, {'logits': expected.asnumpy()}) < 1e-4
    found = values(net)
    assert relative_difference(found[0], gradients) < 1e-4
    assert relative_difference(found[1], statistics) < 1e-4


@pytest.mark.parametrize('name', OTHERS)
def test_networks_with_other_operators_have_no_step_graph(name):
    net = initialised(ResNet20V2ATAC([1] * 3, **OTHERS[name]))
    assert CpuStep.of(net, (3, 32, 32), MxnetObjective()) is None


def test_gates_are_computed_by_the_step_graph():
    net, shape = made('ATAC')
    operators = [node.operator for node in Graph.of(CpuStep.of(net, shape, MxnetObjective()).graph).nodes()]
    assert 'broadcast_mul' not in operators and 'Convolution' in operators
    kept = [node.operator for node in Graph.of(net(mx.sym.var('data'))).nodes()]
    assert kept.count('broadcast_mul') == 7, 'the network itself has the published graph'


@pytest.fixture
def without_the_graph(monkeypatch):
    """A context in which MXNet differentiates the network itself."""
    @contextlib.contextmanager
    def context():
        with monkeypatch.context() as patch:
            patch.setattr(CpuStep, 'of', lambda *_: None)
            patch.setattr(training_step, 'faster_network', lambda net, image_shape: net)
            yield
    return context


def learner_after_three_steps(**objective):
    net, shape = made('ATAC')
    objective = MxnetObjective(**objective)
    trainer = MxnetLearner(net, [mx.cpu()], OPTIMIZER, shape, seed=3, objective=objective)
    for seed in range(3):
        random = np.random.RandomState(seed)
        count = 16 - 6 * (seed == 1)  # the second batch is shorter than the others
        images, labels = random.randn(count, *shape).astype('float32'), random.randint(0, 10, count)
        trainer.train_batch(images, labels, 0.01)
    return trainer


@pytest.mark.parametrize('objective', [{}, dict(classes=10, smoothing=0.1),
                                       dict(classes=10, mixup=0.2, mixup_iterations=2)])
def test_run_trains_the_same_with_and_without_the_step_graph(without_the_graph, objective):
    ours = learner_after_three_steps(**objective)
    with without_the_graph():
        theirs = learner_after_three_steps(**objective)
    assert ours.read_metrics()[:3] == pytest.approx(theirs.read_metrics()[:3], rel=1e-4)
    assert relative_difference(ours.state()[0], theirs.state()[0]) < 1e-4


def test_distillation_does_not_use_the_step_graph(monkeypatch):
    monkeypatch.setattr(CpuStep, 'of', lambda *_: pytest.fail('it made a graph of the step'))
    net, shape = made('ATAC')
    teacher, _ = made('ATAC')
    objective = MxnetObjective(10, teacher=teacher)
    trainer = MxnetLearner(net, [mx.cpu()], OPTIMIZER, shape, objective=objective)
    trainer.train_batch(np.zeros((2, *shape), 'float32'), np.array([1, 2]), 0.1)
    assert np.isfinite(trainer.read_metrics().loss)


def test_fusion_requested_by_the_user_is_not_applied(monkeypatch):
    """MXNet would fuse the step as if it were inference."""
    def logits():
        net, shape = made('ATAC')
        step = CpuStep.of(net, shape, MxnetObjective())
        return step(mx.nd.ones((2, *shape)), mx.nd.array([0, 1])).asnumpy()

    plain = logits()
    monkeypatch.setenv('MXNET_SUBGRAPH_BACKEND', 'MKLDNN')
    np.testing.assert_array_equal(logits(), plain)


def test_step_graph_is_unavailable_without_onednn():
    code = '''
import openatac, mxnet as mx
from openatac.backends.mxnet.objective import MxnetObjective
from openatac.backends.mxnet.training_step import CpuStep
net = openatac.get_model('cifar_resnet8_v2_atac')
net.initialize()
net(mx.nd.zeros((1, 3, 32, 32)))
print(CpuStep.of(net, (3, 32, 32), MxnetObjective()))
'''
    assert output_of(code, MXNET_MKLDNN_ENABLED='0') == 'None'


def test_building_the_step_prints_nothing_and_keeps_the_environment(capfd):
    net, shape = made('ATAC')
    before = os.environ['MXNET_SUBGRAPH_BACKEND']
    CpuStep.of(net, shape, MxnetObjective())(mx.nd.ones((2, *shape)), mx.nd.array([0, 1])).wait_to_read()
    assert capfd.readouterr() == ('', '')
    assert os.environ['MXNET_SUBGRAPH_BACKEND'] == before
    os.write(2, b'to be seen')
    assert capfd.readouterr().err == 'to be seen'
