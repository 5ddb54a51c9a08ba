"""Networks converted to PyTorch compute and train as in MXNet, and their weights return to MXNet."""
import copy
import json
from functools import partial

import mxnet as mx
import numpy as np
import pytest
from mxnet import gluon

from openatac import get_model, get_model_list
from openatac.errors import OpenatacError, ParameterFileError
from openatac.files.mxnet_arrays import read_params, write_params
from openatac.graph.named_graph import export_graph
from openatac.graph.nodes import Graph
from openatac.models.cifar_resnet import ResNet20V2ATAC
from openatac.models.cifar_resnet18 import CIFARResNet18
from openatac.nn.gather_excite import GatherExcite
from openatac.nn.group_norm import GroupNorm
from openatac.zoo.units import ACTIVATIONS, ATTENTIONS, SELF_ATTENTIONS
from tests.helpers.exports.exporting import write_symbol
from tests.helpers.networks.both_libraries import (
    RightSELU,
    difference,
    differences,
    infer,
    random_network,
    step_in_mxnet,
    step_in_torch,
)
from tests.helpers.networks.imagenet_hosts import shallow_host
from tests.helpers.networks.parameters import parameters_of
from tests.helpers.processes.fresh_python import output_of, run_python

torch = pytest.importorskip('torch')
pytestmark = pytest.mark.usefixtures('one_torch_thread')

from openatac.conversion import operators  # noqa: E402  (they need torch)
from openatac.conversion.networks import to_gluon, to_torch  # noqa: E402

CIFAR = partial(ResNet20V2ATAC, layers=(1, 1, 1))
CIFAR18 = partial(CIFARResNet18, layers=(1, 1, 1, 1), channels=(16, 32, 32, 64))
IMAGENET = partial(shallow_host().gluon, classes=10, act_layers=4)
UNITS = {**{name: {'act_type': name} for name in ACTIVATIONS},
         **{name: {'act_type': 'relu', 'attention': name} for name in ATTENTIONS}}
NETWORKS = {  # and the side of their images: every unit in one host, and some in the others
    **{'cifar ' + name: (partial(CIFAR, **unit), 32) for name, unit in UNITS.items()},
    **{'cifar18 ' + name: (partial(CIFAR18, **UNITS[name]), 32) for name in ('ChaATAC', 'swish', 'se')},
    **{'imagenet ' + name: (partial(IMAGENET, **UNITS[name]), 64) for name in ('ChaATAC', 'frelu', 'se')},
    **{'imagenet ' + name: (partial(IMAGENET, act_type='relu', self_attention=name), 64)
       for name in SELF_ATTENTIONS},
    'full depth': (partial(ResNet20V2ATAC, layers=(3, 3, 3)), 32),
    'global gate': (partial(CIFAR, useGlobal=True), 32),
    'gathered neighbourhoods': (partial(GatherExcite, 16, extent=4), 10),
    'group norm': (partial(IMAGENET, norm_layer=GroupNorm), 64),
    'options': (partial(IMAGENET, avg_down=True, dilated=True, deep_stem=True, use_global_stats=True), 64),
}


@pytest.fixture
def net():
    """A small network whose running statistics have left their initial values."""
    return random_network(CIFAR, (3, 32, 32))[0]


@pytest.mark.parametrize('name', NETWORKS)
def test_network_computes_the_same_as_in_mxnet(name, monkeypatch):
    """Compare in float64, in which rounding flips no ReLU and thus no gradient."""
    build, side = NETWORKS[name]
    net, x = random_network(build, (16 if name.startswith('gathered') else 3, side, side), 'float64')
    module = to_torch(net)
    monkeypatch.setattr(gluon.nn.SELU, 'hybrid_forward', RightSELU.hybrid_forward)
    net.hybridize()
    outputs, gradients, rest, worst = differences(net, module, x)
    assert outputs < 1e-6 and gradients < 5e-6 and rest < 1e-6, (outputs, gradients, worst, rest)


