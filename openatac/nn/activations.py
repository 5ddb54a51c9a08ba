"""The activations available for networks, by name.

Each maps (B, C, H, W) to the same shape. `register_activation` adds one from outside the package.

- relu, prelu, elu, selu, gelu, swish: as in Gluon, except for the gradient of prelu (see `PReLU`)
- mish, sine: below
- frelu, xunit, ChaATAC (or atac): each in its own file
"""
from __future__ import annotations

from typing import Any

from mxnet.gluon import nn
from mxnet.gluon.block import HybridBlock

from openatac.limits import check_number
from openatac.nn.atac import ChaATAC
from openatac.nn.frelu import FReLU
from openatac.nn.xunit import XUnit
from openatac.registry import Factory, Registry


class PReLU(nn.PReLU):
    """max(0, x) - alpha * max(0, -x) with one learned slope alpha, 0.25 at first.

    He, Zhang, Ren, Sun, "Delving Deep into Rectifiers", ICCV 2015, https://arxiv.org/abs/1502.01852,
    equation 1.

    Gluon's own PReLU, hybridized before a global pooling, gets a wrong gradient of alpha from MXNet 1.9.1.
    Written as two ReLUs, it gets the right one, with the same parameter and values.
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

    Parameters
    ----------
    w0 : float, default 1
        The frequency. The paper's 30 spreads a first layer that sees coordinates over many periods; its
        section 3.2 then draws the weights so that every later sine gets a standard normal input. After a
        BatchNorm the input is already standard normal, so 1 gives the same unit there.

    Raises
    ------
    ValueError
        If ``w0`` is not above 0.
    """

    def __init__(self, w0: float = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_number('w0', w0, 'the frequency of the sine', above=0)
        self._w0 = w0

    def hybrid_forward(self, F, x):
        return F.sin(self._w0 * x)


ACTIVATIONS: Registry[Factory] = Registry('act_type')
ACTIVATIONS.register('relu', lambda channels: nn.Activation('relu'))
ACTIVATIONS.register('prelu', lambda channels: PReLU())
ACTIVATIONS.register('elu', lambda channels: nn.ELU())
ACTIVATIONS.register('selu', lambda channels: nn.SELU())
ACTIVATIONS.register('gelu', lambda channels: nn.GELU())
ACTIVATIONS.register('swish', lambda channels: nn.Swish())
ACTIVATIONS.register('mish', lambda channels: Mish())
ACTIVATIONS.register('frelu', FReLU)
ACTIVATIONS.register('sine', lambda channels, w0=1: Sine(w0))
ACTIVATIONS.register('xunit', XUnit)
ACTIVATIONS.register('ChaATAC', ChaATAC, alias='atac')
