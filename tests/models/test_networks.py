"""Networks by name, their arguments, and every activation's gradient against numeric derivatives."""
import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd
from mxnet.gluon import nn

import train_cifar
from openatac import ChaATAC, ResNet20V2ATAC, ResNet50_v1bATAC, get_model
from openatac.errors import ParameterFileError
from openatac.models.cifar_resnet18 import CIFARResNet18
from openatac.models.weights import save_parameters
from openatac.registry import bind_accepted
from openatac.training.networks.build import build_network
from openatac.training.networks.named_options import with_named_options
from openatac.zoo.host_arguments import place_activations
from openatac.zoo.names import unit_in
from openatac.zoo.units import ACTIVATIONS
from tests.helpers.images.random_images import random_images
from tests.helpers.networks.parameters import parameters_of
from tests.helpers.processes.scripts import config_of


@pytest.mark.parametrize('name', sorted(ACTIVATIONS))
def test_hybridized_gradients_before_a_global_pool_equal_numeric_ones(name):
    channels = 4
    head = nn.HybridSequential()
    head.add(bind_accepted(ACTIVATIONS.find(name).gluon, r=2)(channels), nn.GlobalAvgPool2D(), nn.Flatten(),
             nn.Dense(3))
    mx.random.seed(1)
    head.initialize(mx.init.Normal(0.5))
    head.hybridize(static_alloc=True, static_shape=True)
    x = random_images(6, channels, 5, 4)
    weights = random_images(6, 3)

    def value():
        with autograd.train_mode():
            return float((head(x) * weights).sum().asscalar())

    value()
    x.attach_grad()
    with autograd.record():
        loss = (head(x) * weights).sum()
    loss.backward()
    parameters = [p for p in head.collect_params().values() if p.grad_req != 'null']
    for array, gradient in [(x, x.grad)] + [(p.data(), p.grad()) for p in parameters]:
        _compare_along_random_directions(value, array, gradient.asnumpy())


def _compare_along_random_directions(value, array, gradient, step=2e-3):
    start = array.asnumpy()
    for seed in range(3):
        direction = np.random.RandomState(seed).choice([-1.0, 1.0], start.shape)
        changes = []
        for sign in (1, -1):
            array[:] = mx.nd.array(start + sign * step * direction)
            changes.append(value())
        array[:] = mx.nd.array(start)
        numeric = (changes[0] - changes[1]) / (2 * step)
        scale = np.abs(gradient).sum() + 3e-3  # the rounding of a float32 sum, where the derivative is 0
        assert abs(numeric - (gradient * direction).sum()) < 0.03 * scale


def test_slope_gradient_that_mxnet_gets_wrong_is_right():
    """Inside a hybridized network, Gluon's own operator computes in place, and then reads its output."""
    slopes = {}
    for unit in nn.PReLU(), ACTIVATIONS.find('prelu').gluon(4):
        for hybrid in False, True:
            head = nn.HybridSequential()
            head.add(nn.BatchNorm(), unit, nn.Dense(3, weight_initializer=mx.init.One()))
            head.initialize(force_reinit=True)
            if hybrid:
                head.hybridize()
            with autograd.record():
                loss = head(random_images(6, 4, 5, 4)).sum()
            loss.backward()
            slopes[type(unit), hybrid] = float(unit.alpha.grad().asscalar())
    ours = type(unit)
    assert slopes[ours, True] == pytest.approx(slopes[ours, False], rel=1e-5)
    assert slopes[nn.PReLU, False] == pytest.approx(slopes[ours, False], rel=1e-5)
    assert slopes[nn.PReLU, True] == pytest.approx(0.25 * slopes[ours, True], rel=1e-5)  # or ours can go


def test_names_are_case_insensitive_and_arguments_reach_the_host():
    net = get_model('CIFAR_ResNet8_v2_ATAC', classes=3, useGlobal=True, r=4)
    net.initialize()
    assert net(random_images(1, 3, 32, 32)).shape == (1, 3)
    assert net.features[6].inter_channels == 16
    assert isinstance(net.features[6].module[0], nn.GlobalAvgPool2D)


def test_wrong_name_lists_similar_names():
    with pytest.raises(ValueError, match='cifar_resnet20_v2_atac'):
        get_model('cifar_resnet20_atac')


@pytest.mark.parametrize('name, unit', [
    ('cifar_resnet8_v2_swish_se', 'swish_se'), ('resnet50_v1b_ATAC', 'atac'),
    ('cifar_resnet8_v2_relu@17-17-35-68', 'relu@17-17-35-68'), ('cifar_resnet9_v2_relu', None),
    ('mine', None)])
