"""Symbols as graphs: reading, writing, traversing, rewriting, and finding gates."""
import json
import re

import mxnet as mx
import numpy as np
import pytest

from openatac import get_model
from openatac.errors import OpenatacError
from openatac.graph.fusion import fuse
from openatac.graph.gates import find_gates
from openatac.graph.nodes import DEFAULTS, Graph, Node, Output, UnknownShapesError
from openatac.graph.symbol_files import read_graph
from tests.helpers.processes.fresh_python import output_of


def network(name='cifar_resnet8_v2_atac'):
    return get_model(name)(mx.sym.var('data'))


def run(symbol, x):
    return symbol.eval(mx.cpu(), data=mx.nd.array(x))[0].asnumpy()


@pytest.mark.parametrize('name', ['cifar_resnet8_v2_atac', 'cifar_resnet8_v2_cbam', 'resnet50_v1b_fa'])
@pytest.mark.parametrize('form', [lambda symbol: symbol, fuse], ids=['plain', 'fused'])
def test_graph_roundtrip(name, form):
    """Keep nodes, their order, attributes, subgraphs and the versions of running statistics."""
    symbol = form(network(name))
    described = json.loads(symbol.tojson())
    del described['node_row_ptr']
    for node in described['nodes']:
        for inner in node.get('subgraphs', ()):
            del inner['node_row_ptr']
    graph = Graph.of(symbol)
    assert graph.to_json() == described
    assert graph.symbol().tojson() == symbol.tojson()


def test_graph_with_several_outputs():
    halves = mx.sym.SliceChannel(mx.sym.var('data'), num_outputs=2, name='split')
    graph = Graph.of(mx.sym.Group([halves[1], halves[0] - halves[1]]))
    split, difference = (node for node in graph.nodes() if not node.is_variable)
    assert graph.outputs == [Output(split, 1), Output(difference)]
    graph.infer_shapes(data=(2, 6, 5))
    assert split.shapes == ((2, 3, 5), (2, 3, 5)) and difference.inputs[1].shape == (2, 3, 5)
    x = np.arange(4, dtype='float32').reshape(1, 4)
    assert run(graph.symbol(), x).tolist() == [[2, 3]]


def test_deep_graph_is_traversed():
    node = data = Node('null', 'data')
    for index in range(20_000):
        node = Node('exp', str(index), [Output(node)])
    nodes = Graph([Output(node)]).nodes()
    assert len(nodes) == 20_001 and nodes[0] is data and nodes[-1] is node
    assert Graph.parse(Graph([Output(node)]).to_json()).nodes()[-1].name == '19999'


def test_attributes_are_parsed_as_values():
    node = Node('x', 'x', attributes={'kernel': '(3, 3)', 'flag': 'True', 'act_type': 'relu', '__note__': '1',
                                      'crafted': '(' * 4000})
    assert (node.get('kernel'), node.get('flag'), node.get('act_type'), node.get('none')) == (
        (3, 3), True, 'relu', None)
    assert node.settings() == {'kernel': (3, 3), 'flag': True, 'act_type': 'relu', 'crafted': '(' * 4000}


@pytest.mark.parametrize('operator', sorted(set(DEFAULTS) - {'null'}))
def test_default_attributes_are_those_of_mxnet(operator):
    contrib = operator.startswith('_contrib_')
    described = getattr(mx.sym.contrib if contrib else mx.sym, operator.replace('_contrib_', '')).__doc__
    for name in DEFAULTS[operator]:
        kind, default = re.search(rf"^{name} : (.*),\s?optional, default='?([^'\n]*)'?$",
                                  described, re.M).groups()
        value = Node(operator, 'x').get(name)
        assert value == (default if kind.startswith('{') else pytest.approx(float(default), rel=1e-6)), name


