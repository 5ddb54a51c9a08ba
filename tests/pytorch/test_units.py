"""Each unit equals its twin in Gluon: names, outputs, gradients, and statistics after three steps."""
import inspect
from functools import partial

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon

from openatac.registry import bind_accepted
from openatac.zoo.units import ACTIVATIONS, ATTENTIONS, SELF_ATTENTIONS
from tests.helpers.networks.both_libraries import RightSELU, difference, differences, random_network
from tests.helpers.networks.parameters import parameters_of

torch = pytest.importorskip('torch')
pytestmark = pytest.mark.usefixtures('one_torch_thread')

from openatac import pytorch  # noqa: E402  (needs torch)

CHANNELS, SIDE = 16, 8
ATAC, GE = ACTIVATIONS.find('atac'), ATTENTIONS.find('ge')
AA, FA = SELF_ATTENTIONS.find('aa').spatial, SELF_ATTENTIONS.find('fa').spatial
UNITS = {
    **{name: (ACTIVATIONS.find(name), {}) for name in ACTIVATIONS},
    **{name: (ATTENTIONS.find(name), {'reduction': 4}) for name in ATTENTIONS},
    'ATAC without ReLU': (ATAC, {'useReLU': False, 'r': 3}), 'global ATAC': (ATAC, {'useGlobal': True}),
    'sine of 30': (ACTIVATIONS.find('sine'), {'w0': 30}),
    'xunit of 3': (ACTIVATIONS.find('xunit'), {'kernel': 3}),
    **{f'ge of {extent}, {variant}': (GE, {'extent': extent, 'variant': variant, 'reduction': 4})
       for extent, variant in ((2, 'theta-'), (4, 'theta'), (8, 'theta+'))},
    'cbam of 3': (ATTENTIONS.find('cbam'), {'kernel': 3, 'reduction': 2}),
    'aa': (AA, {}), 'aa at half the resolution': (AA, {'downsample': True, 'strides': 2}),
    'fa': (FA, {}), 'fa with a stride': (FA, {'strides': 2, 'kernel_size': 3, 'dilation': 2}),
    'stem': (SELF_ATTENTIONS.find('fa').stem, {'in_channels': CHANNELS}),
}


def twins(unit, settings):
    """Return (Gluon's block, PyTorch's module with its values, images) in float64."""
    block, x = random_network(
        partial(bind_accepted(unit.gluon, **settings), CHANNELS), (CHANNELS, SIDE, SIDE), 'float64')
    module = pytorch.use_biased_variance(bind_accepted(unit.torch, **settings)(CHANNELS)).double()
    module(torch.tensor(x))  # the first input determines the shape of some weights
    module.load_state_dict({name: torch.tensor(parameter.data().asnumpy())
                            for name, parameter in parameters_of(block).items()})
    return block, module, x


@pytest.mark.parametrize('name', UNITS)
def test_unit_computes_the_same_as_in_mxnet(name, monkeypatch):
    monkeypatch.setattr(gluon.nn.SELU, 'hybrid_forward', RightSELU.hybrid_forward)
    block, module, x = twins(*UNITS[name])
    assert list(module.state_dict()) == list(parameters_of(block))
    outputs, gradients, rest, worst = differences(block, module, x)
    assert outputs < 1e-6 and gradients < 1e-5 and rest < 1e-6, (outputs, gradients, worst, rest)


@pytest.mark.parametrize('name', [
    'ChaATAC', 'global ATAC', 'frelu', 'xunit', 'prelu', 'cbam', 'ge', 'nin', 'aa'])
def test_three_training_steps_agree_with_mxnet(name):
    block, module, x = twins(*UNITS[name])
    trainer = gluon.Trainer(block.collect_params(), 'sgd', {'learning_rate': 0.01})
    optimizer = torch.optim.SGD(module.parameters(), 0.01)
    for _ in range(3):
        with autograd.record():
            loss = (block(mx.nd.array(x, dtype='float64')) ** 2).mean()
        loss.backward()
        trainer.step(1)
        optimizer.zero_grad()
        module.train()(torch.tensor(x)).square().mean().backward()
        optimizer.step()
    for key, parameter in parameters_of(block).items():
        assert difference(module.state_dict()[key].numpy(), parameter.data().asnumpy(), 0.1) < 1e-6, key
    assert any(key.endswith('running_var') for key in parameters_of(block)) or name in ('prelu', 'aa')


