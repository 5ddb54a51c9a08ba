"""ATAC replaces activations in existing networks: GluonCV's, and small ones with one difficulty each."""
import re

import mxnet as mx
import numpy as np
import pytest
from gluoncv import model_zoo
from gluoncv.model_zoo.densenet import DenseNet
from gluoncv.nn.block import HardSigmoid, HardSwish, ReLU6
from mxnet import autograd
from mxnet.gluon import nn
from mxnet.gluon.block import HybridBlock

from openatac import ChaATAC, ResNet50_v1bATAC, get_model, replace_activations
from openatac.export.exported_symbol import load_block
from tests.helpers.exports.exporting import write_symbol
from tests.helpers.images.random_images import random_images
from tests.helpers.networks.parameter_files import values_of
from tests.helpers.networks.parameters import parameters_of, with_statistics

# name: (side of the images, number of replaced activations, one of them)
WHOLE = {
    'resnet18_v1b': (64, 17, 'layer4.1.relu2'),
    'vgg11_bn': (32, 8, 'features.2'),
    'alexnet': (64, 5, 'features.0.act'),
    'squeezenet1.1': (224, 26, 'output.1'),
    'mobilenet0.25': (64, 27, 'features.80'),
    'mobilenetv3_small': (64, 23, 'features.3.conv1.act.act'),
    'densenet': (224, 15, 'features.4.0.1.1'),
    'darknet53': (64, 52, 'features.28.body.1.2'),
    'resnet50_v1b': (64, 49, 'relu'),
    'resnest14': (64, 15, 'layer1.0.relu3'),
    'vgg11': (32, 8, 'features.1'),
    'shufflenet_v2': (224, 37, 'features.5.2'),
    'mobilenetv2_0.25': (64, 35, 'features.3.out.2'),
}
# Networks with some activations inside forward: (side, number of replaceable ones, error text for one inside)
PARTLY = {
    'resnet18_v1': (64, 9, 'features.4.0.forward (BasicBlockV1 calls relu)'),
    'se_resnet18_v1': (64, 9, 'features.7.1.forward (BasicBlockV1 calls relu)'),
    'cifar_resnet20_v1': (32, 9, 'features.4.2.forward (CIFARBasicBlockV1 calls relu)'),
    'shufflenet_v1': (224, 16, 'features.2.0.forward (shuffleUnit calls relu)'),
}
# Networks with activations inside forward in every block: (side, error text for one, number of blocks)
INSIDE = {
    'resnet18_v2': (64, 'features.8.1.forward (BasicBlockV2 calls relu and relu)', 8),
    'resnet50_v2': (64, 'features.5.0.forward (BottleneckV2 calls relu and relu and relu)', 16),
    'cifar_resnet20_v2': (32, 'features.2.0.forward (CIFARBasicBlockV2 calls relu and relu)', 9),
    'cifar_wideresnet16_10': (32, 'features.5.1.forward (CIFARBasicBlockV2 calls relu and relu)', 6),
    'resnext50_32x4d': (64, 'features.4.0.forward (Block calls relu)', 16),
    'senet_154': (64, 'features.10.0.forward (SEBlock calls relu)', 50),
    'hrnet_w18_small_v1_c': (64, 'stage2.0.forward (HighResolutionModule calls relu and relu)', 27),
}


# These networks hold their activations in the same ways as the others.
SIMILAR = {'darknet53', 'mobilenet0.25', 'resnet50_v1b', 'resnest14', 'vgg11', 'vgg11_bn', 'shufflenet_v1',
           'shufflenet_v2', 'resnet18_v1', 'se_resnet18_v1', 'resnet50_v2', 'senet_154'}


def slow_if_similar(names):
    return [pytest.param(name, marks=pytest.mark.slow) if name in SIMILAR else name for name in names]


def gluoncv_network(name):
    if name == 'densenet':
        return DenseNet(32, 16, [2, 1, 1, 1], classes=3)
    return model_zoo.get_model(name, classes=3, pretrained=False)


def block_at(net, name):
    for key in name.split('.'):
        net = net[int(key)] if key.isdigit() else getattr(net, key)
    return net


def replaceable(name):
    return not name.endswith('forward')


