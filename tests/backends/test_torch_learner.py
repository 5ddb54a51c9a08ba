"""PyTorch's learner takes the same steps as MXNet's, and resumes where it stopped."""
import shutil
from functools import partial

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon

from openatac.backends.compute import Compute
from openatac.backends.loss_scale import LossScale
from openatac.backends.mxnet.learner import MxnetLearner
from openatac.errors import DeviceError, OpenatacError
from openatac.files.mxnet_arrays import read_params, write_params
from openatac.graph.named_graph import export_graph
from openatac.models.cifar_resnet import ResNet20V2ATAC
from tests.helpers.learners.training_steps import batch, relative_difference
from tests.helpers.networks.parameters import initialised, parameters_of
from tests.helpers.processes.fresh_python import output_of

torch = pytest.importorskip('torch')
pytestmark = pytest.mark.usefixtures('one_torch_thread')

from torch._dynamo.exc import TorchDynamoException  # noqa: E402

from openatac.backends.torch import nag  # noqa: E402  (they need torch)
from openatac.backends.torch.backend import TorchBackend  # noqa: E402
from openatac.backends.torch.learner import TorchLearner  # noqa: E402
from openatac.backends.torch.shared_statistics import SharedStatistics  # noqa: E402
from openatac.conversion.networks import to_torch  # noqa: E402
from openatac.pytorch import ResNet20V2ATAC as TorchResNet20V2ATAC  # noqa: E402
from openatac.pytorch import use_biased_variance  # noqa: E402

OPTIMIZER = {'learning_rate': 0.01, 'momentum': 0.9, 'wd': 1e-2}
UNDECAYED = ('gamma', 'beta', 'bias')  # the parameters of --no-wd


def network(dtype='float32', **settings):
    """Return a small network with its initial values."""
    net = initialised(ResNet20V2ATAC(layers=[1] * 3, **settings), seed=3)
    net.cast(dtype)
    return net


def gluon_learner(net):
    for name, parameter in parameters_of(net).items():
        parameter.wd_mult = 0.0 if name.endswith(UNDECAYED) else 1.0
    return MxnetLearner(net, [mx.cpu()], OPTIMIZER, (3, 32, 32), seed=3, top5=True)


def learner(net=None, device='cpu', **settings):
    module = net if isinstance(net, torch.nn.Module) else to_torch(net or network())
    return TorchLearner(module, device, OPTIMIZER, compute=Compute(**settings), seed=3, top5=True, no_wd=True)


def train(some_learner, steps, rate=0.01):
    for step in steps:
        some_learner.train_batch(*batch(seed=step), learning_rate=rate)


@pytest.mark.parametrize('settings', [{}, {'drop_rate': 0.1}, {'attention': 'ge', 'reduction': 4}], ids=str)
def test_plain_module_and_converted_graph_take_the_same_steps(settings):
    """Each loads the other's state; their steps nearly always agree to the bit."""
    net = network(**settings)
    module = use_biased_variance(TorchResNet20V2ATAC(layers=[1] * 3, **settings))
    module.load_state_dict({name: torch.tensor(parameter.data().asnumpy())
                            for name, parameter in parameters_of(net).items()})
    plain, graph = learner(module), learner(net)
    assert plain.parameters.keys() == graph.parameters.keys()
    for some_learner in plain, graph:
        train(some_learner, range(3))
    assert relative_difference(plain.state()[0], graph.state()[0], 0.1) < 1e-6
    graph.load_state(*plain.state())
    assert relative_difference(plain.state()[0], graph.state()[0], 0.1) == 0


def values(some_learner):
    """Return the learned arrays, without the sums of the metrics."""
    return {name: array for name, array in some_learner.state()[0].items() if name != 'metrics/0'}


def assert_same_bits(found, expected):
    assert found.keys() == expected.keys()
    assert not [name for name in expected if not np.array_equal(found[name], expected[name])]


# ------------------------------------------------------------------------- MXNet's own training

def gluon_step(net, trainer, x, y):
    x = mx.nd.array(x, dtype=x.dtype)
    x.attach_grad()  # otherwise MXNet's CPU does not learn the image statistics
    with autograd.record():
        loss = gluon.loss.SoftmaxCrossEntropyLoss()(net(x), mx.nd.array(y))
    loss.backward()
    trainer.step(len(y))
    mx.nd.waitall()
    return {name: parameter.data().asnumpy()
            for name, parameter in parameters_of(net).items()}