@pytest.mark.parametrize('biased', [False, True])
def test_running_variance_is_unbiased_by_default(biased):
    x = torch.randn(4, 3, 2, 2)
    norm = pytorch.BatchNorm(3, biased_variance=True) if biased else pytorch.BatchNorm(3)
    theirs = torch.nn.BatchNorm2d(3)
    assert torch.allclose(norm(x), theirs(x), atol=1e-6)
    variance = x.transpose(0, 1).flatten(1).var(1, correction=0 if biased else 1)
    assert torch.allclose(norm.running_var, 0.9 + 0.1 * variance)
    assert torch.allclose(norm.running_var, theirs.running_var) == (not biased)


@pytest.mark.parametrize('unit', [*(ACTIVATIONS.find(name) for name in ACTIVATIONS),
                                  *(ATTENTIONS.find(name) for name in ATTENTIONS), AA, FA,
                                  SELF_ATTENTIONS.find('fa').stem], ids=lambda unit: str(unit.factory))
def test_both_libraries_take_the_same_arguments(unit):
    def arguments(factory):
        return {name: parameter.default for name, parameter in inspect.signature(factory).parameters.items()
                if name != 'kwargs'}
    assert arguments(unit.gluon) == arguments(unit.torch)


@pytest.mark.parametrize('unit', [AA, FA], ids=['aa', 'fa'])
def test_input_channels_are_inferred_in_both_libraries(unit):
    arguments = {'channels': 16, 'heads': 2}
    block, x = random_network(partial(unit.gluon, **arguments), (6, SIDE, SIDE), 'float64')
    module = unit.torch(**arguments).double()
    module(torch.tensor(x))
    module.load_state_dict({name: torch.tensor(parameter.data().asnumpy())
                            for name, parameter in parameters_of(block).items()})
    assert max(differences(block, module, x)[:2]) < 1e-6


@pytest.mark.parametrize('build, named', [
    (lambda: pytorch.ATAC(8, r=9), 'r=9'), (lambda: pytorch.ATAC(0), 'channels'),
    (lambda: pytorch.SEBlock(8), 'reduction=16'), (lambda: pytorch.LocalSEBlock(8), 'reduction=16'),
    (lambda: pytorch.XUnit(8, kernel=2), 'kernel'), (lambda: pytorch.GatherExcite(8, extent=3), '3'),
    (lambda: pytorch.GatherExcite(8, variant='phi'), 'theta-.*phi'), (lambda: pytorch.Sine(0), 'w0'),
    (lambda: pytorch.StandAloneSelfAttention(24), '16'), (lambda: pytorch.GroupNorm(8), '32'),
    (lambda: pytorch.AttentionAugmentedConv2D(8), 'upsilon'), (lambda: ACTIVATIONS.find('atak'), 'atac'),
])
def test_bad_argument_is_named(build, named):
    with pytest.raises(ValueError, match=named):
        build()


def test_group_norm_equals_gluons():
    from openatac.nn.group_norm import GroupNorm
    block, x = random_network(partial(GroupNorm, CHANNELS, 4), (CHANNELS, SIDE, SIDE), 'float64')
    module = pytorch.GroupNorm(CHANNELS, 4).double()
    module.load_state_dict({name: torch.tensor(parameter.data().asnumpy())
                            for name, parameter in parameters_of(block).items()})
    assert max(differences(block, module, x)[:2]) < 1e-6


def test_initial_values_have_the_published_distribution():
    """The distribution is normal with variance 2 / ((1 + 0.25^2) * mean of the fans)."""
    torch.manual_seed(0)
    weight = pytorch.get_model('cifar_resnet8_v2_atac').features[4][0].conv2.weight
    fan = 64 * 9
    assert np.isclose(weight.std().item(), (2 / (1.0625 * fan)) ** 0.5, rtol=0.02)
    assert abs(weight.mean().item()) < 1e-3 and weight.abs().max() > 3.5 * weight.std()
    torch.manual_seed(0)
    assert torch.equal(pytorch.get_model('cifar_resnet8_v2_atac').features[4][0].conv2.weight, weight)
