"""Symbol files and archives that were crafted to kill or stall their reader are refused."""
import gzip
import io
import json
import os
import tarfile

import mxnet as mx
import pytest

from openatac.commands import predict
from openatac.data import archives
from openatac.data.small import cifar
from openatac.errors import DataError, OpenatacError
from openatac.export.exported_symbol import load_block
from openatac.graph import symbol_files, untrusted_symbols
from openatac.graph.fusion import fuse
from openatac.graph.symbol_files import read_checked_json, read_symbol
from openatac.graph.tensor_sizes import check_takes_images
from openatac.graph.untrusted_symbols import check_graph
from openatac.models.networks_by_name import get_model
from openatac.study.costs.named_costs import costs_by_name_or_file
from tests.helpers.processes.scripts import changed_json


def small():
    """Return the graph of a convolution, a split and a sum, as MXNet writes it."""
    data = mx.sym.var('data')
    first = mx.sym.Convolution(data, num_filter=4, kernel=(3, 3), pad=(1, 1), no_bias=True, name='conv')
    halves = mx.sym.SliceChannel(first, num_outputs=2, name='split')
    return json.loads((halves[0] + halves[1]).tojson())


def write(folder, graph):
    path = str(folder / 'x-symbol.json')
    with open(path, 'w', encoding='utf-8') as handle:
        handle.write(graph if isinstance(graph, str) else json.dumps(graph))
    return path


def node(graph, name):
    return next(node for node in graph['nodes'] if node['name'] == name)


def attribute(name, key, value):
    return lambda graph: node(graph, name)['attrs'].update({key: value})


def entry(name, place, value):
    return lambda graph: node(graph, name)['inputs'][0].__setitem__(place, value)


CRAFTED = {
    'a group of 0': attribute('conv', 'num_group', '0'), 'in words': attribute('conv', 'num_group', ' -0'),
    'a stride of 0': attribute('conv', 'stride', '(0, 0)'), 'no filter': attribute('conv', 'num_filter', '0'),
    'too many filters': attribute('conv', 'num_filter', '2000000000'),
    'a negative kernel': attribute('conv', 'kernel', '(-3, 3)'),
    'an endless number': attribute('conv', 'num_filter', '9' * 400),
    'a split into none': attribute('split', 'num_outputs', '0'),
    'a split into more than can be named': attribute('split', 'num_outputs', '65536'),
    'a long attribute': attribute('conv', 'layout', 'x' * 10 ** 6),
    'an attribute that is not text': attribute('conv', 'num_filter', 4),
    'a reference forward': entry('split', 0, 4), 'to itself': entry('split', 0, 3),
    'to nowhere': entry('split', 0, 10 ** 6), 'below 0': entry('split', 0, -1),
    'to an output that is not there': entry('split', 1, 1), 'an output below 0': entry('split', 1, -1),
    'to an output of a variable': entry('conv', 1, 1),
    'a version below 0': entry('split', 2, -1), 'a reference that is not a number': entry('split', 0, 'a'),
    'a head beyond the outputs': lambda graph: graph.update(heads=[[3, 7, 0]]),
    'a head beyond the nodes': lambda graph: graph.update(heads=[[99, 0, 0]]),
    'no heads': lambda graph: graph.update(heads=[]), 'no nodes': lambda graph: graph.update(nodes=[]),
    'operators listed as variables': lambda graph: graph.update(arg_nodes=[2]),
    'variables that are not there': lambda graph: graph.update(arg_nodes=[99]),
    'a control dependency': lambda graph: node(graph, 'conv').update(control_deps=[77]),
    'a graph in an operator that is none': lambda graph: node(graph, 'conv').update(subgraphs=[5]),
    'graphs in graphs': lambda graph: node(graph, 'conv').update(subgraphs=[nested(9)]),
    'an address': lambda graph: node(graph, 'conv').update(op='_Native', attrs={'info': '4096'}),
    'a file': lambda graph: node(graph, 'conv').update(op='_cvimread', attrs={'filename': '/dev/zero'}),
    'code': lambda graph: node(graph, 'conv').update(op='Custom', attrs={'op_type': 'x'}),
    'an unknown operator': lambda graph: node(graph, 'conv').update(op='abacus'),
    'a version that is none': lambda graph: graph.update(attrs={'mxnet_version': ['int', -5]}),
    'no names': lambda graph: [node.pop('name') for node in graph['nodes']],
}


