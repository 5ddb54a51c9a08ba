"""Parameters and multiply-adds equal the oracle's table."""
import json
from pathlib import Path

import mxnet as mx
import pytest
from mxnet.gluon import nn

from openatac import cli, get_model
from openatac.models.cifar_resnet import ResNet20V2ATAC
from openatac.models.resnet_v1b import ResNet50_v1bATAC
from openatac.models.weights import save_parameters
from openatac.study.costs.gluon_costs import costs, layers, symbol_costs
from tests import oracle
from tests.helpers.networks.parameters import initialised
from tests.helpers.processes.commands import command_error

ROWS = json.loads((Path(oracle.__file__).parent / 'costs.json').read_text())['rows']


@pytest.mark.parametrize('row', ROWS, ids=lambda row: '-'.join(str(v) for v in list(row.values())[:6]))
def test_costs_equal_the_oracle(row):
    arguments = {key: value for key, value in row.items()
                 if key not in ('net', 'blocks', 'flops', 'unique', 'trainable')}
    if row['net'] == 'cifar':
        net, shape = ResNet20V2ATAC(layers=[row['blocks']] * 3, **arguments), (3, 32, 32)
    else:
        net, shape = ResNet50_v1bATAC(**arguments), (3, 224, 224)
    net.initialize()
    net.infer_shape(mx.nd.zeros((1, *shape)))
    found = costs(net, shape, published=True)
    assert (found.multiply_adds, found.parameters, found.trainable) == (
        row['flops'], row['unique'], row['trainable'])


def test_costs_of_a_small_network_equal_a_hand_calculation():
    net = nn.HybridSequential()
    net.add(nn.Conv2D(4, 3, padding=1, use_bias=False), nn.BatchNorm(), nn.Flatten(), nn.Dense(5))
    found = costs(initialised(net, side=6), (3, 6, 6))
    assert found.multiply_adds == 6 * 6 * 4 * (3 * 3 * 3) + 4 * 36 * 5
    assert found.trainable == 4 * 27 + 2 * 4 + 4 * 36 * 5 + 5
    assert found.parameters == found.trainable + 2 * 4
    assert found.activations == 4 * 36 + 4 * 36 + 5  # flattening makes a view


class Products(nn.HybridSequential):
    """All kinds of matrix products of x (B, 3, 4, 5); those with ones only repeat or add values."""

    def hybrid_forward(self, F, x):
        planes = F.reshape(x, (0, 0, -1))  # (B, 3, 20)
        ones = F.ones_like(F.slice_axis(planes, axis=2, begin=0, end=1))  # (B, 3, 1)
        of_pixels = F.batch_dot(planes, planes, transpose_a=True)  # (B, 20, 20): 3 each
        of_channels = F.batch_dot(planes, planes, transpose_b=True)  # (B, 3, 3): 20 each
        mixed = F.linalg.gemm2(of_channels, F.batch_dot(planes, of_pixels))  # (B, 3, 20): 3 and 20 each
        flat = F.dot(F.flatten(mixed), F.flatten(mixed), transpose_a=True)  # (60, 60): 1 image each
        return F.broadcast_add(F.batch_dot(ones, mixed, transpose_a=True), F.sum(flat))


def test_matrix_products_count_unless_one_factor_is_ones():
    found = costs(Products(), (3, 4, 5))
    assert found.multiply_adds == 20 * 20 * 3 + 3 * 3 * 20 + 3 * 20 * 20 + 3 * 20 * 3 + 60 * 60


def test_computed_filters_count_and_shared_arrays_count_once():
    x, weight = mx.sym.var('data'), mx.sym.var('weight', shape=(6, 3, 1, 1))
    y = mx.sym.Convolution(x, 2 * weight, kernel=(1, 1), num_filter=6, no_bias=True)
    y = mx.sym.concat(y, mx.sym.Convolution(x, weight, kernel=(1, 1), num_filter=6, no_bias=True))
    every = layers(y, (3, 4, 5))
    assert sum(layer.multiply_adds for layer in every) == 2 * 20 * 6 * 3
    assert sum(layer.parameters for layer in every) == symbol_costs(y, (3, 4, 5)).parameters == 18