def test_unit_is_found_in_a_name(name, unit):
    assert unit_in(name) == unit


def test_unknown_argument_is_rejected():
    with pytest.raises(TypeError):
        get_model('cifar_resnet8_v2_atac', clases=10)


def test_pretrained_is_a_file_of_the_same_network(tmp_path):
    net = get_model('cifar_resnet8_v2_atac')
    net.initialize()
    expected = net(random_images(2, 3, 32, 32)).asnumpy()
    path = str(tmp_path / 'net.params')
    save_parameters(net, path)
    again = get_model('cifar_resnet8_v2_atac', pretrained=path, ctx=mx.cpu())
    assert (again(random_images(2, 3, 32, 32)).asnumpy() == expected).all()
    with pytest.raises(ParameterFileError, match=path):
        get_model('cifar_resnet8_v2_relu', pretrained=path)


@pytest.mark.parametrize('build, named', [
    (lambda: ChaATAC(8, r=9), r'r=9\b.*\b8$'),
    (lambda: ChaATAC(8, r=0), r'\br\b.* 0$'),
    (lambda: ChaATAC(8, r=-2), r'\br\b.*-2$'),
    (lambda: ChaATAC(8, r=float('nan')), r'\br\b.*nan$'),
    (lambda: ResNet20V2ATAC(r=17), 'r=17'),
    (lambda: ResNet20V2ATAC(act_type='rellu'), "act_type .*'rellu'"),
    (lambda: ResNet20V2ATAC(replace_act='rellu'), "replace_act .*'rellu'"),
    (lambda: ResNet20V2ATAC(act_layers=5), r'act_layers\b.*\b4\b.*\b5$'),
    (lambda: ResNet20V2ATAC(act_layers=-1), 'act_layers .*-1$'),
    (lambda: ResNet20V2ATAC(act_order='front'), "act_order .*'front'"),
    (lambda: ResNet20V2ATAC(layers=[3, 3]), r'3 .*\[3, 3\]'),
    (lambda: ResNet20V2ATAC(classes=0), r'classes\b.* 0$'),
    (lambda: ResNet20V2ATAC(drop_rate=1.0), r'drop_rate\b.*1\.0$'),
    (lambda: ResNet50_v1bATAC(act_type='rellu'), "act_type .*'rellu'"),
    (lambda: ResNet50_v1bATAC(act_layers=5), r'act_layers\b.*\b5$'),
    (lambda: ResNet50_v1bATAC(layers=[1, 1, 1]), r'4 .*\[1, 1, 1\]'),
    (lambda: ResNet50_v1bATAC(r=1000), 'r=1000'),
    (lambda: ResNet50_v1bATAC(attention='se', reduction=257), 'reduction=257'),
    (lambda: ResNet20V2ATAC(attention='lca', reduction=17), 'reduction=17'),
    (lambda: ResNet20V2ATAC(channels=(16, 16, 16, 32)), r'\b2 and 3\b'),
    (lambda: ResNet20V2ATAC(attention='es'), "attention .*se, .*'es'"),
    (lambda: ResNet50_v1bATAC(attention='es'), "attention .*se, .*'es'"),
    (lambda: CIFARResNet18(attention='es'), "attention .*se, .*'es'"),
    (lambda: CIFARResNet18(act_type='rellu'), "act_type .*'rellu'"),
    (lambda: CIFARResNet18(replace_act='rellu'), "replace_act .*'rellu'"),
    (lambda: CIFARResNet18(layers=[2, 2, 2]), r'4 .*\[2, 2, 2\]'),
    (lambda: CIFARResNet18(channels=[64, 0, 64, 64]), r'channels\b.*\b0$'),
    (lambda: CIFARResNet18(classes=0), r'classes\b.* 0$'),
    (lambda: CIFARResNet18(drop_rate=-0.1), r'drop_rate\b.*-0\.1$'),
    (lambda: CIFARResNet18(r=65), 'r=65'),
])
def test_bad_arguments_raise_value_error_with_the_value(build, named):
    with pytest.raises(ValueError, match=named):
        build()


@pytest.mark.parametrize('act_layers, act_order, wanted', [
    (2, 'bac', [nn.SELU] * 2 + [nn.ELU] * 2), (2, 'pre', [nn.ELU] * 2 + [nn.SELU] * 2),
    (0, 'bac', [nn.SELU] * 4), (4, 'pre', [nn.ELU] * 4)])
def test_placement_counts_from_either_end(act_layers, act_order, wanted):
    placed = place_activations('gluon', 'elu', 'selu', act_layers, act_order)
    assert [type(activation(16)) for activation in placed] == wanted