def nested(depth):
    inner = {'nodes': [{'op': 'null', 'name': 'a', 'inputs': []}], 'arg_nodes': [0], 'heads': [[0, 0, 0]]}
    for _ in range(depth):
        inner = {'nodes': [{'op': 'null', 'name': 'a', 'inputs': [], 'subgraphs': [inner]}], 'arg_nodes': [0],
                 'heads': [[0, 0, 0]]}
    return inner


@pytest.mark.parametrize('kind', CRAFTED)
def test_crafted_graph_is_refused(tmp_path, kind):
    graph = small()
    CRAFTED[kind](graph)
    path = write(tmp_path, graph)
    for read in (read_symbol, load_symbol_of, lambda path: costs_by_name_or_file(path, (3, 8, 8))):
        with pytest.raises(OpenatacError):
            read(path)


@pytest.mark.parametrize('reshape', [{'shape': (-1, 3)}, {'shape': (0, -3, -1)}, {'shape': (-4, 1, -1, -2)}])
def test_reshape_of_an_empty_array_is_refused(tmp_path, reshape):
    data = mx.sym.var('data')
    first = mx.sym.Reshape(data, shape=(-1, 2, 8))
    empty = mx.sym.slice(first, begin=(None, 2147483647), end=(None, 8))
    behind_another = mx.sym.exp(mx.sym.Reshape(mx.sym.exp(empty), **reshape))
    for symbol in (mx.sym.Reshape(empty, **reshape), behind_another):
        path = write(tmp_path, symbol.tojson())
        with pytest.raises(OpenatacError, match=path):
            costs_by_name_or_file(path, (3, 8, 8))
        with pytest.raises(OpenatacError, match=r'\(3, 8, 8\)'):
            check_takes_images(read_symbol(path), (3, 8, 8))


@pytest.mark.parametrize('shape', [(0, 1), (0, -3, 1), (0, 0, 0, 1), (-3, 1), (7,), (10 ** 6,)])
def test_reshape_must_keep_the_number_of_elements(tmp_path, shape):
    """MXNet's own check accepts these shapes, and its copy then writes beyond the end of the output."""
    path = write(tmp_path, mx.sym.Reshape(mx.sym.var('data'), shape=shape).tojson())
    with pytest.raises(OpenatacError, match=r'\(4, 4, 8\)'):
        check_takes_images(read_symbol(path), (4, 4, 8))


def test_repeated_reshapes_are_limited(tmp_path):
    outputs = mx.sym.var('data')
    for _ in range(257):
        outputs = mx.sym.Reshape(outputs, shape=(0, -1))
    with pytest.raises(OpenatacError, match='256'):
        costs_by_name_or_file(write(tmp_path, outputs.tojson()), (3, 8, 8))


def load_symbol_of(path):
    return load_block(path[:-len('-symbol.json')])


@pytest.mark.parametrize('text', [
    '', '[]', '{}', 'null', '[' * 100_000, '{"nodes": ' * 100_000, '\0', '{"nodes": 5}',
    '{"nodes": [[]], "heads": [[0,0,0]], "arg_nodes": []}'])
def test_malformed_graph_is_refused(tmp_path, text):
    for read in (read_symbol, read_checked_json):
        with pytest.raises(OpenatacError):
            read(write(tmp_path, text))


def test_without_mxnet_each_node_has_one_output():
    with pytest.raises(ValueError, match=r'\b1\b.*\bsplit\b'):
        check_graph(small())


def test_total_number_of_node_outputs_is_limited():
    graph, asked = small(), []
    graph['heads'] = [[3, output, 0] for output in range(4)]

    def count(node, outputs=4):
        asked.append(node['name'])
        return outputs

    check_graph(graph, count)
    assert asked == ['split']
    with pytest.raises(ValueError, match='50000'):
        check_graph(graph, lambda node: count(node, 50_001))