def torch_step(module, optimizer, x, y):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(module(torch.tensor(x)), torch.tensor(y), reduction='sum').backward()
    optimizer.rescale = 1 / len(y)
    optimizer.step()
    return {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize('momentum', [0.9, 0.0])
@pytest.mark.parametrize('dtype, tolerance, unit', [('float64', 1e-6, 'ChaATAC'), ('float32', 1e-5, 'swish')])
def test_ten_nag_steps_agree_with_mxnet(dtype, tolerance, unit, momentum):
    """Use a changing learning rate, a large weight decay and decay factors.

    In float32 use no ReLU, since rounding would move some pixel across zero within ten steps.
    """
    net = network(dtype, act_type=unit)
    module, parameters = to_torch(net), parameters_of(net)
    for name, parameter in parameters.items():
        parameter.wd_mult = 0.0 if name.endswith(UNDECAYED) else 1.0
    trainer = gluon.Trainer(list(parameters.values()), 'nag', {'momentum': momentum, 'wd': 0.5}, kvstore=None)
    optimizer = nag.NAG([{'params': [tensor], 'wd_mult': parameters[name].wd_mult}
                         for name, tensor in module.named_parameters()],
                        lr=1.0, momentum=momentum, weight_decay=0.5)
    for step in range(10):
        x, y = batch(12, seed=step)
        trainer.set_learning_rate(0.05 * 0.8 ** step)
        optimizer.learning_rate.fill_(0.05 * 0.8 ** step)
        expected = gluon_step(net, trainer, x.astype(dtype), y)
        found = torch_step(module, optimizer, x.astype(dtype), y)
        assert relative_difference(found, expected, 0.1) < tolerance, step


def test_parameter_without_gradient_is_unchanged():
    used, unused = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = nag.NAG([used, unused], lr=0.1, weight_decay=0.1)
    used.grad = torch.ones(2)
    optimizer.step()
    assert used[0] < 1
    assert torch.equal(unused, torch.ones(2))
    assert torch.equal(used.grad, torch.ones(2))


@pytest.mark.parametrize('unit, tolerance', [('ChaATAC', 1e-3), ('swish', 1e-5)])  # with and without ReLU
def test_training_agrees_with_the_mxnet_learner(unit, tolerance):
    theirs = gluon_learner(network(act_type=unit))
    ours = learner(theirs.net)
    for each in (theirs, ours):
        train(each, range(10))
    assert ours.read_metrics()[:3] == pytest.approx(theirs.read_metrics()[:3], rel=1e-4)
    assert ours.read_metrics().image_count == 160
    assert relative_difference(values(ours), values(theirs), 0.1) < tolerance
    test = [batch(40, seed=20), batch(7, seed=21)]
    assert ours.evaluate(test) == pytest.approx(theirs.evaluate(test), rel=1e-5)
    train(ours, [0], rate=0.0)
    assert ours.read_metrics().image_count == 176
    ours.reset_metrics()
    assert ours.read_metrics() == (0.0, 0.0, 0, None)


def test_states_load_in_the_other_learner(tmp_path):
    theirs = gluon_learner(network(act_type='swish'))
    train(theirs, range(3))
    ours = learner(theirs.net)
    write_params(str(tmp_path / 'their.states'), theirs.optimizer_states())
    ours.load_optimizer_states(read_params(str(tmp_path / 'their.states')))
    assert_same_bits(ours.optimizer_states(), theirs.optimizer_states())
    again = gluon_learner(network(act_type='swish'))
    again.load_state(*ours.state())
    for each in (theirs, ours, again):
        train(each, [3])
    assert relative_difference(values(ours), values(theirs), 0.1) < 1e-5
    assert relative_difference(values(again), values(theirs), 0.1) < 1e-5


@pytest.mark.parametrize('make', [learner, lambda: gluon_learner(network())], ids=['torch', 'mxnet'])
@pytest.mark.parametrize('wrong', [1, 3])
def test_states_of_another_network_are_refused_and_change_nothing(make, wrong):
    ours = make()
    train(ours, [0])
    states = ours.optimizer_states()
    others = {name: np.zeros_like(array) for name, array in states.items()}
    with pytest.raises(KeyError, match='output.bias'):
        ours.load_optimizer_states({name: others[name] for name in others if name != 'output.bias/0'})
    with pytest.raises(ValueError, match=rf'output.bias/0 .*\({wrong},\).*\(10,\)'):
        ours.load_optimizer_states(dict(others, **{'output.bias/0': np.ones(wrong, 'float32')}))
    assert_same_bits(ours.optimizer_states(), states)


def test_saved_parameters_equal_the_networks(tmp_path):
    trained, path, (x, _) = learner(), str(tmp_path / 'last.params'), batch()
    train(trained, range(2))
    trained.save_parameters(path)
    net = ResNet20V2ATAC(layers=[1] * 3)
    net.load_parameters(path)
    with torch.inference_mode():
        expected = trained.module.eval()(torch.tensor(x)).numpy()
    assert np.abs(net(mx.nd.array(x)).asnumpy() - expected).max() < 1e-5
    with pytest.raises(FileNotFoundError):
        trained.save_parameters(str(tmp_path / 'no' / 'last.params'))


# -------------------------------------------------------------------------------- exact resuming

@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_evaluating_and_resuming_do_not_change_training(tmp_path, dtype):
    make = partial(learner, dtype=dtype)
    straight, first, second = (make(network(drop_rate=0.2)) for _ in range(3))
    train(straight, range(6))
    train(first, range(3))
    first.evaluate([batch(5)])
    arrays, numbers = first.state()
    train(first, range(3, 6))  # must not change the returned arrays
    write_params(str(tmp_path / 'arrays'), arrays)
    second.load_state(read_params(str(tmp_path / 'arrays')), numbers)
    train(second, range(3, 6))
    assert_same_bits(second.state()[0], straight.state()[0])
    assert second.state()[1] == straight.state()[1] == {'iteration': 6, 'images': 96}
    assert second.read_metrics() == straight.read_metrics()
    assert second.checksum() == straight.checksum() != make().checksum()


def test_randomness_depends_on_the_seed_and_the_iteration():
    def losses(**settings):
        trained, sums = TorchLearner(to_torch(network(drop_rate=0.5)), 'cpu', OPTIMIZER, **settings), []
        for _ in range(2):
            torch.rand(5)  # random numbers drawn by other code
            train(trained, [0], rate=0.0)
            sums.append(trained.read_metrics().loss)
            trained.reset_metrics()
        return sums
    assert losses(seed=1) == losses(seed=1)
    assert len({*losses(seed=1), *losses(seed=2)}) == 4


def test_shared_statistics_refuse_other_batchnorms_in_training():
    norm, x = torch.nn.BatchNorm2d(3), torch.randn(2, 3, 4, 4)
    expected = norm.eval()(x)
    with SharedStatistics():
        assert (norm(x) == expected).all()  # it uses no statistics of the batch
        with pytest.raises(OpenatacError, match='--syncbn'):
            norm.train()(x)


def test_batches_may_be_tensors():
    arrays, tensors = learner(), learner()
    images, labels = batch()
    arrays.train_batch(images, labels, 0.01)
    tensors.train_batch(torch.tensor(images), torch.tensor(labels, dtype=torch.int32), 0.01)
    assert_same_bits(tensors.state()[0], arrays.state()[0])
    assert tensors.evaluate([map(torch.tensor, (images, labels))]) == arrays.evaluate([(images, labels)])


def test_training_continues_after_a_failed_evaluation():
    def broken():
        yield batch()
        raise InterruptedError
    trained = learner()
    with pytest.raises(InterruptedError):
        trained.evaluate(broken())
    assert trained.module.training


# ------------------------------------------------------------------------------- low precision

def test_bfloat16_learns():
    trained, losses = learner(dtype='bfloat16'), []
    for _ in range(15):
        train(trained, [0], rate=0.05)
        losses.append(trained.read_metrics().loss)
        trained.reset_metrics()
    assert losses[-1] < 0.7 * losses[0]
    in_float32 = learner()
    train(in_float32, [0])
    assert 0 < abs(losses[0] - in_float32.read_metrics().loss) < 0.05
    assert {array.dtype for array in values(trained).values()} == {np.dtype('float32')}


def test_step_with_overflowing_gradients_is_skipped():
    trained = learner(dtype='float16')
    trained.loss_scale = LossScale(2.0 ** 60)
    before = values(trained)
    train(trained, [0])
    kept = [name for name in before if not name.endswith(('running_mean/0', 'running_var/0'))]
    assert_same_bits({name: values(trained)[name] for name in kept}, {name: before[name] for name in kept})
    assert trained.loss_scale.scale == 2.0 ** 59 and trained.state()[1]['loss_scale']['scale'] == 2.0 ** 59
    trained.loss_scale.scale = 2.0 ** 10
    plain = learner()
    for each in (trained, plain):
        each.load_state(dict(each.state()[0], **before, **{'metrics/0': np.zeros(2)}),
                        dict(each.state()[1], iteration=0))
        train(each, [0])
    found = {name: array for name, array in values(trained).items() if not name.endswith('/1')}
    assert relative_difference(found, values(plain), 1) < 2e-2


# ------------------------------------------------------------------------------------- compiled

@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which('c++') or shutil.which('g++')), reason='no C++ compiler')
def test_compiled_learner_trains_the_same():
    plain, compiled = learner(), learner(compile=True)
    for each in (plain, compiled):
        train(each, range(3))
    assert relative_difference(values(compiled), values(plain), 0.1) < 1e-5
    assert compiled.read_metrics()[:3] == pytest.approx(plain.read_metrics()[:3], rel=1e-5)
    assert compiled.evaluate([batch()]) == pytest.approx(plain.evaluate([batch()]), rel=1e-5)