@pytest.mark.parametrize('name', slow_if_similar([*WHOLE, *PARTLY]))
def test_gluoncv_networks_get_atac_and_are_otherwise_unchanged(name, tmp_path):
    side, count = (WHOLE.get(name) or PARTLY[name])[:2]
    net = with_statistics(gluoncv_network(name), 3, random_images(2, 3, side, side))
    before = values_of(net)
    where = None if name in WHOLE else replaceable
    replaced = replace_activations(net, 'ChaATAC', where=where, image_shape=(3, side, side))

    assert len(replaced) == len(set(replaced)) == count
    assert name in PARTLY or WHOLE[name][2] in replaced
    assert all(isinstance(block_at(net, place), ChaATAC) for place in replaced)
    after = values_of(net)
    new = [key for key in after if key.startswith(tuple(place + '.module.' for place in replaced))]
    assert len(new) == 10 * count
    assert [key for key in after if key not in new] == list(before)
    assert all((after[key] == before[key]).all() for key in before)
    _check_gradients(net, new, random_images(2, 3, side, side))
    _check_files(net, random_images(2, 3, side, side), str(tmp_path / 'net'))


def _check_gradients(net, names, x):
    with autograd.record():
        output = net(x)
        loss = (output * mx.nd.array(np.random.RandomState(1).randn(*output.shape))).sum()
    loss.backward()
    parameters = parameters_of(net)
    for name in names:
        if parameters[name].grad_req != 'null':
            assert np.isfinite(parameters[name].grad().asnumpy()).all(), name
            assert parameters[name].grad().norm().asscalar() > 0, name


def _check_files(net, x, path):
    imperative = net(x).asnumpy()
    tolerance = 1e-4 * np.abs(imperative).max()
    net.hybridize()
    assert np.allclose(net(x).asnumpy(), imperative, atol=tolerance)
    write_symbol(net, path)
    assert np.allclose(load_block(path)(x).asnumpy(), imperative, atol=tolerance)


@pytest.mark.parametrize('name', slow_if_similar([*PARTLY, *INSIDE]))
def test_activations_inside_forward_are_named_and_network_is_unchanged(name):
    side = (PARTLY.get(name) or INSIDE[name])[0]
    words = PARTLY[name][2] if name in PARTLY else INSIDE[name][1]
    net, untouched = gluoncv_network(name), gluoncv_network(name)
    with pytest.raises(ValueError, match=re.escape(words)) as error:
        replace_activations(net, 'ChaATAC', image_shape=(3, side, side))
    if name in INSIDE:
        assert str(error.value).count(' calls ') == INSIDE[name][2]
    assert list(parameters_of(net)) == list(parameters_of(untouched))
    assert _classes(net) == _classes(untouched)


def _classes(net):
    found = []
    net.apply(lambda block: found.append(type(block)))
    return found


def test_gluoncv_resnet_becomes_the_papers_network():
    net, ours = model_zoo.get_model('resnet50_v1b', classes=7), ResNet50_v1bATAC(r=4, classes=7)
    replaced = replace_activations(net, 'ChaATAC', where='layer[34].*.relu[12]', r=4)
    assert len(replaced) == 2 * (6 + 3)
    ours.initialize(mx.init.MSRAPrelu())
    net.initialize()
    x = random_images(2, 3, 64, 64)
    expected = ours(x).asnumpy()
    net(x)
    parameters, sources = parameters_of(net), parameters_of(ours)
    assert set(parameters) == set(sources)
    for name, parameter in parameters.items():
        parameter.set_data(sources[name].data())
    assert (net(x).asnumpy() == expected).all()


def test_uninitialised_network_equals_one_built_with_atac():
    net, built = get_model('cifar_resnet8_v2_relu'), get_model('cifar_resnet8_v2_atac')
    assert len(replace_activations(net, 'ChaATAC', image_shape=(3, 32, 32))) == 7
    results = []
    for each in (net, built):
        mx.random.seed(5)
        each.initialize(mx.init.MSRAPrelu())
        results.append((each(random_images(2, 3, 32, 32)).asnumpy(), values_of(each)))
    assert (results[0][0] == results[1][0]).all()
    assert list(results[0][1]) == list(results[1][1])
    assert all((results[0][1][name] == value).all() for name, value in results[1][1].items())


