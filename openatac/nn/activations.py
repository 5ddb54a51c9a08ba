"""The activations that a network can be built with, by name.

An entry is a factory that takes the channel count of its input and returns a block that maps
(B, C, H, W) to the same shape. To add one, add one line to ACTIVATIONS.
"""
from typing import Callable, NamedTuple, Tuple

from mxnet.gluon import nn

from openatac.nn.atac import ChaATAC


class PReLU(nn.PReLU):
    """max(0, x) - alpha * max(0, -x) with one learned slope (He et al., 2015, equation 1).

    Gluon's own PReLU, hybridized in front of a global pooling, gets a wrong gradient of alpha
    from MXNet 1.9.1; written out in two ReLUs it is right, with the same parameter and values.
    """

    def hybrid_forward(self, F, x, alpha):
        slope = F.reshape(alpha, shape=(1, -1, 1, 1))
        return F.relu(x) - F.broadcast_mul(slope, F.relu(-x))


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
    'ChaATAC': Activation(ChaATAC, settings=('r', 'useReLU', 'useGlobal')),
}


def make_activation(name, channels, **settings):
    """The activation ``name`` for an input of ``channels`` channels.

    settings: what any of the activations can be told (r, useReLU, useGlobal); each takes its own.

    Raises ValueError for an unknown name.
    """
    check_activation(name)
    factory, takes = ACTIVATIONS[name]
    return factory(channels, **{key: settings[key] for key in takes if key in settings})


def check_activation(name, argument='act_type'):
    """Raise ValueError, with the names that there are, unless ``name`` is one of them."""
    if name not in ACTIVATIONS:
        raise ValueError('%s must be one of %s, not %r' % (argument, ', '.join(ACTIVATIONS), name))