def test_missing_compiler_error_names_the_flag_to_omit(monkeypatch):
    def fails(*_):
        raise TorchDynamoException('InvalidCxxCompiler: No working C++ compiler found\n\nSet TORCHDYNAMO_')
    monkeypatch.setattr(torch, 'compile', lambda *_, **__: fails)
    with pytest.raises(DeviceError, match='InvalidCxxCompiler.* --compile'):
        train(learner(compile=True), [0])


# -------------------------------------------------------------------------- machines and errors

def test_learner_works_without_mxnet(tmp_path):
    prefix = str(tmp_path / 'atac')
    export_graph(network(), prefix)
    loss = output_of(f'''
import sys
sys.modules['mxnet'] = None
import numpy as np
from openatac.backends.torch.learner import TorchLearner
from openatac.conversion.networks import to_torch
trained = TorchLearner(to_torch({prefix!r} + '-symbol.json'), 'cpu',
                      {{'learning_rate': 0.01, 'momentum': 0.9, 'wd': 1e-2}})
random = np.random.RandomState(0)
trained.train_batch(random.randn(16, 3, 32, 32).astype('float32'), random.randint(0, 10, 16), 0.01)
trained.save_parameters({prefix!r} + '-0001.params')
print(trained.read_metrics().loss)
''', OMP_NUM_THREADS='1')
    here = learner()
    train(here, [0])
    assert float(loss) == pytest.approx(here.read_metrics().loss, rel=1e-6)
    assert set(read_params(prefix + '-0001.params')) == set(parameters_of(network()))