def test_ineffective_arguments_change_nothing():
    mx.random.seed(0)
    plain = ResNet20V2ATAC(layers=[1] * 3)
    given = ResNet20V2ATAC(layers=[1] * 3, skernel=5, dilation=2, asBackbone=True)
    assert ([(k, p.shape) for k, p in parameters_of(plain).items()]
            == [(k, p.shape) for k, p in parameters_of(given).items()])


def test_deep_stem_does_not_change_the_default_keys():
    keys = [set(parameters_of(ResNet50_v1bATAC(layers=[1] * 4, deep_stem=deep)))
            for deep in (False, True)]
    assert 'conv1.weight' in keys[0] and {'conv1.0.weight', 'conv1.3.weight', 'conv1.6.weight'} <= keys[1]
    rest = [{key for key in some if not key.startswith('conv1')} for some in keys]
    assert rest[0] == rest[1]
    net = ResNet50_v1bATAC(layers=[1] * 4, deep_stem=True, classes=5, final_drop=0.5, use_global_stats=True)
    net.initialize()
    assert net(random_images(1, 3, 64, 64)).shape == (1, 5)


def test_resnet18_has_atac_in_place_of_each_relu():
    """The stem has 1, each of 8 blocks 2; with ReLU there are the well-known 11,173,962 parameters."""
    relu, atac = (get_model('cifar_resnet18_v1_' + unit, r=4, useReLU=False) for unit in ('relu', 'atac'))

    def units(net, kind):
        blocks = []
        net.apply(blocks.append)
        return sum(isinstance(block, kind) for block in blocks)

    assert units(relu, nn.Activation) == units(atac, ChaATAC) == 17
    assert units(relu, ChaATAC) == units(atac, nn.Activation) - 17 == 0  # the remaining ones are sigmoids
    assert atac.features[2].inter_channels == 16
    assert _trainable(relu) == 11173962
    added = sum(n * (2 * c * (c // 4) + 2 * (c // 4) + 2 * c)
                for n, c in [(5, 64), (4, 128), (4, 256), (4, 512)])
    assert _trainable(atac) == 11173962 + added


def test_resnet18_places_activations_and_dropout():
    net = CIFARResNet18(layers=[1] * 4, act_layers=1, drop_rate=0.5)
    stages = list(net.features)[3:7]
    assert [isinstance(stage[0].act2, ChaATAC) for stage in stages] == [False, False, False, True]
    assert isinstance(CIFARResNet18(act_layers=1, act_order='pre').features[2], ChaATAC)
    assert stages[0][0].dropout is not None


def test_resnet18_passes_settings_on_to_its_batch_norms():
    """A step moves the running means towards the batch's by one minus the momentum."""
    def means(momentum):
        mx.random.seed(1)
        net = CIFARResNet18(layers=[1] * 4, norm_kwargs={'momentum': momentum})
        net.initialize()
        with mx.autograd.record():
            outputs = net(random_images(2, 3, 32, 32))
        outputs.backward()
        return list(net.features)[3][0].bn1.running_mean.data().asnumpy()

    np.testing.assert_allclose(means(0.5), 5 * means(0.9), rtol=1e-4)


def test_train_cifar_builds_both_hosts_by_name():
    networks = {}
    for model in ('cifar_resnet18_v1_se', 'CIFAR_ResNet18_v1_ATAC', 'cifar_resnet8_v2_se'):
        config = with_named_options(config_of(train_cifar, '--model', model))
        built = build_network(config)
        assert built.name == model.lower()
        network = config.network
        networks[model] = type(built.net), network.host, network.blocks, network.act_type, network.attention
    assert networks == {
        'cifar_resnet18_v1_se': (CIFARResNet18, 'cifar_resnet18_v1', 2, 'relu', 'se'),
        'CIFAR_ResNet18_v1_ATAC': (CIFARResNet18, 'cifar_resnet18_v1', 2, 'ChaATAC', None),
        'cifar_resnet8_v2_se': (ResNet20V2ATAC, None, 1, 'relu', 'se')}
    with pytest.raises(ValueError, match='--blocks.*cifar_resnet18_v1_relu.* 2'):
        with_named_options(config_of(train_cifar, '--model', 'cifar_resnet18_v1_relu', '--blocks', 3))


def _trainable(net):
    net.initialize()
    net.infer_shape(mx.nd.zeros((1, 3, 32, 32)))
    return sum(int(np.prod(p.shape)) for p in net.collect_params().values() if p.grad_req != 'null')