def test_deferred_initialisation_stays_deferred():
    net = model_zoo.get_model('resnet18_v1b')
    net.initialize(mx.init.Constant(0.5))
    replace_activations(net, 'ChaATAC', where='relu')
    parameters = parameters_of(net)
    with pytest.raises(mx.gluon.parameter.DeferredInitializationError):
        parameters['conv1.weight'].data()
    assert parameters['relu.module.0.weight'].data().shape == (32, 64, 1, 1)
    net(random_images(2, 3, 32, 32))
    assert (parameters['conv1.weight'].data().asnumpy() == 0.5).all()


def test_new_parameters_use_the_networks_device_and_given_initializer():
    contexts = [mx.cpu(0), mx.cpu(1)]
    net = nn.HybridSequential()
    net.add(nn.Conv2D(4, 3, in_channels=3), nn.Activation('relu'))
    net.initialize(ctx=contexts)
    replace_activations(net, 'ChaATAC', init=mx.init.Constant(0.25))
    assert net[1].module[0].weight.list_ctx() == contexts
    assert (net[1].module[0].weight.data(mx.cpu(1)).asnumpy() == 0.25).all()


def test_float16_network_stays_float16():
    net = nn.HybridSequential()
    net.add(nn.BatchNorm(in_channels=3), nn.Conv2D(4, 3, in_channels=3), nn.Activation('relu'))
    net.cast('float16')
    net.initialize()
    replace_activations(net, 'ChaATAC')
    convolution, norm = net[2].module[0], net[2].module[1]
    assert convolution.weight.data().dtype == np.float16
    assert norm.gamma.data().dtype == net[0].gamma.data().dtype == np.float32


def test_hybridized_network_stays_hybridized_and_uses_the_new_units(tmp_path):
    x = random_images(2, 3, 32, 32)
    net = with_statistics(model_zoo.get_model('cifar_resnet20_v1'), 3, x)
    net.hybridize(static_alloc=True)
    before = net(x).asnumpy()
    replace_activations(net, 'swish', where='features.[23].*.body.*', image_shape=(3, 32, 32))
    after = net(x).asnumpy()
    for block, given in ((net, x), (block_at(net, 'features.2.0.body.2'), mx.nd.zeros((1, 16, 8, 8)))):
        block(given)
        block.export(str(tmp_path / 'block'))  # Gluon does this only for hybridized blocks
    net.hybridize(False)
    assert np.abs(after - before).max() > 1e-3
    assert np.allclose(net(x).asnumpy(), after, atol=1e-4 * np.abs(after).max())
    net.summary(x)


def test_where_takes_a_pattern_or_function_and_calls_can_be_chained():
    net = model_zoo.get_model('resnet18_v1b')
    first = replace_activations(net, 'ChaATAC', where='layer4.*', r=4)
    assert first == [f'layer4.{block}.relu{relu}' for block in (0, 1) for relu in (1, 2)]
    second = replace_activations(net, 'frelu', where=lambda name: name.startswith('layer3.'))
    assert second == [f'layer3.{block}.relu{relu}' for block in (0, 1) for relu in (1, 2)]
    assert net.layer4[0].relu1.inter_channels == 128
    assert replace_activations(net, 'ChaATAC', where='layer4.0.relu1') == ['layer4.0.relu1']
    assert net.layer4[0].relu1.inter_channels == 256
    net.initialize()
    assert net(random_images(2, 3, 64, 64)).shape == (2, 1000)
    assert len(set(net.collect_params())) == len(parameters_of(net))


@pytest.mark.parametrize('act_type', ['prelu', 'swish', 'frelu', 'xunit', 'sine'])
def test_other_activations_can_be_inserted(act_type):
    x = random_images(2, 3, 64, 64)
    net = with_statistics(model_zoo.get_model('mobilenet0.25', classes=3), 3, x)
    before = net(x).asnumpy()
    assert len(replace_activations(net, act_type, image_shape=(3, 64, 64))) == 27
    after = net(x).asnumpy()
    assert np.isfinite(after).all() and np.abs(after - before).max() > 1e-3 * np.abs(before).max()


def test_settings_are_passed_to_the_units():
    net = model_zoo.get_model('vgg11_bn')
    replace_activations(net, 'ChaATAC', where='features.2', r=8, useGlobal=True, useReLU=False)
    kinds = [type(block) for block in net.features[2].module]
    assert kinds == [nn.GlobalAvgPool2D, nn.Conv2D, nn.BatchNorm, nn.Conv2D, nn.BatchNorm, nn.Activation]
    assert net.features[2].inter_channels == 8