def test_learner_reports_device_version_and_memory():
    trained = learner()
    assert str(trained.devices) == '1 x cpu' and trained.versions['torch'] == torch.__version__
    assert trained.device_memory() == 0 and trained.process_group.size == 1


def test_backend_needs_values_before_a_learner():
    backend = TorchBackend(to_torch(network()), Compute(engine='torch'), (3, 32, 32), 0, '', True)
    with pytest.raises(RuntimeError):
        backend.learner(OPTIMIZER, {})
    backend.initialize()
    assert backend.learner(OPTIMIZER, {}).iteration == 0


def test_out_of_memory_error_names_the_batch_size():
    def full(*_):
        raise torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate')

    module = to_torch(network())
    module.register_forward_pre_hook(full)
    with pytest.raises(DeviceError, match='--batch-size'):
        train(learner(module), [0])


def test_pytorch_uses_the_threads_that_the_log_names(monkeypatch):
    """PyTorch reads OMP_NUM_THREADS when it is imported, possibly before openatac sets it."""
    before = torch.get_num_threads()
    monkeypatch.setenv('OMP_NUM_THREADS', '2')
    try:
        torch.set_num_threads(1)
        TorchBackend(None, Compute(engine='torch'), (3, 32, 32), seed=0, gpus='', fall_back=True)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
