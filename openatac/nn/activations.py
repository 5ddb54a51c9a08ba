"""The activations that a network can be built with, by name.

An entry is a factory that takes the channel count of its input and returns a block that maps
(B, C, H, W) to the same shape. To add one, add one line to ACTIVATIONS.
"""
from typing import Callable, NamedTuple, Tuple

from mxnet.gluon import nn
from mxnet.gluon.block import HybridBlock

from openatac.arguments import check_number
from openatac.nn.atac import ChaATAC
from openatac.nn.frelu import FReLU
from openatac.nn.xunit import XUnit


class PReLU(nn.PReLU):
    """max(0, x) - alpha * max(0, -x) with one learned slope (He et al., 2015, equation 1).

    Gluon's own PReLU, hybridized in front of a global pooling, gets a wrong gradient of alpha
    from MXNet 1.9.1; written out in two ReLUs it is right, with the same parameter and values.
    """

    def hybrid_forward(self, F, x, alpha):
        slope = F.reshape(alpha, shape=(1, -1, 1, 1))
        return F.relu(x) - F.broadcast_mul(slope, F.relu(-x))


class Mish(HybridBlock):
    """x * tanh(log(1 + exp(x))) (Misra, 2019, https://arxiv.org/abs/1908.08681, equation 1)."""

    def hybrid_forward(self, F, x):
        return x * F.tanh(F.Activation(x, act_type='softrelu'))


class Sine(HybridBlock):
    """sin(w0 x), the activation of SIREN (Sitzmann et al., 2020, https://arxiv.org/abs/2006.09661).

    w0 : number, default 1
        The paper's 30 spreads a first layer that sees coordinates over many periods; its section 3.2
        then draws the weights so that every later sine gets a standard normal input. Behind a
        BatchNorm the input is that already, so 1 is the same unit there.

    Raises ValueError for a ``w0`` that is not above 0.
    """

    def __init__(self, w0=1, **kwargs):
        super().__init__(**kwargs)
        check_number('w0 (the frequency of the sine)', w0, above=0)
        self._w0 = w0

    def hybrid_forward(self, F, x):
        return F.sin(self._w0 * x)


class Activation(NamedTuple):
    """How to make one: ``factory(channels, **settings)``; ``settings`` names those it takes."""

    factory: Callable
    settings: Tuple[str, ...] = ()


ACTIVATIONS = {
    'relu': Activation(lambda channels: nn.Activation('relu')),
    'prelu': Activation(lambda channels: PReLU()),
    'elu': Activation(lambda channels: nn.ELU()),
    'selu': Activation(lambda channels: nn.SELU()),
    'gelu': Activation(lambda channels: nn.GELU()),
    'swish': Activation(lambda channels: nn.Swish()),
    'mish': Activation(lambda channels: Mish()),
    'frelu': Activation(FReLU),
    'sine': Activation(lambda channels, **settings: Sine(**settings), settings=('w0',)),
    'xunit': Activation(XUnit),
    'ChaATAC': Activation(ChaATAC, settings=('r', 'useReLU', 'useGlobal')),
}


def make_activation(name, channels, **settings):
    """The activation ``name`` for an input of ``channels`` channels.

    settings: what any of the activations can be told (r, useReLU, useGlobal, w0); each takes its own.

    Raises ValueError for an unknown name.
    """
    check_activation(name)
    factory, takes = ACTIVATIONS[name]
    return factory(channels, **{key: settings[key] for key in takes if key in settings})


def check_activation(name, argument='act_type'):
    """Raise ValueError, with the names that there are, unless ``name`` is one of them."""
    if name not in ACTIVATIONS:
        raise ValueError('%s must be one of %s, not %r' % (argument, ', '.join(ACTIVATIONS), name))
