"""ATAC replaces activations in existing PyTorch networks, small ones with one difficulty each."""
import copy
import pickle

import pytest

import openatac
from openatac import replace_activations

torch = pytest.importorskip('torch')
pytestmark = pytest.mark.usefixtures('one_torch_thread')

from torch import nn  # noqa: E402  (needs torch)
from torch.nn import functional as F  # noqa: E402

from openatac.pytorch import ATAC, get_model  # noqa: E402

SHAPE = (3, 8, 8)


class Block(nn.Module):
    """Two convolutions with one ReLU that is called after each, as in torchvision's ResNets."""

    def __init__(self, inner=4):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, inner, 3, padding=1), nn.Conv2d(inner, 3, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.conv2(self.relu(self.conv1(x))) + x)


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 4, 3), nn.SiLU()
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        x = self.act(self.conv(x))
        x = torch.relu(x).relu_() + F.gelu(x) * torch.sigmoid(x)
        return F.relu(self.head(x.mean((2, 3))))


class Caller(nn.Module):
    """A module that calls a module of the network around it."""

    def forward(self, x, act):
        return act(act(x))


class Around(nn.Module):
    def __init__(self, callers):
        super().__init__()
        self.act = nn.ReLU()
        self.callers = nn.ModuleList(Caller() for _ in range(callers))

    def forward(self, x):
        for caller in self.callers:
            x = caller(x, self.act)
        return x


class SqueezeExcite(nn.Module):
    def __init__(self):
        super().__init__()
        self.pool, self.act, self.gate = nn.AdaptiveAvgPool2d(1), nn.ReLU(), nn.Hardsigmoid()

    def forward(self, x):
        return x * self.gate(self.act(self.pool(x)))


def net_of(*modules):
    torch.manual_seed(0)
    return nn.Sequential(*modules)


def x(batch=2):
    return torch.randn(batch, *SHAPE, generator=torch.Generator().manual_seed(1))


def test_all_activations_of_maps_are_replaced():
    net = net_of(nn.Conv2d(3, 4, 3), nn.ReLU6(), Block(), nn.Sequential(nn.Conv2d(3, 8, 3), nn.PReLU()),
                 SqueezeExcite(), nn.Hardswish(), nn.Flatten(), nn.Linear(8 * 16, 5), nn.ReLU())
    net[2].conv1 = nn.Conv2d(4, 4, 3, padding=1)
    net[2].conv2 = nn.Conv2d(4, 4, 3, padding=1)
    net[3][0] = nn.Conv2d(4, 8, 3)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items() if name != '3.1.weight'}
    assert replace_activations(net, 'atac', r=4, image_shape=SHAPE) == [
        '1', '2.relu.0', '2.relu.1', '3.1', '5']
    after = net.state_dict()
    assert [name for name in after if name in before] == list(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert isinstance(net[1], ATAC) and net[1].module[0].weight.shape == (1, 4, 1, 1)
    assert type(net[4].act) is type(net[8]) is nn.ReLU
    net(x()).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_each_call_gets_its_own_unit():
    """Each unit has its own channels and statistics."""
    net = net_of(Block(inner=8), Block())
    assert replace_activations(net, 'atac', where='0.*', image_shape=SHAPE) == ['0.relu.0', '0.relu.1']
    assert [unit.module[3].weight.shape[0] for unit in net[0].relu] == [8, 3]
    assert type(net[1].relu) is nn.ReLU
    again = pickle.loads(pickle.dumps(copy.deepcopy(net.eval())))
    assert torch.equal(again(x()), net(x())) and torch.equal(again(x()), net(x()))
    torch.nn.init.zeros_(again[0].relu[0].module[3].weight)
    assert not torch.equal(again(x()), net(x()))
    compiled = torch.compile(net, fullgraph=True, backend='aot_eager')
    assert torch.allclose(compiled(x()), net(x()), atol=1e-6)
    exported = torch.export.export(net, (x(),)).module()
    assert torch.allclose(exported(x()), net(x()), atol=1e-6)
    with pytest.raises(RuntimeError):
        net(x()[:, :2])  # fails in the middle of a forward
    assert torch.equal(net(x()), compiled(x())) or torch.allclose(net(x()), compiled(x()), atol=1e-6)


def test_only_selected_calls_are_replaced():
    net = net_of(Block())
    assert replace_activations(net, 'atac', where='*.relu.0', image_shape=SHAPE) == ['0.relu.0']
    assert isinstance(net[0].relu[0], ATAC) and type(net[0].relu[1]) is nn.ReLU


def test_module_in_several_places_is_replaced():
    relu = nn.ReLU()
    net = net_of(nn.Conv2d(3, 4, 3), relu, nn.Conv2d(4, 8, 3), relu)
    assert replace_activations(net, 'atac', image_shape=SHAPE) == ['1', '3']
    assert net[1].module[3].weight.shape[0] == 4 and net[3].module[3].weight.shape[0] == 8


def test_module_called_by_another_is_replaced():
    net = Around(callers=1)
    assert replace_activations(net, 'atac', image_shape=SHAPE) == ['act.0', 'act.1']
    net(x())
    net(x())
    with pytest.raises(ValueError, match=r'\bact \(.*\b2\b'):
        replace_activations(Around(callers=2), 'atac', image_shape=SHAPE)


def test_repeated_blocks_share_their_units():
    block = Block()
    net = net_of(block, block)
    assert replace_activations(net, 'atac', image_shape=SHAPE) == ['0.relu.0', '0.relu.1']
    assert len(list(net.parameters())) == 4 + 2 * 6


@pytest.mark.parametrize('where, named', [
    (None, 'forward .*Functional.*relu.*relu.*gelu'), ('act', None),
    (lambda name: not name.endswith('forward'), None), ('layer*', "'layer.*act"),
])
def test_functional_activations_are_refused_unless_excluded(where, named):
    net = Functional()
    if named is None:
        assert replace_activations(net, 'frelu', where, image_shape=SHAPE) == ['act']
    else:
        with pytest.raises(ValueError, match=named):
            replace_activations(net, 'frelu', where, image_shape=SHAPE)
        assert type(net.act) is nn.SiLU


def test_calls_with_different_channels_are_refused():
    class Various(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.Sequential(nn.ReLU())

        def forward(self, x):
            return self.act(torch.cat([x, self.act(x)], 1))

    with pytest.raises(ValueError, match='3 and 6 channels'):
        replace_activations(Various(), 'atac', image_shape=SHAPE)
    net = Various()
    assert replace_activations(net, 'swish', image_shape=SHAPE) == ['act.0']
    assert isinstance(net.act[0], nn.SiLU)


def test_activations_of_linear_layers_are_not_replaced():
    class Mixer(nn.Module):
        def __init__(self):
            super().__init__()
            self.mlp = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 3))

        def forward(self, x):
            return self.mlp(x.permute(0, 2, 3, 1))

    with pytest.raises(ValueError, match='none'):
        replace_activations(Mixer(), 'atac', image_shape=SHAPE)