class Made(HybridBlock):
    """A network with given children and a function of (block, F, x)."""

    def __init__(self, run, **children):
        super().__init__()
        self.run = run
        with self.name_scope():
            for name, child in children.items():
                setattr(self, name, child)

    def hybrid_forward(self, F, x):
        return self.run(self, F, x)


def test_activations_of_vectors_and_pooled_maps_are_unchanged():
    net = model_zoo.get_model('mobilenetv3_small')
    replaced = replace_activations(net, 'ChaATAC')
    squeezes = [block for block in _blocks(net) if type(block).__name__ == '_SE']
    assert squeezes and all(isinstance(block.act1.act, nn.Activation) for block in squeezes)
    assert 'features.3.conv1.act.act' in replaced
    alexnet = model_zoo.get_model('alexnet')
    replace_activations(alexnet, 'ChaATAC')
    dense = [block.act for block in _blocks(alexnet) if isinstance(block, nn.Dense) and block.act]
    assert [type(activation) for activation in dense] == [nn.Activation] * 2


def test_hard_swish_is_an_activation_and_hard_sigmoid_is_a_gate():
    net = nn.HybridSequential()
    net.add(nn.Conv2D(4, 1), HardSwish(), nn.Conv2D(4, 1), HardSigmoid(), nn.Activation('tanh'), ReLU6())
    assert replace_activations(net, 'ChaATAC') == ['1', '5']
    assert replace_activations(net, 'swish') == ['1', '5']


def _blocks(net):
    found = []
    net.apply(found.append)
    return found


def test_rectifiers_inside_forward_are_found_but_gates_are_not():
    def run(block, F, x):
        gates = F.sigmoid(x) * F.clip(x, 0, 1) * F.tanh(x) * F.Activation(x, act_type='sigmoid')
        pooled = F.relu(F.mean(x, axis=(2, 3), keepdims=True))
        rectified = (F.relu(x) + F.LeakyReLU(x, act_type='gelu') + F.LeakyReLU(x) + F.clip(x, 0, 6)
                     + F.maximum(x, 0) + F.Activation(x, act_type='softrelu'))
        return block.act(rectified + F.broadcast_mul(gates, pooled))

    net = nn.HybridSequential()
    net.add(Made(run, act=nn.Activation('relu')))
    with pytest.raises(ValueError, match=r'0\.forward .*Made .*relu .*gelu .*leaky .*relu6 .*softrelu'):
        replace_activations(net, 'swish')
    assert replace_activations(net, 'swish', where='*.act') == ['0.act']
    assert isinstance(net[0].act, nn.Swish)


def test_activations_of_a_symbol_block_count_as_inside_forward():
    data = mx.sym.var('data', dtype='float32')
    inner = nn.Conv2D(4, 3, activation='relu')
    net = nn.HybridSequential()
    net.add(mx.gluon.SymbolBlock(inner(data), data, params=inner.collect_params()))
    net.add(nn.Conv2D(4, 1), nn.Activation('relu'))
    with pytest.raises(ValueError, match=r'0\.forward .*SymbolBlock .*relu'):
        replace_activations(net, 'ChaATAC')
    assert replace_activations(net, 'ChaATAC', where=replaceable) == ['2']
    net.initialize()
    assert net(random_images(2, 3, 8, 8)).shape == (2, 4, 6, 6)


def reused():
    return Made(lambda block, F, x: block.relu(block.wide(block.relu(block.narrow(x)))),
                narrow=nn.Conv2D(4, 1), wide=nn.Conv2D(8, 1), relu=nn.Activation('relu'))


def test_activation_shared_by_two_places_gets_no_unit_with_weights():
    net = reused()
    for act_type in ('ChaATAC', 'prelu'):
        with pytest.raises(ValueError, match=r'relu .*\b4\b.*\b8\b'):
            replace_activations(net, act_type)
    assert isinstance(net.relu, nn.Activation)
    assert replace_activations(net, 'swish') == ['relu']
    net.initialize()
    assert net(random_images(2, 3, 8, 8)).shape == (2, 8, 8, 8)
    twice = nn.HybridSequential()
    twice.add(nn.Conv2D(4, 1), nn.Activation('relu'), nn.Conv2D(4, 1))
    twice.add(twice[1])
    with pytest.raises(ValueError, match=r'1 .*\b4\b.* 3 '):
        replace_activations(twice, 'ChaATAC')