def costs_of(*arguments, capsys):
    """Return {network: (parameters, trainable, multiply-adds, activations in MB)} from `openatac costs`."""
    assert cli.main(['costs', *map(str, arguments)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    start = next(index for index, row in enumerate(rows) if row[0] == 'network')
    return {name: (*(int(value.replace(',', '')) for value in (parameters, trainable, multiply_adds)),
                   float(megabytes))
            for name, parameters, trainable, multiply_adds, megabytes, *_ in rows[start + 1:]}


def test_command_gives_the_published_figures(capsys):
    """Table II: 4.4 G multiply-adds for ATAC-ResNet-50."""
    found = costs_of('--published', 'resnet50_v1b_atac', 'cifar_resnet8_v2_relu', capsys=capsys)
    wanted = {'net': 'cifar', 'blocks': 1, 'act_type': 'relu', 'classes': 10}
    row = next(row for row in ROWS if wanted.items() <= row.items())
    assert found['cifar_resnet8_v2_relu'][:3] == (row['unique'], row['trainable'], row['flops'])
    assert found['resnet50_v1b_atac'][2] == 4399512552


def test_layers_and_symbol_files_add_up(tmp_path, capsys):
    net = ResNet20V2ATAC(layers=[1] * 3)
    net.initialize()
    net.hybridize()
    net(mx.nd.zeros((1, 3, 32, 32)))
    net.export(str(tmp_path / 'net'))
    path = tmp_path / 'net-symbol.json'
    by_name = costs_of('cifar_resnet8_v2_atac', capsys=capsys)['cifar_resnet8_v2_atac']
    by_file = costs_of(path, '--input-size', 32, capsys=capsys)['net-symbol.json']
    assert by_file[0] == by_name[0] and by_file[2:] == by_name[2:]
    assert by_file[1] - by_name[1] == 3  # the first BatchNorm's shift; the file does not mark it as fixed
    cli.main(['costs', '--layers', 'cifar_resnet8_v2_atac'])
    rows = [line.split() for line in capsys.readouterr().out.split('\n\n')[0].splitlines()[1:]]
    assert sum(int(row[3].replace(',', '')) for row in rows) == by_name[0]
    assert sum(int(row[4].replace(',', '')) for row in rows) == by_name[2]


def test_export_knows_its_input_size(tmp_path, capsys):
    save_parameters(initialised(get_model('cifar_resnet8_v2_relu')), str(tmp_path / 'w.params'))
    prefix = str(tmp_path / 'net')
    assert cli.main(['export', 'cifar_resnet8_v2_relu', str(tmp_path / 'w.params'),
                     prefix]) == 0
    capsys.readouterr()
    by_file = costs_of(f'{prefix}-symbol.json', capsys=capsys)['net-symbol.json']
    assert by_file[2] == costs_of('cifar_resnet8_v2_relu', capsys=capsys)['cifar_resnet8_v2_relu'][2]
    for name in (f'{prefix}-symbol.json', f'{prefix}.json'):  # the latter is the manifest
        assert cli.main(['costs', name]) == 0
        assert '32 x 32' in capsys.readouterr().out


@pytest.mark.parametrize('arguments, code, named', [
    (['cifar_resnet8_v2_gleu'], 2, 'cifar_resnet8_v2_gelu'),
    (['nowhere.json'], 1, 'nowhere.json'),
    ([__file__.replace('.py', '.json')], 1, __file__.replace('.py', '.json')),
    (['resnet50_v1b_relu', '--classes', '0'], 2, '--classes: 0 '),
    (['x-symbol.json', '--classes', '5'], 2, '--classes: x-symbol.json'),
])
def test_unsupported_inputs_have_no_costs(arguments, code, named, capsys):
    assert named in command_error(capsys, 'costs', code, *arguments)


def test_damaged_symbol_and_wrong_image_size_are_refused(tmp_path, capsys):
    (tmp_path / 'text.json').write_text('no symbol')
    error = command_error(capsys, 'costs', 1, tmp_path / 'text.json')
    assert 'symbol' in error and 'text.json' in error
    symbol = mx.sym.Convolution(mx.sym.var('data'), kernel=(3, 3), num_filter=1)
    symbol.save(str(tmp_path / 'conv.json'))
    assert '1 x 1' in command_error(capsys, 'costs', 1, tmp_path / 'conv.json', '--input-size', 1)