def test_original_network_is_unchanged():
    """Modes, statistics and random numbers are unchanged, and all modules too if replacement fails."""
    net = net_of(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout())
    net[1].eval()
    state, random = copy.deepcopy(net.state_dict()), torch.random.get_rng_state()
    with pytest.raises(ValueError, match=r'\(5, 8, 8\)'):
        replace_activations(net, 'atac', image_shape=(5, 8, 8))
    with pytest.raises(ValueError, match='r=9'):
        replace_activations(net, 'atac', r=9, image_shape=SHAPE)
    assert torch.equal(random, torch.random.get_rng_state())
    assert type(net[2]) is nn.ReLU and not net[2]._forward_pre_hooks
    replace_activations(net, 'swish', image_shape=SHAPE)
    assert [module.training for module in net] == [True, False, True, True]
    assert all(torch.equal(tensor, net.state_dict()[name]) for name, tensor in state.items())


def test_new_units_get_the_networks_precision_and_the_given_values():
    net = net_of(nn.Conv2d(3, 64, 3), nn.ReLU()).double().eval()
    replace_activations(net, 'atac', image_shape=SHAPE)
    weight = net[1].module[0].weight
    assert weight.dtype == torch.float64 and not net[1].training
    assert abs(weight.std().item() / (2 / (1.0625 * 48)) ** 0.5 - 1) < 0.1
    net = net_of(nn.Conv2d(3, 4, 3), nn.ReLU())
    replace_activations(net, 'atac', image_shape=SHAPE,
                        init=lambda unit: nn.init.ones_(unit.module[0].weight))
    assert (net[1].module[0].weight == 1).all()


def test_own_activations_can_be_replaced():
    net = get_model('cifar_resnet8_v2_atac', classes=4)
    names = replace_activations(net, 'relu', image_shape=(3, 16, 16))
    assert len(names) == 7 and 'features.2.0.msAA1' in names
    expected = get_model('cifar_resnet8_v2_relu', classes=4)
    expected.load_state_dict(net.state_dict())
    assert torch.equal(net.eval()(x()), expected.eval()(x()))


def test_registered_activations_are_replaced_too(restored_registries):
    class Gate(nn.Module):
        def forward(self, x):
            return x * torch.sigmoid(F.relu(x))

    openatac.register_activation('gate', None, torch_factory=lambda channels: Gate())
    net = net_of(nn.Conv2d(3, 4, 3), Gate())
    assert replace_activations(net, 'atac', image_shape=SHAPE) == ['1']
    assert replace_activations(net, 'gate', image_shape=SHAPE) == ['1']


@pytest.mark.parametrize('arguments, named', [
    (('attac',), "'attac'.* atac\\b"), (('atac', 3), '3'), (('atac', None, (3, 8)), r'\(3, 8\)'),
])
def test_bad_argument_is_named(arguments, named):
    with pytest.raises(ValueError, match=named):
        replace_activations(net_of(nn.Conv2d(3, 4, 3), nn.ReLU()), *arguments)


def test_setting_unknown_to_the_unit_is_refused():
    with pytest.raises(ValueError, match='ratio;.* r, useReLU, useGlobal'):
        replace_activations(net_of(nn.ReLU()), 'atac', ratio=2)
    with pytest.raises(ValueError, match='none'):
        replace_activations(nn.ReLU(), 'atac', image_shape=SHAPE)