def test_head_shared_by_two_maps_shares_its_unit_too():
    head = nn.HybridSequential()
    head.add(nn.Conv2D(4, 1), nn.Activation('relu'))
    net = Made(lambda block, F, x: [block.head(x), block.head(F.slice_axis(x, axis=3, begin=0, end=4))],
               head=head)
    assert replace_activations(net, 'ChaATAC') == ['head.1']
    net.initialize()
    assert [output.shape for output in net(random_images(2, 3, 8, 8))] == [(2, 4, 8, 8), (2, 4, 8, 4)]


def test_activation_held_in_a_list_is_an_error():
    steps = [nn.Conv2D(4, 1), nn.Activation('relu')]
    net = Made(lambda block, F, x: steps[1](steps[0](x)))
    for step in steps:
        net.register_child(step)
    children = _blocks(net)
    with pytest.raises(ValueError, match=' 1$'):
        replace_activations(net, 'ChaATAC')
    assert _blocks(net) == children


def test_parameter_names_stay_unique_for_blocks_with_the_same_prefix():
    net = nn.HybridSequential()
    for _ in range(2):
        stage = nn.HybridSequential(prefix='stage_')
        stage.add(nn.Conv2D(4, 1), nn.Activation('relu'))
        net.add(stage)
    assert replace_activations(net, 'ChaATAC') == ['0.1', '1.1']
    net.initialize()
    net.hybridize()
    assert net(random_images(2, 3, 8, 8)).shape == (2, 4, 8, 8)
    assert len(set(net.collect_params())) == len(parameters_of(net)) == 24


@pytest.mark.parametrize('act_type', ['ChaATAC', 'swish'])
def test_symbolic_pass_leaves_no_trace(act_type):
    net = reused()
    try:
        replace_activations(net, act_type)
    except ValueError:
        assert act_type == 'ChaATAC'
    assert not any(block._forward_hooks or block._forward_pre_hooks for block in _blocks(net))
    net.cast('float64')
    symbol = net(mx.sym.var('data'))
    assert '__owner__' not in symbol.tojson()
    assert symbol.infer_type(data='float64')[1] == [np.float64]


@pytest.mark.parametrize('arguments, words', [
    ({'act_type': 'attac'}, "act_type .*'attac'"),
    ({'r': '2'}, "r .*'2'"),
    ({'act_type': 'xunit', 'kernel': 4}, r'kernel\b.*\b4\b'),
    ({'act_type': 'swish', 'r': 2}, 'swish .* r;'),
    ({'rr': 2}, 'ChaATAC .* rr;.* useGlobal'),
    ({'r': 9}, 'r=9 .* 8 channels'),
    ({'where': 'layer4.*'}, r"where='layer4.\*' .* 1$"),
    ({'where': 4}, 'where .* 4$'),
    ({'image_shape': 32}, r'image_shape .*\(channels, height, width\).* 32'),
    ({'image_shape': (4, 8, 8)}, r'image_shape \(4, 8, 8\)'),
])
def test_wrong_arguments_are_refused_and_change_nothing(arguments, words, capsys):
    net = nn.HybridSequential()
    net.add(nn.Conv2D(8, 3, in_channels=3), nn.Activation('relu'), nn.Dense(2, activation='relu'))
    children = _blocks(net)
    with pytest.raises(ValueError, match=words) as error:
        replace_activations(net, **{'act_type': 'ChaATAC', **arguments})
    assert '\n' not in str(error.value)
    assert _blocks(net) == children
    assert capsys.readouterr() == ('', '')


def test_only_hybrid_networks_of_images_are_accepted():
    with pytest.raises(ValueError, match=' Sequential'):
        replace_activations(nn.Sequential(), 'ChaATAC')
    with pytest.raises(ValueError, match='Made'):
        replace_activations(Made(lambda block, F, x: x.reshape((x.shape[0], -1))), 'ChaATAC')
    with pytest.raises(ValueError, match='none'):
        replace_activations(nn.Dense(3, activation='relu'), 'ChaATAC')