@pytest.mark.parametrize('name', ['cifar ChaATAC', 'cifar18 swish', 'imagenet ChaATAC', 'full depth'])
def test_network_computes_the_same_as_in_mxnet_in_float32(name):
    build, side = NETWORKS[name]
    for seed in range(4):  # rounding flips a ReLU near zero in some of them
        net, x = random_network(build, (3, side, side), seed=seed)
        module = to_torch(net)
        net.hybridize()
        found = differences(net, module, x)
        outputs, gradients, rest, _ = found
        assert outputs < 1e-5 and rest < 1e-5, found
        if gradients < 1e-4:
            return
    raise AssertionError(found)


def test_all_networks_of_the_zoo_can_be_converted():
    """Convert each network with one block per stage, since further blocks repeat it."""
    names = [name for name in get_model_list() if '_v2_' not in name or name.startswith('cifar_resnet8_')]
    for name in names:
        layers = {} if '_v2_' in name else {'layers': (1, 1, 1, 1)}
        for node in Graph.of(get_model(name, **layers)(mx.sym.var('data'))).nodes():
            if not node.is_variable:
                operators.find_operator(node)


# ----------------------------------------------------------------------- names, files and back

def test_names_and_trainable_parameters_are_kept(net):
    module = to_torch(net)
    parameters = parameters_of(net)
    assert set(module.state_dict()) == set(parameters)
    assert {name for name, _ in module.named_parameters()} == {
        name for name, parameter in parameters.items() if parameter.grad_req != 'null'}


def trained_a_step(module, x):
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    module.train()(torch.tensor(x)).square().mean().backward()
    optimizer.step()
    return module


def test_trained_weights_return_to_gluon(net, tmp_path):
    path, x = str(tmp_path / 'trained.params'), np.random.RandomState(0).randn(4, 3, 32, 32).astype('float32')
    module = trained_a_step(to_torch(net), x)
    to_gluon(module, path)
    back = CIFAR()
    back.load_parameters(path)
    assert difference(back(mx.nd.array(x)).asnumpy(), infer(module, x)) < 1e-5
    assert difference(net(mx.nd.array(x)).asnumpy(), infer(module, x)) > 1e-2
    again = get_model('cifar_resnet8_v2_atac', pretrained=path)
    assert set(read_params(path)) == set(parameters_of(again))
    loaded = to_torch(net, path)
    assert np.array_equal(infer(loaded, x), infer(module, x))


def test_symbol_file_roundtrip(net, tmp_path):
    prefix, x = str(tmp_path / 'atac'), np.random.RandomState(0).randn(4, 3, 32, 32).astype('float32')
    write_symbol(net, prefix)
    module = to_torch(prefix + '-symbol.json')
    assert difference(infer(module, x), net(mx.nd.array(x)).asnumpy()) < 1e-5
    symbol, arguments, auxiliary = mx.model.load_checkpoint(prefix, 0)
    fixed_gamma = symbol.list_arguments()[1]
    assert {name for name, _ in module.named_buffers()} - set(auxiliary) == {fixed_gamma}
    assert np.array_equal(infer(to_torch(symbol, {**arguments, **auxiliary}), x), infer(module, x))

    to_gluon(trained_a_step(module, x), prefix + '-0001.params')
    _, new_arguments, new_auxiliary = mx.model.load_checkpoint(prefix, 1)
    assert new_arguments.keys() == arguments.keys() and new_auxiliary.keys() == auxiliary.keys()
    back = gluon.SymbolBlock.imports(prefix + '-symbol.json', ['data'], prefix + '-0001.params')
    assert difference(back(mx.nd.array(x)).asnumpy(), infer(module, x)) < 1e-5