def test_errors_state_the_limits(tmp_path, monkeypatch):
    monkeypatch.setattr(untrusted_symbols, 'MAX_NODES', 3)
    with pytest.raises(OpenatacError, match=r'\b3\b'):
        read_symbol(write(tmp_path, small()))
    monkeypatch.setattr(symbol_files, 'MAX_TEXT_BYTES', 2 ** 20)
    with pytest.raises(OpenatacError, match='1 MB'):
        read_symbol(write(tmp_path, f'"{"x" * 2 ** 20}"'))


@pytest.mark.parametrize('name', ['cifar_resnet8_v2_atac', 'cifar_resnet8_v2_se', 'resnet50_v1b_fa'])
def test_own_graphs_roundtrip_unchanged(tmp_path, name):
    symbol = get_model(name)(mx.sym.var('data'))
    for each in (symbol, fuse(symbol)):
        assert read_symbol(write(tmp_path, each.tojson())).tojson() == each.tojson()


def test_network_that_needs_too_much_memory_is_refused(prefix, tmp_path, capsys):
    with changed_json(prefix + '-symbol.json') as graph:
        last = graph['heads'][0][0]
        graph['nodes'].append({'op': 'tile', 'name': 'tile', 'attrs': {'reps': '(60000, 60000)'},
                               'inputs': [[last, 0, 0]]})
        graph['heads'] = [[last + 1, 0, 0]]
    with changed_json(prefix + '.json') as manifest:
        manifest['sha256'] = {}
    with pytest.raises(OpenatacError):
        predict.main([prefix, '-'])


def test_parameter_type_unknown_to_gluon_is_refused(prefix):
    os.unlink(prefix + '.json')
    with changed_json(prefix + '-symbol.json') as graph:
        for variable in graph['nodes']:
            if variable['op'] == 'null' and variable['name'] != 'data':
                variable.setdefault('attrs', {})['__storage_type__'] = '1'
    with pytest.raises(OpenatacError, match='-symbol.json'):
        load_block(prefix)


# --------------------------------------------------------------------------------- archives

@pytest.fixture
def small_limit(monkeypatch):
    monkeypatch.setattr(archives, 'MAX_ARCHIVE_BYTES', 2 ** 20)


def archive(folder, *members, tail=b''):
    path = str(folder / 'cifar-10-binary.tar.gz')
    with gzip.open(path, 'wb') as file:
        with tarfile.open(fileobj=file, mode='w') as tar:
            for name, size in members:
                member = tarfile.TarInfo('cifar-10-batches-bin/' + name)
                member.size = size
                tar.addfile(member, io.BytesIO(bytes(size)))
        file.write(tail)
    return path


def test_archive_that_unpacks_beyond_the_limit_is_refused(small_limit, tmp_path):
    path = archive(tmp_path, ('test_batch.bin', 3 * 2 ** 20))
    assert os.path.getsize(path) < 10_000
    with pytest.raises(DataError, match='1 MB'):
        cifar.load_cifar('cifar10', path, train=False)


def test_archive_with_data_after_its_end_is_refused(small_limit, tmp_path):
    path = archive(tmp_path, ('test_batch.bin', 3073), tail=bytes(2 ** 21))
    with pytest.raises(DataError, match='1 MB'):
        cifar.load_cifar('cifar10', path, train=False)


def test_archive_header_that_asks_for_all_memory_is_refused(small_limit, tmp_path):
    header = tarfile.TarInfo('a')
    header.type, header.size = tarfile.XHDTYPE, 2 ** 33 - 1
    path = str(tmp_path / 'cifar-10-binary.tar.gz')
    with gzip.open(path, 'wb') as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(DataError):
        cifar.load_cifar('cifar10', path, train=False)


def test_sparse_file_beyond_the_limit_is_refused(small_limit, tmp_path):
    with open(tmp_path / 'test_batch.bin', 'wb') as file:
        file.truncate(3073 * 1000)
    with pytest.raises(DataError, match='1 MB'):
        cifar.load_cifar('cifar10', str(tmp_path), train=False)