def test_node_is_replaced_by_a_graph_of_its_inputs():
    a, b = mx.sym.var('data'), mx.sym.var('b')
    graph = Graph.of(mx.sym.elemwise_mul(mx.sym.elemwise_sub(a, b, name='minus'), a, name='times'))
    minus = next(node for node in graph.nodes() if node.name == 'minus')
    one, two = mx.sym.var('0'), mx.sym.var('1')
    minus.replace(Graph.of(mx.sym.elemwise_add(mx.sym.negative(one, name='less'), two, name='sum')))
    assert [(node.operator, node.name) for node in graph.nodes() if not node.is_variable] == [
        ('negative', 'minus_less'), ('elemwise_add', 'minus'), ('elemwise_mul', 'times')]
    found = graph.symbol().eval(mx.cpu(), data=mx.nd.array([2]), b=mx.nd.array([5]))[0]
    assert found.asnumpy().tolist() == [6]


def test_readers_lists_every_consumer_of_a_node():
    a = mx.sym.var('a')
    b = mx.sym.exp(a, name='b')
    readers = Graph.of(mx.sym.Group([b * b, mx.sym.sin(a, name='c')])).readers()
    assert {node.name: [reader.operator for reader in found] for node, found in readers.items()
            if node.name in 'abc'} == {'a': ['exp', 'sin'], 'b': ['elemwise_mul'] * 2, 'c': []}


def test_undetermined_or_mismatched_shapes_are_errors(capfd):
    graph = Graph.of(mx.sym.broadcast_add(mx.sym.var('data'), mx.sym.var('b')))
    with pytest.raises(UnknownShapesError):
        graph.infer_shapes(data=(1, 2))
    with pytest.raises(mx.MXNetError):
        graph.infer_shapes(data=(1, 2), b=(3, 3))
    assert capfd.readouterr().out == ''


def test_file_is_read_without_mxnet(tmp_path):
    path = tmp_path / 'x-symbol.json'
    path.write_text(network().tojson())
    found = output_of('import sys\nfrom openatac.graph.symbol_files import read_graph\n'
                      f'print(len(read_graph({str(path)!r}).nodes()), "mxnet" in sys.modules)')
    assert found == f'{len(Graph.of(network()).nodes())} False'


def test_file_of_an_old_mxnet_is_refused(tmp_path):
    described = Graph.of(network()).to_json()
    described['nodes'][-1]['param'] = described['nodes'][-1].pop('attrs')
    (tmp_path / 'x-symbol.json').write_text(json.dumps(described))
    with pytest.raises(OpenatacError, match='x-symbol.json.*1.0'):
        read_graph(str(tmp_path / 'x-symbol.json'))


# ------------------------------------------------------------------------------------ gates

def gates_of(outputs):
    return [(gate.x.node.name, gate.factor.node.name) for gate in find_gates(Graph.of(outputs))]


def test_gate_depends_on_the_array_that_it_multiplies():
    x, y = mx.sym.var('x'), mx.sym.var('y')
    gate = mx.sym.sigmoid(x, name='gate')
    for product in (x * gate, gate * x, mx.sym.broadcast_mul(gate, x)):
        assert gates_of(product) == [('x', 'gate')]
    assert gates_of(y * gate) == gates_of(x + gate) == []
    product = mx.sym.elemwise_mul(x, gate, name='first')
    assert gates_of(product * mx.sym.tanh(product, name='second')) == [('x', 'gate'), ('first', 'second')]


def test_factors_that_depend_only_on_the_shape_are_not_gates():
    x, weight = mx.sym.var('x'), mx.sym.var('w')
    for factor in (mx.sym.ones_like(x) * weight, mx.sym.reshape_like(weight, x),
                   mx.sym.slice_like(mx.sym.sin(weight), mx.sym.exp(x))):
        assert gates_of(x * factor) == []


@pytest.mark.parametrize('name, count', [
    ('atac', 7), ('swish', 7), ('mish', 7), ('xunit', 7), ('se', 3), ('ge', 3), ('eca', 3), ('cbam', 6),
    ('lca', 3), ('relu', 0), ('prelu', 0)])
def test_gates_of_whole_networks_are_found(name, count):
    assert len(gates_of(network('cifar_resnet8_v2_' + name))) == count