def test_exported_graphs_have_the_names_of_the_network(net, tmp_path):
    prefix, x = str(tmp_path / 'atac'), mx.nd.random.normal(shape=(2, 3, 32, 32))
    export_graph(net, prefix)
    module, direct = to_torch(prefix + '-symbol.json'), to_torch(net)
    assert {name for name, _ in module.named_parameters()} == {name for name, _ in direct.named_parameters()}
    assert np.array_equal(infer(module, x.asnumpy()), infer(direct, x.asnumpy()))
    expected = net(x).asnumpy()
    block = gluon.SymbolBlock.imports(prefix + '-symbol.json', ['data'], prefix + '-0000.params')
    assert difference(block(x).asnumpy(), expected) < 1e-5
    back = CIFAR()
    back.load_parameters(prefix + '-0000.params')
    assert difference(back(x).asnumpy(), expected) < 1e-5


def test_params_files_are_readable_by_mxnet(tmp_path):
    random = np.random.RandomState(0)
    arrays = {'a.weight': random.randn(2, 3, 1).astype('float32'), 'b': np.arange(5, dtype='int64'),
              'aux:c': random.randn(4).astype('float16'), 'd': random.randn(3)}
    write_params(str(tmp_path / 'ours'), arrays)
    mx.nd.save(str(tmp_path / 'theirs'), {name: mx.nd.array(a, dtype=a.dtype) for name, a in arrays.items()})
    assert (tmp_path / 'ours').read_bytes() == (tmp_path / 'theirs').read_bytes()
    found = read_params(str(tmp_path / 'theirs'))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype and np.array_equal(found[name], array)


def test_converted_network_works_without_mxnet(net, tmp_path):
    """Read, run, train and write in a process without MXNet."""
    prefix, x = str(tmp_path / 'atac'), np.random.RandomState(0).randn(4, 3, 32, 32).astype('float32')
    export_graph(net, prefix)
    np.save(tmp_path / 'x.npy', x)
    output_of('''
import sys
sys.modules['mxnet'] = None
import numpy, torch
from openatac.conversion.networks import to_gluon, to_torch
module = to_torch({0!r} + '-symbol.json')
x = torch.tensor(numpy.load({1!r}))
numpy.save({2!r}, module.eval()(x).detach().numpy())
module.train()(x).sum().backward()
to_gluon(module, {0!r} + '-0001.params')
'''.format(prefix, str(tmp_path / 'x.npy'), str(tmp_path / 'y.npy')), OMP_NUM_THREADS='1')
    assert difference(np.load(tmp_path / 'y.npy'), net(mx.nd.array(x)).asnumpy()) < 1e-5
    expected = step_in_mxnet(net, x, np.ones((4, 10), 'float32'))[2]
    found = read_params(prefix + '-0001.params')
    for name, array in expected.items():
        assert difference(found[name], array, 0.1) < 1e-5, name


def test_missing_pytorch_is_reported():
    result = run_python('-c', 'import sys; sys.modules["torch"] = None\n'
                              'import openatac.conversion.networks')
    assert "pip install 'openatac[torch]'" in result.stderr.splitlines()[-1]


def test_copies_are_independent(net):
    x = np.random.RandomState(0).randn(4, 3, 32, 32).astype('float32')
    module = to_torch(net)
    before, average = infer(module, x), copy.deepcopy(module)
    trained_a_step(module, x)
    assert np.array_equal(infer(average, x), before)
    average.load_state_dict(module.state_dict())
    assert np.array_equal(infer(average, x), infer(module, x))


def test_whole_module_can_be_saved(tmp_path, net):
    x = np.random.RandomState(0).randn(4, 3, 32, 32).astype('float32')
    module = to_torch(net)
    torch.save(module, tmp_path / 'net.pt')
    again = torch.load(tmp_path / 'net.pt', weights_only=False)
    assert np.array_equal(infer(again, x), infer(module, x))
    trained_a_step(module, x)
    trained_a_step(again, x)
    assert np.array_equal(infer(again, x), infer(module, x))
    assert again.meta == module.meta and list(again.state_dict()) == list(module.state_dict())


@pytest.mark.parametrize('backend', ['eager', pytest.param('inductor', marks=pytest.mark.slow)])
def test_network_compiles_as_one_graph(net, tmp_path, backend):
    """Use a backend that compiles no C++, which would take a minute."""
    x = np.random.RandomState(0).randn(4, 3, 32, 32).astype('float32')
    module = to_torch(net)
    compiled = torch.compile(copy.deepcopy(module), fullgraph=True, backend=backend)
    head = np.ones((4, 10), 'float32')
    expected, found = step_in_torch(module, x, head), step_in_torch(compiled, x, head)
    assert difference(found[0], expected[0]) < 1e-5
    assert difference(infer(compiled, x), infer(module, x)) < 1e-5
    to_gluon(compiled, str(tmp_path / 'compiled.params'))
    to_gluon(module, str(tmp_path / 'plain.params'))
    plain = read_params(str(tmp_path / 'plain.params'))
    for name, array in read_params(str(tmp_path / 'compiled.params')).items():
        assert difference(array, plain[name], 0.1) < 1e-5, name


# -------------------------------------------------------------------------------------- errors

def test_wrong_arguments_and_files_are_named(net, tmp_path):
    prefix = str(tmp_path / 'atac')
    symbol, graph = prefix + '-symbol.json', net(mx.sym.var('data'))
    export_graph(net, prefix)
    params = read_params(prefix + '-0000.params')
    with pytest.raises(ValueError, match='HybridBlock'):
        to_torch(42)
    with pytest.raises(ValueError, match='params'):
        to_torch(graph)
    with pytest.raises(ValueError, match='PREFIX-symbol.json'):
        to_torch(prefix + '.onnx')
    with pytest.raises(OpenatacError, match='no-symbol.json'):
        to_torch(str(tmp_path / 'no-symbol.json'))
    with pytest.raises(OpenatacError, match='initialise'):
        to_torch(CIFAR())
    with pytest.raises(ParameterFileError, match='output.bias'):
        to_torch(symbol, {name: array for name, array in params.items() if name != 'output.bias'})
    with pytest.raises(ParameterFileError, match='spare.bias'):
        to_torch(symbol, dict(params, **{'spare.bias': params['output.bias']}))
    with pytest.raises(ParameterFileError, match=r'output.bias .*\(3,\).*\(10,\)'):
        to_torch(symbol, dict(params, **{'output.bias': np.ones(3)}))
    with pytest.raises(ValueError, match='Linear'):
        to_gluon(torch.nn.Linear(2, 2), prefix + '-0000.params')
    with pytest.raises(OpenatacError, match='no/x.params'):
        to_gluon(to_torch(net), str(tmp_path / 'no' / 'x.params'))


@pytest.mark.parametrize('text', ['', '{}', '[1]', json.dumps({'nodes': []}), '\0\1'])
def test_damaged_symbol_file_is_named(tmp_path, text):
    (tmp_path / 'x-symbol.json').write_text(text)
    with pytest.raises(OpenatacError, match='x-symbol.json'):
        to_torch(str(tmp_path / 'x-symbol.json'))


def test_symbol_file_of_an_old_mxnet_is_refused(tmp_path):
    nodes = [{'op': 'null', 'name': 'data', 'inputs': []},
             {'op': 'Flatten', 'name': 'flat', 'param': {}, 'inputs': [[0, 0]]}]
    (tmp_path / 'x-symbol.json').write_text(json.dumps({'nodes': nodes, 'arg_nodes': [0], 'heads': [[1, 0]]}))
    with pytest.raises(OpenatacError, match='x-symbol.json.* 1.0'):
        to_torch(str(tmp_path / 'x-symbol.json'))


def test_damaged_params_file_is_named(net, tmp_path):
    prefix = tmp_path / 'atac'
    export_graph(net, str(prefix))
    params = tmp_path / 'atac-0000.params'
    whole = params.read_bytes()
    params.write_bytes(whole[:-5])
    with pytest.raises(ParameterFileError, match='atac-0000.params'):
        to_torch(str(prefix) + '-symbol.json')
    mx.nd.save(str(params), [mx.nd.ones(3)])
    with pytest.raises(ParameterFileError, match='atac-0000.params'):
        read_params(str(params))
    with pytest.raises(ParameterFileError, match='none.params'):
        read_params(str(tmp_path / 'none.params'))
